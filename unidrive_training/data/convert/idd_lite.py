# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""IDD-Lite (320×227) into the BDD100K layout: drivable area only.

Its level-1 classes are coarser than the 19 semantic ones, so only 0 *drivable* → direct is taken
over, the other classes → background, 255 stays ignored. There is no direct/alternative split. The
unlabelled test images are written too: an image without any label is what pseudo-labelling starts
from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from unidrive_perception.labels import UNKNOWN
from unidrive_training.data.bdd100k import Bdd100kWriter, read_mask
from unidrive_training.data.convert import MissingSplit

_DRIVABLE = np.full(256, 2, np.uint8)
_DRIVABLE[0] = 0
_DRIVABLE[UNKNOWN] = UNKNOWN


def convert(source: Path, out: Path, split: str) -> int:
    """Write the images of ``source/leftImg8bit/split``; returns how many."""
    images = sorted((source / 'leftImg8bit' / split).glob('*/*_image.jpg'))
    if not images:
        raise MissingSplit(
            f'{source}/leftImg8bit/{split} holds no images; give the IDD-Lite folder'
        )
    with Bdd100kWriter(out, split) as writer:
        for path in tqdm(images, desc=f'idd_lite {split}', unit='image', disable=None):
            frame = path.name.removesuffix('_image.jpg')
            label = source / 'gtFine' / split / path.parent.name / f'{frame}_label.png'
            drivable = _DRIVABLE[read_mask(label)] if label.is_file() else None
            writer.add(f'{path.parent.name}_{frame}', path, drivable=drivable)
    return len(images)
