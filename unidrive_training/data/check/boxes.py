# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Detection label files: old form (a list of frames) and new form ({frames, config})."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unidrive_training.data.box_labels import CATEGORIES
from unidrive_training.data.check.findings import Findings
from unidrive_training.data.scalabel import FrameFile

_CORNERS = ('x1', 'y1', 'x2', 'y2')
_TOLERANCE = 1.0  # pixels: the official x2 is the last pixel inside, not the first one outside
# In releases up to 2019 these share the file with the boxes, as polygons.
_NO_OBJECTS = ('lane', 'drivable area', 'area/')

Boxes = dict[str, list[tuple[str, list[float]]]]
"""Image name → (what the label is called in a finding, [x1, y1, x2, y2])."""


def check_label_file(path: Path, where: str, found: Findings) -> Boxes | None:
    """Everything that can be said of ``det_SPLIT.json`` without its images; ``None`` without one.

    ``where``: what to call the file in a finding.
    """
    if not path.is_file():
        return None
    boxes: Boxes = {}
    for index, frame in enumerate(_frames(path, where, found)):
        name = frame.get('name') if isinstance(frame, dict) else None
        stem = Path(name).stem if isinstance(name, str) else ''
        if not stem:
            found.add('bad frame', f'{where}: frame {index} has no name')
            continue
        if stem in boxes:
            found.add('frame named twice', f'{where}: {name}')
        boxes[stem] = list(_frame_boxes(frame, f'{where}: {name}', found))
    return boxes


def check_against_image(boxes: list, size: tuple[int, int], found: Findings) -> None:
    """Boxes must lie within their image of (height, width) pixels, give or take one."""
    height, width = size
    for label, (x1, y1, x2, y2) in boxes:
        beyond = max(-x1, -y1, x2 - width, y2 - height)
        if beyond > _TOLERANCE:
            found.add('box outside', f'{label} by {beyond:.1f} of {width}×{height} pixels')


def _frames(path: Path, where: str, found: Findings) -> Iterator[Any]:
    """The frames up to the first place where the file is broken."""
    file = FrameFile(path)
    try:
        yield from file
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        found.add('unreadable label file', f'{where}: {type(error).__name__}: {error}'[:200])
    if file.config is not None:
        _check_config(file.config, where, found)


def _check_config(config: Any, where: str, found: Findings) -> None:
    categories = (config.get('categories') or []) if isinstance(config, dict) else None
    if not isinstance(categories, list):
        found.add('unreadable label file', f'{where}: config.categories is no list')
    for category in categories if isinstance(categories, list) else ():
        name = category.get('name') if isinstance(category, dict) else None
        if not isinstance(name, str) or name not in CATEGORIES:
            found.add('unknown category', f'{where}: config.categories {str(name)[:80]!r}')


def _frame_boxes(frame: dict, where: str, found: Findings) -> Iterator[tuple[str, list[float]]]:
    labels = frame.get('labels')
    if labels is None:
        found.add('frame without labels', where)
        return
    if not isinstance(labels, list):
        found.add('bad frame', f'{where}: labels is no list')
        return
    for index, label in enumerate(labels):
        category = label.get('category') if isinstance(label, dict) else None
        if not isinstance(category, str):
            found.add('bad label', f'{where}: label {index} has no category')
            continue
        named = f'{where}: label {index} ({category})'
        if not label.get('box2d'):
            if not category.startswith(_NO_OBJECTS):
                found.add('bad label', f'{named} has no box2d')
        elif category not in CATEGORIES:
            found.add('unknown category', named)
        else:
            corners = _corners(label['box2d'], named, found)
            if corners:
                yield named, corners


def _corners(box: Any, where: str, found: Findings) -> list[float] | None:
    values = [box.get(key) for key in _CORNERS] if isinstance(box, dict) else [None]
    if not all(map(_is_finite, values)):
        found.add('box not a number', f'{where} {values}'[:200])
        return None
    x1, y1, x2, y2 = map(float, values)
    if x2 < x1 or y2 < y1:
        found.add('reversed box', f'{where} {[x1, y1, x2, y2]}')
        return None
    if x2 == x1 or y2 == y1:
        found.add('empty box', f'{where} {[x1, y1, x2, y2]}')
    return [x1, y1, x2, y2]


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of 400 digits
        return False
