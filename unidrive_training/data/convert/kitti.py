# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""KITTI object detection into the BDD100K layout: boxes of cars, trucks, trains, pedestrians and
cyclists.

A KITTI *Cyclist* box holds bicycle and rider together (→ rider, whose BDD100K box it resembles
more; the bicycle category is declared as not annotated). ``DontCare`` regions, where objects are
too far away to be labelled, become ignored boxes: neither learned nor counted. A box needs a
category, so theirs is car, the most frequent one. ``Misc`` objects are left out. KITTI has no
split of its own: every fifth frame is ``val``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.data.bdd100k import Bdd100kWriter, find_image

_CATEGORIES = {
    'Car': 'car',
    'Van': 'car',
    'Truck': 'truck',
    'Tram': 'train',
    'Pedestrian': 'pedestrian',
    'Person_sitting': 'pedestrian',
    'Cyclist': 'rider',
}
_REGION = 'DontCare'


def convert(source: Path, out: Path, split: str) -> int:
    """Write the frames of ``source/{image_2,label_2}`` of a split; returns how many."""
    labels = sorted((source / 'label_2').glob('*.txt'))
    if not labels:
        raise UserError(
            f'{source}/label_2 holds no label files; give the folder with image_2/ and label_2/'
        )
    chosen = [p for i, p in enumerate(labels) if (i % 5 == 4) == (split == 'val')]
    with Bdd100kWriter(out, split, annotated=sorted(set(_CATEGORIES.values()))) as writer:
        for path in tqdm(chosen, desc=f'kitti {split}', unit='image', disable=None):
            image = find_image(source / 'image_2', path.stem)
            boxes, class_ids, ignored = read_label(path)
            writer.add(path.stem, image, boxes=boxes, class_ids=class_ids, ignored=ignored)
    return len(chosen)


def read_label(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) xyxy pixels, detection ids (N,) and ignored (N,) bool of one KITTI label file.

    Raises UserError for a line that is none of KITTI's.
    """
    boxes, class_ids, ignored = [], [], []
    for line in filter(str.strip, path.read_text().splitlines()):
        fields = line.split()
        if len(fields) < 8:
            raise UserError(f'{path}: a KITTI line has at least 8 fields, got {line!r}')
        category = 'car' if fields[0] == _REGION else _CATEGORIES.get(fields[0])
        if category is None:
            continue
        try:
            boxes.append([float(value) for value in fields[4:8]])
        except ValueError as error:
            raise UserError(
                f'{path}: fields 5 to 8 of a line are numbers, got {line!r}'
            ) from error
        class_ids.append(DETECTION.names.index(category))
        ignored.append(fields[0] == _REGION)
    return (
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(class_ids, np.int64),
        np.asarray(ignored, bool),
    )
