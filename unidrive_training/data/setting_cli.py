# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive setting``: which labels a setting leaves, and the lists of them to publish."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.data.bdd100k import image_files, read_split
from unidrive_training.data.settings import TASKS, fingerprint, freeze, load_setting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'setting',
        metavar='NAME',
        help='full, disjoint-normal, disjoint-balance, or a .yaml or .json file of your own',
    )
    parser.add_argument('root', type=Path, help='BDD100K-layout folder')
    parser.add_argument(
        '--out',
        type=Path,
        help='write the chosen names here as .json, which is a setting in its turn',
    )


def run(args: argparse.Namespace) -> int:
    """Print the counts of the training split; with --out, write the names."""
    if args.out and args.out.suffix != '.json':
        raise UserError(f'{args.out}: give a name that ends in .json')
    setting = load_setting(args.setting)
    records = read_split(args.root, 'train')
    frozen = freeze(setting, records)
    images = {name for names in frozen.images.values() for name in names}
    kind = 'no image with labels of two tasks' if setting.disjoint else 'tasks share images'
    print(f'{setting.name} of {args.root}, training split (seed {setting.seed}, {kind}):')
    for task in TASKS:
        labelled = sum(task in record.tasks() for record in records)
        print(f'  {task:9} {frozen.labelled.get(task, 0):6} of {labelled:6} labelled images')
    print(f'  {len(images)} of {len(records)} images')
    print(f'  fingerprint {fingerprint(frozen)[:16]} (the same names give the same)')
    shared = images & image_files(args.root, 'val').keys()
    if shared:
        print(f'  note: {len(shared)} of them are also validation images, as {min(shared)}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        aside = args.out.with_suffix('.json.part')
        aside.write_text(frozen.model_dump_json(indent=1) + '\n')
        os.replace(aside, args.out)
        print(f'names → {args.out}')
    return 0
