# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive scenes``: generate street scenes as a dataset and/or a rosbag2."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.aside import new_folder
from unidrive_training.scenes.dataset import (
    SEEDS_PER_RUN,
    TASKS,
    SceneSet,
    write_bag,
    write_dataset,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add('out', type=Path, metavar='OUT', help='folder (or, with --format bag, bag) to create')
    add('--format', choices=('dataset', 'bag', 'both'), default='dataset',
        help='BDD100K-layout folder, rosbag2, or both (the bag is then OUT/bag)')  # fmt: skip
    add('--drives', type=int, default=20, help='drives to generate, each a street of its own')
    add('--frames', type=int, default=20, help='frames per drive')
    add('--val-drives', type=int, default=0, help='drives of the val split of a dataset')
    add('--seed', type=int, default=0, help='another seed gives other streets')
    add('--size', default='640x360', metavar='WxH', help='image size, default %(default)s')
    add('--fps', type=float, default=10.0, help='frames per second of a drive')
    add('--stride', type=int, default=1, help='keep every N-th frame of a drive')
    add('--keep', action='append', default=[], metavar='TASK=SHARE',
        help='share of images that get the labels of a task (detection, semantic, drivable); '
        'repeatable, default 1 each')  # fmt: skip
    add('--storage', choices=('mcap', 'sqlite3'), default='mcap', help='storage of the bag')
    add('--image-transport', choices=('raw', 'compressed'), default='raw',
        help='raw or JPEG images in the bag')  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Generate; raises UserError for an argument that cannot be."""
    scenes = _scene_set(args)
    out = args.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'{out} exists and is not an empty folder; give a new OUT or remove it')
    if args.format == 'bag':
        if out.exists():
            raise UserError(f'{out} exists; a bag is created anew, give a new OUT or remove it')
        _tell_of_bag(out, _bag(out, scenes, args))
        return 0
    topics = None
    with new_folder(out) as partial:  # half a dataset looks like a small one
        counts = {'train': write_dataset(partial, 'train', scenes)}
        if args.val_drives:
            val = replace(scenes, drives=args.val_drives, validation=True)
            counts['val'] = write_dataset(partial, 'val', val)
        if args.format == 'both':
            topics = _bag(partial / 'bag', scenes, args)
    for split, count in counts.items():
        labels = ', '.join(f'{task} {count[task]}' for task in TASKS)
        print(f'{out} {split}: {count["images"]} images; labels: {labels}')
    if topics:
        _tell_of_bag(out / 'bag', topics)
    return 0


def _bag(path: Path, scenes: SceneSet, args: argparse.Namespace) -> dict[str, int]:
    return write_bag(path, scenes, args.storage, args.image_transport == 'compressed')


def _tell_of_bag(path: Path, topics: Mapping[str, int]) -> None:
    print(f'{path}: ' + ', '.join(f'{topic} {count}' for topic, count in topics.items()))


def _scene_set(args: argparse.Namespace) -> SceneSet:
    for name in ('drives', 'frames', 'stride'):
        if getattr(args, name) < 1:
            raise UserError(f'--{name} is {getattr(args, name)}; give 1 or more')
    if not 0 <= args.val_drives <= SEEDS_PER_RUN // 2 or args.drives > SEEDS_PER_RUN // 2:
        raise UserError(
            f'--drives and --val-drives go up to {SEEDS_PER_RUN // 2}, and from 1 and 0'
        )
    if args.seed < 0:
        raise UserError(f'--seed is {args.seed}; give 0 or more')
    if not 0.1 <= args.fps <= 1000:
        raise UserError(f'--fps is {args.fps:g}; give 0.1..1000 frames per second')
    return SceneSet(
        args.drives,
        args.frames,
        args.stride,
        args.fps,
        _image_size(args.size),
        args.seed,
        keep=dict(_share(text) for text in args.keep),
    )


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    width, height = (int(n) for n in match.groups()) if match else (0, 0)
    if not (160 <= width <= 3840 and 90 <= height <= 2160):
        raise UserError(f'--size is {text!r}; give WIDTHxHEIGHT from 160x90 to 3840x2160')
    return height, width


def _share(text: str) -> tuple[str, float]:
    task, _, share = text.partition('=')
    if task in TASKS and re.fullmatch(r'0|1|[01]?\.\d+', share) and float(share) <= 1:
        return task, float(share)
    raise UserError(f'--keep is {text!r}; give TASK=SHARE, TASK of {", ".join(TASKS)}, SHARE 0..1')
