# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive convert``: a public dataset into the BDD100K layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.aside import new_folder
from unidrive_training.data.convert import MissingSplit, camvid, idd_lite, kitti, nuimages

_DATASETS = {
    'camvid': (camvid.convert, ('train', 'val', 'test')),
    'idd_lite': (idd_lite.convert, ('train', 'val', 'test')),
    'kitti': (kitti.convert, ('train', 'val')),
    'nuimages': (nuimages.convert, ('train', 'val', 'test')),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('dataset', choices=_DATASETS, help='which dataset SOURCE holds')
    parser.add_argument('source', type=Path, help='the dataset as it was downloaded')
    parser.add_argument('out', type=Path, help='new BDD100K-layout folder')


def run(args: argparse.Namespace) -> int:
    """Convert every split that SOURCE has."""
    if not args.source.is_dir():
        raise UserError(f'{args.source}: no such folder')
    if args.out.exists() and any(args.out.iterdir()):
        raise UserError(f'{args.out} is not empty; give a new folder')
    with new_folder(args.out) as partial:  # half a dataset looks like a small one
        counts = _convert(args.dataset, args.source, partial)
    for split, count in counts.items():
        print(f'{args.dataset} {split}: {count} images → {args.out}')
    return 0


def _convert(dataset: str, source: Path, out: Path) -> dict[str, int]:
    """Split → how many images of it were written."""
    convert, splits = _DATASETS[dataset]
    counts = {}
    for split in splits:
        try:
            counts[split] = convert(source, out, split)
        except MissingSplit:
            if split != 'test':  # which not every copy brings
                raise
    return counts
