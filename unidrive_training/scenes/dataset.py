# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes generated drives as a BDD100K-layout folder or as a rosbag2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tqdm import tqdm

from unidrive_perception import image_codec, message_factories, messages
from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.data.bdd100k import Bdd100kWriter
from unidrive_training.scenes.render import Drive, SceneFrame

TASKS = tuple(BDD100K_LABELS)
CAMERA_TOPIC = '/camera/image_raw'
CAMERA_FRAME = 'camera_optical_frame'
SEEDS_PER_RUN = 1_000_000
"""Drives of run ``seed`` are ``seed * SEEDS_PER_RUN``.., of validation from half-way on."""
SMALLEST_SIDE = 0.025
"""Of the image width (16 of 640 pixels): objects with a shorter longer side are ignored."""
_BAG_START_NS = 1_700_000_000_000_000_000  # a fixed time, so that one seed gives one bag


@dataclass(frozen=True)
class SceneSet:
    """Which frames to generate."""

    drives: int
    frames: int  # per drive
    stride: int = 1  # every how-manieth frame of a drive
    fps: float = 10.0
    image_size: tuple[int, int] = (360, 640)  # height, width
    seed: int = 0
    validation: bool = False
    keep: Mapping[str, float] = field(
        default_factory=dict
    )  # task -> share of images with its labels

    def __len__(self) -> int:
        """Number of frames."""
        return self.drives * self.frames

    def frames_in_order(self) -> Iterator[tuple[str, SceneFrame, frozenset[str]]]:
        """Name, frame, and the tasks whose labels this image is to have."""
        first = self.seed * SEEDS_PER_RUN + (SEEDS_PER_RUN // 2 if self.validation else 0)
        for seed in range(first, first + self.drives):
            drive = Drive(seed, self.image_size, self.fps)
            chance = np.random.default_rng((seed, 0x1ABE1))
            for index in range(0, self.frames * self.stride, self.stride):
                draws = chance.random(len(TASKS))
                kept = (
                    t for t, draw in zip(TASKS, draws, strict=True) if draw < self.keep.get(t, 1.0)
                )
                yield f'drive{seed:09d}-{index:05d}', drive.frame(index), frozenset(kept)


def write_dataset(root: Path, split: str, scenes: SceneSet) -> dict[str, int]:
    """Write ``scenes`` as ``split`` of a BDD100K-layout folder; returns counts per task."""
    counts = dict.fromkeys(('images', *TASKS), 0)
    with Bdd100kWriter(root, split) as writer:
        for name, frame, kept in _progress(scenes, split):
            detection = 'detection' in kept
            writer.add(
                name,
                frame.image,
                boxes=frame.boxes if detection else None,
                class_ids=frame.class_ids if detection else None,
                ignored=too_small(frame.boxes, scenes.image_size) if detection else None,
                semantic=frame.semantic if 'semantic' in kept else None,
                drivable=frame.drivable if 'drivable' in kept else None,
            )
            counts['images'] += 1
            for task in kept:
                counts[task] += 1
    return counts


def write_bag(path: Path, scenes: SceneSet, storage: str, compressed: bool) -> dict[str, int]:
    """Write ``scenes`` as a rosbag2 with the truth beside the camera; returns messages per topic.

    Images are raw 'rgb8', or JPEG on ``<topic>/compressed``. Drives follow one another.
    """
    with BagWriter(path, storage) as bag:
        make = message_factories.BagFactory(bag.typestore)
        for number, (_, frame, _) in enumerate(_progress(scenes, 'bag')):
            stamp = _BAG_START_NS + round(number * scenes.stride * 1e9 / scenes.fps)
            header = messages.make_header(make, stamp, CAMERA_FRAME)
            if compressed:
                data = image_codec.rgb_to_compressed(frame.image, 'jpeg')
                image = messages.compressed_message(make, header, data, 'jpeg')
                bag.write(f'{CAMERA_TOPIC}/compressed', image, stamp)
            else:
                bag.write(CAMERA_TOPIC, messages.image_message(make, header, frame.image), stamp)
            for topic, truth in _truth(make, header, frame, scenes.image_size):
                bag.write(topic, truth, stamp)
        return dict(bag.counts)


def too_small(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(N,) bool: objects too small to tell what they are, which no detector has to find.

    As in KITTI, whose benchmark ignores boxes below 25 of 375 rows; here the longer side counts.
    """
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) < SMALLEST_SIDE * image_size[1]


def _progress(scenes: SceneSet, name: str):
    return tqdm(scenes.frames_in_order(), total=len(scenes), desc=name, unit='frame')


def _truth(make, header, frame: SceneFrame, image_size: tuple[int, int]):
    """(topic, message) of a frame's truth; its boxes have score 1, those to be ignored 0."""
    boxes = SimpleNamespace(
        image_size=image_size,
        boxes=frame.boxes,
        scores=1 - too_small(frame.boxes, image_size).astype(np.float32),
        class_ids=frame.class_ids,
        track_ids=np.zeros(len(frame.boxes), np.int64),
    )
    yield '/truth/detections', messages.detections_message(make, header, boxes, BDD100K_LABELS)
    for task in ('semantic', 'drivable'):
        mask = getattr(frame, task)
        yield f'/truth/{task}_mask', messages.mask_message(make, header, mask, task, image_size)
