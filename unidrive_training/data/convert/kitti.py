# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""KITTI object detection into the BDD100K layout: boxes of cars, trucks, trains, pedestrians and
cyclists.

A KITTI *Cyclist* box holds bicycle and rider together (→ rider, whose BDD100K box it resembles
more; the bicycle category is declared as not annotated). ``Misc`` and ``DontCare`` regions are
left out. KITTI has no split of its own: every fifth frame is ``val``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.data.bdd100k import Bdd100kWriter

_CATEGORIES = {
    'Car': 'car',
    'Van': 'car',
    'Truck': 'truck',
    'Tram': 'train',
    'Pedestrian': 'pedestrian',
    'Person_sitting': 'pedestrian',
    'Cyclist': 'rider',
}


def convert(source: Path, out: Path, split: str) -> int:
    """Write the frames of ``source/{image_2,label_2}`` of a split; returns how many."""
    labels = sorted((source / 'label_2').glob('*.txt'))
    if not labels:
        raise UserError(
            f'{source}/label_2 holds no label files; give the folder with image_2/ and label_2/'
        )
    chosen = [p for i, p in enumerate(labels) if (i % 5 == 4) == (split == 'val')]
    with Bdd100kWriter(out, split, annotated=sorted(set(_CATEGORIES.values()))) as writer:
        for path in chosen:
            images = list((source / 'image_2').glob(f'{path.stem}.*'))
            if not images:
                raise UserError(f'{path}: no image {path.stem} in {source / "image_2"}')
            boxes, class_ids = read_label(path)
            writer.add(path.stem, images[0], boxes=boxes, class_ids=class_ids)
    return len(chosen)


def read_label(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) xyxy pixels and detection ids (N,) of one KITTI label file."""
    boxes, class_ids = [], []
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) < 8:
            raise UserError(f'{path}: a KITTI line has at least 8 fields, got {line!r}')
        if fields[0] in _CATEGORIES:
            boxes.append([float(value) for value in fields[4:8]])
            class_ids.append(DETECTION.names.index(_CATEGORIES[fields[0]]))
    return np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(class_ids, np.int64)
