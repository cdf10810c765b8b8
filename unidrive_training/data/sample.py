# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One image in memory with the labels it has, and its preparation for the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unidrive_perception.geometry import Letterbox
from unidrive_training.data.bdd100k import Record, read_image, read_mask
from unidrive_training.data.box_labels import BoxLabels
from unidrive_training.data.headers import image_size
from unidrive_training.data.resized import (
    ResizedCopies,
    resize_image,
    resize_mask,
    shrunk_size,
)

_JPEG = ('.jpg', '.jpeg')


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


def load_sample(
    record: Record, longest_side: int | None = None, copies: ResizedCopies | None = None
) -> Sample:
    """Read a record's files; larger images are shrunk to ``longest_side`` (area average).

    With ``copies`` the files are read from there, where they are at most that large.
    """
    if copies:
        image, size = copies.image(record.image)
        limit = min(longest_side or copies.longest_side, copies.longest_side)
    else:
        image, size = _read_at_least(record.image, longest_side)
        limit = longest_side
    read = copies.mask if copies else read_mask
    masks = (path and read(path) for path in (record.semantic, record.drivable))
    return _resized(Sample(image, record.boxes, *masks), size, shrunk_size(size, limit))


def shrink(sample: Sample, size: tuple[int, int]) -> Sample:
    """The sample resized to ``size`` (height, width)."""
    return _resized(sample, sample.image.shape[:2], size)


def _read_at_least(path: Path, longest_side: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    """The image with ``longest_side`` pixels or more, and its true (height, width).

    The JPEG decoder makes a half, quarter or eighth of the size in half the time, and gives nearly
    the mean of the area (measured: 0.2 grey levels from it). A size that does not divide evenly
    would be stretched, away from its labels.
    """
    if longest_side and path.suffix.lower() in _JPEG:
        size = image_size(path)
        parts = (n for n in (8, 4, 2) if max(size) >= n * longest_side)
        part = next((n for n in parts if all(side % n == 0 for side in size)), 1)
        return read_image(path, part), size
    image = read_image(path)
    return image, image.shape[:2]


def _resized(sample: Sample, labelled: tuple[int, int], size: tuple[int, int]) -> Sample:
    """Everything at ``size``; the boxes are in pixels of an image of size ``labelled``."""
    boxes = sample.boxes
    if boxes and labelled != size:
        factor = np.array([size[1] / labelled[1], size[0] / labelled[0]] * 2, np.float32)
        boxes = replace(boxes, boxes=boxes.boxes * factor)
    masks = (m if m is None else resize_mask(m, size) for m in (sample.semantic, sample.drivable))
    return Sample(resize_image(sample.image, size), boxes, *masks)


def letterbox(sample: Sample, input_size: tuple[int, int]) -> Sample:
    """The sample as the network sees it at run time."""
    box = Letterbox(sample.image.shape[:2], input_size)

    def mask(label: np.ndarray | None) -> np.ndarray | None:
        return None if label is None else box.apply_mask(label)

    boxes = sample.boxes and replace(sample.boxes, boxes=box.apply_boxes(sample.boxes.boxes))
    image = box.apply_image(sample.image)
    return Sample(image, boxes, mask(sample.semantic), mask(sample.drivable))
