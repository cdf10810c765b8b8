# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Durations as people say them."""

from __future__ import annotations

_UNITS = {'years': 31_557_600, 'days': 86_400, 'hours': 3_600, 'minutes': 60}


def in_words(seconds: float) -> str:
    """``seconds`` in the largest unit of which it is twice as much or more; ``'53 years'``."""
    for unit, size in _UNITS.items():
        if seconds >= 2 * size:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds:.2f} s'
