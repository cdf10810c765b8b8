# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What datasets are called in scores, files and folders: never by where they lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path


def name_datasets(folders: Iterable[Path]) -> dict[str, Path]:
    """Name → folder, each folder once, in order.

    The name is the folder's own; where several have that, ``parent-own``; and where even that is
    taken, with a number behind.
    """
    paths: dict[Path, Path] = {}
    for folder in folders:  # a link goes by its own name
        paths.setdefault(folder.resolve(), Path(os.path.abspath(folder)))
    owners = Counter(path.name for path in paths.values())
    taken = {name for name, number in owners.items() if number == 1}
    named: dict[str, Path] = {}
    for path in paths.values():
        name = path.name
        if owners[name] > 1:
            name = _free(f'{path.parent.name}-{name}', taken)
            taken.add(name)
        named[name] = path
    return named


def _free(wanted: str, taken: set[str]) -> str:
    names = (wanted if number == 1 else f'{wanted}-{number}' for number in count(1))
    return next(name for name in names if name not in taken)
