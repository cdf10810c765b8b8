# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One image in memory with the labels it has, and its preparation for the network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from unidrive_perception.geometry import Letterbox
from unidrive_training.data.bdd100k import BoxLabels, Record, read_image, read_mask


@dataclass
class Sample:
    """``image`` (H, W, 3) uint8 RGB; per task a label or ``None``; masks (H, W) uint8 with 255
    ignored.
    """

    image: np.ndarray
    boxes: BoxLabels | None
    semantic: np.ndarray | None
    drivable: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        layers = (self.image, self.semantic, self.drivable)
        return sum(layer.nbytes for layer in layers if layer is not None)


def load_sample(record: Record, longest_side: int | None = None) -> Sample:
    """Read a record's files; larger images are shrunk to ``longest_side`` (area average)."""
    sample = Sample(
        read_image(record.image),
        record.boxes,
        read_mask(record.semantic) if record.semantic else None,
        read_mask(record.drivable) if record.drivable else None,
    )
    height, width = sample.image.shape[:2]
    if longest_side and max(height, width) > longest_side:
        factor = longest_side / max(height, width)
        return shrink(sample, (round(height * factor), round(width * factor)))
    return sample


def shrink(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample resized to ``size`` (height, width)."""
    height, width = size
    factor = np.array(
        [width / sample.image.shape[1], height / sample.image.shape[0]] * 2, np.float32
    )

    def nearest(mask: np.ndarray | None) -> np.ndarray | None:
        if mask is None:
            return None
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    boxes = sample.boxes and replace(sample.boxes, boxes=sample.boxes.boxes * factor)
    image = cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_AREA)
    return Sample(image, boxes, nearest(sample.semantic), nearest(sample.drivable))


def letterbox(sample: Sample, input_size: tuple[int, int]) -> Sample:
    """The sample as the network sees it at run time."""
    box = Letterbox(sample.image.shape[:2], input_size)

    def mask(label: np.ndarray | None) -> np.ndarray | None:
        return None if label is None else box.apply_mask(label)

    boxes = sample.boxes and replace(sample.boxes, boxes=box.apply_boxes(sample.boxes.boxes))
    image = box.apply_image(sample.image)
    return Sample(image, boxes, mask(sample.semantic), mask(sample.drivable))
