# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive crops``: a folder of small images of the road users and signs of generated streets.

As long-tailed CIFAR is: many training images of the first class, few of the last, and equally many
test images of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.aside import new_folder
from unidrive_training.classification.data import long_tail_counts
from unidrive_training.scenes.dataset import SEEDS_PER_RUN
from unidrive_training.scenes.render import Drive, SceneFrame

CLASSES = (
    'car', 'pedestrian', 'rider', 'bicycle', 'truck',
    'traffic sign', 'bus', 'traffic light', 'motorcycle', 'train',
)  # fmt: skip
"""The usual first, the rare last, as generated streets have them."""
_FRAMES = range(0, 80, 20)  # of a drive, two seconds apart, so that a parked car has changed
_MARGIN = 1.2  # side of the crop per longer side of the box
_LEAST = 0.75  # longer side of the smallest box per side of the crop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add('out', type=Path, metavar='OUT', help='folder to create: {train,val}/CLASS/*.png')
    add('--classes', default=','.join(CLASSES), metavar='NAME,…',
        help='from the largest class to the smallest, default %(default)s')  # fmt: skip
    add('--per-class', type=int, default=500, metavar='N',
        help='training images of the largest class, default %(default)s')  # fmt: skip
    add('--imbalance', type=float, default=100.0,
        help='largest class per image of the smallest, default %(default)g')  # fmt: skip
    add('--val-per-class', type=int, default=100, metavar='N',
        help='test images of each class, default %(default)s')  # fmt: skip
    add('--size', type=int, default=32, help='side in pixels, default %(default)s')
    add('--seed', type=int, default=0, help='another seed gives other streets')


def run(args: argparse.Namespace) -> int:
    """Generate; raises UserError for an argument that cannot be."""
    classes = _check(args)
    counts = long_tail_counts(args.per_class * len(classes), len(classes), args.imbalance)
    train = dict(zip(classes, counts, strict=True))
    val = dict.fromkeys(classes, args.val_per_class)
    first = args.seed * SEEDS_PER_RUN
    with new_folder(args.out) as partial:
        write_crops(partial / 'train', train, args.size, first)
        write_crops(partial / 'val', val, args.size, first + SEEDS_PER_RUN // 2)
    print(f'{args.out} train: ' + ', '.join(f'{name} {n}' for name, n in train.items()))
    print(f'{args.out} val: {args.val_per_class} of each')
    return 0


def _check(args: argparse.Namespace) -> list[str]:
    """The classes; UserError for what cannot be generated."""
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UserError(f'{args.out} exists and is not an empty folder; give a new OUT')
    classes = [name.strip() for name in args.classes.split(',')]
    for name in classes:
        if name not in CLASSES or classes.count(name) > 1:
            raise UserError(f'--classes has {name!r}; give each once of {", ".join(CLASSES)}')
    for name, most in (('per_class', 100_000), ('val_per_class', 100_000), ('size', 96)):
        least = 16 if name == 'size' else 1
        if not least <= getattr(args, name) <= most:
            option = '--' + name.replace('_', '-')
            raise UserError(f'{option} is {getattr(args, name)}; give {least} to {most}')
    if not 1 <= args.imbalance <= args.per_class:
        raise UserError(
            f'--imbalance is {args.imbalance:g}; give 1 to --per-class ({args.per_class})'
        )
    if args.seed < 0:
        raise UserError(f'--seed is {args.seed}; give 0 or more')
    return classes


def write_crops(folder: Path, counts: dict[str, int], size: int, first_seed: int) -> None:
    """Write ``counts`` images of each class as ``folder/CLASS/*.png``, (size, size) pixels.

    They come from the drives ``first_seed``..: a function of the arguments alone.
    """
    missing = dict(counts)
    for name in counts:
        (folder / name).mkdir(parents=True)
    with tqdm(total=sum(counts.values()), desc=folder.name, unit='image') as progress:
        for seed in range(first_seed, first_seed + SEEDS_PER_RUN // 2):
            if not any(missing.values()):
                return
            for index, name, crop in _crops_of_drive(seed, size):
                if missing.get(name, 0):
                    path = folder / name / f'drive{seed:09d}-{index:05d}.png'
                    if not cv2.imwrite(str(path), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)):
                        raise UserError(f'{path} could not be written; is the disk full?')
                    missing[name] -= 1
                    progress.update()


def _crops_of_drive(seed: int, size: int) -> Iterator[tuple[int, str, np.ndarray]]:
    """(frame, class, crop) of one object of each class in each frame."""
    drive = Drive(seed, image_size=(size * 360 // 32, size * 640 // 32))
    for index in _FRAMES:
        frame = drive.frame(index)
        order = np.random.default_rng((seed, index, 0xC309)).permutation(len(frame.boxes))
        seen = set()
        for number in order.tolist():
            name = DETECTION.names[frame.class_ids[number]]
            if name not in seen and _recognisable(frame, number, size):
                seen.add(name)
                yield index, name, _crop(frame.image, frame.boxes[number], size)


def _recognisable(frame: SceneFrame, number: int, size: int) -> bool:
    """Whether an object is large enough, and no other covers more of its box."""
    x0, y0, x1, y1 = frame.boxes[number].astype(int)
    if max(x1 - x0, y1 - y0) < _LEAST * size:
        return False
    pixels = np.bincount(frame.instances[y0:y1, x0:x1].ravel(), minlength=number + 2)
    return int(pixels[1:].argmax()) == number


def _crop(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """The square around a box, inside the image, as (size, size, 3) uint8."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box.tolist()
    side = min(round(max(x1 - x0, y1 - y0) * _MARGIN), height, width)
    left = min(max(round((x0 + x1 - side) / 2), 0), width - side)
    top = min(max(round((y0 + y1 - side) / 2), 0), height - side)
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=way)
