# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The boxes of a detection label file, in the ten classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.data.scalabel import FrameFile

# Names that the official toolkit maps onto the ten classes, and those it maps and ignores.
_RENAMED = {
    'bike': 'bicycle',
    'motor': 'motorcycle',
    'person': 'pedestrian',
    'van': 'car',
    'caravan': 'car',
}
_IGNORED = {'other person': 'pedestrian', 'other vehicle': 'car', 'trailer': 'truck'}
CATEGORIES = {
    **{name: (DETECTION.names.index(name), False) for name in DETECTION.names},
    **{name: (DETECTION.names.index(to), False) for name, to in _RENAMED.items()},
    **{name: (DETECTION.names.index(to), True) for name, to in _IGNORED.items()},
}
"""Every category name that the official toolkit knows → (class id, whether it is ignored)."""


@dataclass(slots=True)
class BoxLabels:
    """The boxes of one image.

    ``boxes`` (N, 4) float32 xyxy pixels, ``class_ids`` (N,) int64 detection ids, ``crowd`` (N,)
    bool (to be neither learned nor counted against a detector), ``annotated`` (10,) bool: classes
    labelled in this image (one array for all images of a file).
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    crowd: np.ndarray
    annotated: np.ndarray


def read_boxes(path: Path) -> dict[str, BoxLabels]:
    """Boxes of a detection JSON by image name, none without the file; UserError on another one."""
    if not path.is_file():
        return {}
    annotated = np.ones(len(DETECTION), bool)  # shared by all until the file's end tells
    frames = FrameFile(path)
    try:
        found = {_stem(frame['name']): _frame_boxes(frame, annotated) for frame in frames}
        annotated[:] = _annotated(frames.config)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: not a BDD100K detection file ({error!r})') from error
    return found


def _stem(file_name: str) -> str:
    return os.path.splitext(os.path.basename(file_name))[0]


def _annotated(config: dict | None) -> np.ndarray:
    names = [c['name'] for c in (config or {}).get('categories') or []] or DETECTION.names
    return np.isin(DETECTION.names, [_RENAMED.get(name, name) for name in names])


def _frame_boxes(frame: dict, annotated: np.ndarray) -> BoxLabels:
    boxes, class_ids, crowd = [], [], []
    for label in frame.get('labels') or ():
        class_id, ignored = CATEGORIES.get(label['category'], (None, False))
        box = label.get('box2d')
        if class_id is None or not box:
            continue  # lanes and drivable polygons share the file in older releases
        attributes = label.get('attributes') or {}
        boxes.append((box['x1'], box['y1'], box['x2'], box['y2']))
        class_ids.append(class_id)
        crowd.append(ignored or bool(attributes.get('crowd')) or bool(attributes.get('ignored')))
    return BoxLabels(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(class_ids, np.int64),
        np.asarray(crowd, bool),
        annotated,
    )
