# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn anew for each image but rarely changes: kept for the next one."""

from __future__ import annotations

import functools
from collections.abc import Callable

_KEPT: list[Callable[[], None]] = []


def kept(most: int) -> Callable[[Callable], Callable]:
    """Decorate a function whose last ``most`` results are kept, until :func:`forget`."""

    def decorate(function: Callable) -> Callable:
        cached = functools.lru_cache(maxsize=most)(function)
        _KEPT.append(cached.cache_clear)
        return cached

    return decorate


def forget() -> None:
    """Free all that is kept: for large images up to some tens of megabytes."""
    for clear in _KEPT:
        clear()
