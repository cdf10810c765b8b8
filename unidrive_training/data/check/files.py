# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which images, masks and label files a folder holds, and which of them belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unidrive_training.data.bdd100k import IMAGE_SETS, IMAGE_SUFFIXES
from unidrive_training.data.check.boxes import Boxes, check_label_file
from unidrive_training.data.check.findings import Findings

SPLITS = ('train', 'val', 'test')
MASK_KINDS = {'semantic': 'sem_seg', 'drivable': 'drivable'}


@dataclass
class Split:
    """The files of one split.

    ``images``: '100k' and '10k' → name → file; ``masks``: task → name → file; ``boxes``: of the
    label file, ``None`` without one.
    """

    name: str
    images: dict[str, dict[str, Path]]
    masks: dict[str, dict[str, Path]]
    boxes: Boxes | None
    names: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = set().union(*self.images.values())

    def image(self, name: str) -> Path:
        """The file that the loader reads: that of 100k where there are two."""
        return next(images[name] for images in self.images.values() if name in images)

    def labels(self) -> dict[str, set[str]]:
        """Task → names that have a label, whether or not they have an image."""
        labels = {task: set(masks) for task, masks in self.masks.items()}
        return {'detection': set(self.boxes or ()), **labels}


def read_files(root: Path, split: str, found: Findings) -> Split:
    """List a split's files, and say what is wrong with the lists themselves."""
    images = {}
    for image_set in IMAGE_SETS:
        images[image_set] = _listed(root, f'images/{image_set}/{split}', IMAGE_SUFFIXES, found)
    masks = {}
    for task, kind in MASK_KINDS.items():
        masks[task] = _listed(root, f'labels/{kind}/masks/{split}', ('.png',), found)
        colours = root / 'labels' / kind / 'colormaps' / split
        if not masks[task] and _entries(colours, found):
            found.add('only colormaps', f'labels/{kind}/colormaps/{split}')
    labels = f'labels/det_20/det_{split}.json'
    boxes = check_label_file(root / labels, f'{split}/det_20', found)
    files = Split(split, images, masks, boxes)
    _compare(files, found)
    return files


def _listed(root: Path, folder: str, suffixes: tuple[str, ...], found: Findings) -> dict:
    """Name → file, of the files with these suffixes; the others are findings."""
    files: dict[str, Path] = {}
    for path in _entries(root / folder, found):
        if path.suffix.lower() not in suffixes or path.is_dir():
            found.add('unexpected file', f'{folder}/{path.name}')
        elif path.stem in files:
            found.add('one name, two images', f'{folder}/{path.name}')
        else:
            files[path.stem] = path
    return files


def _entries(folder: Path, found: Findings) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        found.add('unreadable folder', f'{folder}: {error.strerror}')
        return []


def _compare(files: Split, found: Findings) -> None:
    """Names of images against names of labels."""
    for task, names in files.labels().items():
        if files.names:
            for name in sorted(names - files.names):
                found.add('label without image', f'{files.name}/{task}: {name}')
        elif names:
            found.add(
                'label without image',
                f'{files.name}/{task}: all {len(names)}, the split has no images',
            )
    for name in sorted(files.names.difference(*files.labels().values())):
        found.add('image without any label', f'{files.name}: {name}')
    if files.names and files.boxes is None and files.name != 'test':
        found.add('no label file', f'labels/det_20/det_{files.name}.json')
