# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Random views of a sample: one affine warp (scale, shift, flip) and colour changes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from unidrive_perception.geometry import DEFAULT_FILL
from unidrive_perception.labels import UNKNOWN
from unidrive_training.data.bdd100k import BoxLabels
from unidrive_training.data.sample import Sample
from unidrive_training.typed import Typed

_MIN_VISIBLE = 0.3  # a truth cut to less than this share of its area is ignored
_MIN_SIDE = 2.0  # input pixels


class Augmentation(Typed):
    """Ranges of the random changes; by default the paper's, which has several scales only.

    ``short_sides``: the shorter side of the image in pixels, one of these at random, as long as
    the image fits into the input. ``scale``: a random factor on that; anything but 1 comes with a
    random shift too.
    """

    short_sides: tuple[int, ...] = (720, 600)
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


def augment(
    sample: Sample,
    input_size: tuple[int, int],
    options: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """A random view of ``sample`` at ``input_size`` (height, width)."""
    matrix = _random_affine(sample.image.shape[:2], input_size, options, rng)
    size = (input_size[1], input_size[0])
    image = cv2.warpAffine(
        sample.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(DEFAULT_FILL,) * 3
    )

    def warp(mask: np.ndarray | None) -> np.ndarray | None:
        if mask is None:
            return None
        return cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=UNKNOWN)

    boxes = sample.boxes and warp_boxes(sample.boxes, matrix, input_size)
    return Sample(
        _recolor(image, options, rng), boxes, warp(sample.semantic), warp(sample.drivable)
    )


def _random_affine(
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    options: Augmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """(2, 3) matrix image → input pixels: one of the scales × random scale, random shift, random
    flip.
    """
    height, width = image_size
    side = rng.choice(options.short_sides)
    fit = min(input_size[0] / height, input_size[1] / width, side / min(height, width))
    factor = fit * np.exp(rng.uniform(*np.log(options.scale)))
    slack_x, slack_y = input_size[1] - factor * width, input_size[0] - factor * height
    shift = rng.uniform(size=2) if options.scale != (1.0, 1.0) else (0.5, 0.5)
    matrix = np.array([[factor, 0, shift[0] * slack_x], [0, factor, shift[1] * slack_y]])
    if rng.uniform() < options.flip:
        matrix[0] = [-factor, 0, input_size[1] - matrix[0, 2]]
    # OpenCV's warp maps pixel centres, boxes are measured from pixel corners.
    matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    return matrix


def warp_boxes(labels: BoxLabels, matrix: np.ndarray, size: tuple[int, int]) -> BoxLabels:
    """Boxes through the warp, clipped to the view.

    A box that is cut to a small part becomes a crowd box, to be ignored: something of the object
    can still be seen. A box outside the view is dropped.
    """
    corner = matrix.copy()
    corner[:, 2] -= 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    x = np.sort(labels.boxes[:, 0::2] * corner[0, 0] + corner[0, 2], axis=1)
    y = np.sort(labels.boxes[:, 1::2] * corner[1, 1] + corner[1, 2], axis=1)
    area = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
    x, y = x.clip(0, size[1]), y.clip(0, size[0])
    width, height = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
    cut = width * height <= _MIN_VISIBLE * area
    keep = np.minimum(width, height) >= _MIN_SIDE
    boxes = np.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), axis=1).astype(np.float32)
    return replace(
        labels,
        boxes=boxes[keep],
        class_ids=labels.class_ids[keep],
        crowd=(labels.crowd | cut)[keep],
    )


def _recolor(image: np.ndarray, options: Augmentation, rng: np.random.Generator) -> np.ndarray:
    saturation, hue = rng.uniform(-1, 1, 2) * (options.saturation, options.hue)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    steps = np.arange(256)
    lookup = np.stack(
        (
            (steps + round(hue * 180)) % 180,
            (steps * (1 + saturation)).clip(0, 255),
            steps,
        ),
        axis=1,
    )
    image = cv2.cvtColor(cv2.LUT(hsv, lookup.astype(np.uint8)[None]), cv2.COLOR_HSV2RGB)
    contrast, brightness = 1 + rng.uniform(-1, 1, 2) * (options.contrast, options.brightness)
    curve = ((steps - 127.5) * contrast + 127.5) * brightness
    return cv2.LUT(image, curve.clip(0, 255).astype(np.uint8))
