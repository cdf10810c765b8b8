# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Random views of a sample: scale, shift, flip and colour changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from unidrive_perception.geometry import DEFAULT_FILL
from unidrive_perception.labels import UNKNOWN
from unidrive_training.data.box_labels import BoxLabels
from unidrive_training.data.sample import Sample
from unidrive_training.typed import Typed

_MIN_VISIBLE = 0.3  # a truth cut to less than this share of its area is ignored
_MIN_SIDE = 2.0  # input pixels

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Typed):
    """Ranges of the random changes; by default the paper's, which has several scales only.

    ``short_sides``: the shorter side of the image in pixels, one of these at random, as long as
    the image fits into the input. ``scale``: a random factor on that; anything but 1 comes with a
    random shift too. ``flip`` is a probability; ``brightness``, ``contrast`` and ``saturation``
    change by up to that share; ``hue`` in turns of the colour circle.
    """

    short_sides: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (720, 600)
    scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    flip: Share = 0.0
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Share = 0.0

    @field_validator('scale')
    @classmethod
    def _is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError('give the smaller one first')
        return value


def augment(
    sample: Sample,
    input_size: tuple[int, int],
    options: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """A random view of ``sample`` at ``input_size`` (height, width)."""
    view = _random_view(sample.image.shape[:2], input_size, options, rng)
    masks = (
        mask if mask is None else view.mask(mask) for mask in (sample.semantic, sample.drivable)
    )
    boxes = sample.boxes and view.boxes(sample.boxes)
    return Sample(_recolor(view.image(sample.image), options, rng), boxes, *masks)


@dataclass(frozen=True)
class _Span:
    """Along one axis, which source pixels are shown at which pixels of the input."""

    start: int
    length: int
    shown_at: int
    shown_length: int

    @property
    def source(self) -> slice:
        return slice(self.start, self.start + self.length)

    def move(self, x: np.ndarray) -> np.ndarray:
        """Source → input coordinates, both measured from pixel edges."""
        return (x - self.start) * (self.shown_length / self.length) + self.shown_at


@dataclass(frozen=True)
class _View:
    """A rectangle of the source, resized to a rectangle of the input, then mirrored or not.

    Both have whole pixels: an axis-parallel resize is two to four times as fast as a warp.
    """

    rows: _Span
    columns: _Span
    flip: bool
    size: tuple[int, int]

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 → the input."""
        return self._show(image, cv2.INTER_LINEAR, (DEFAULT_FILL,) * 3)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) uint8 class ids → the input."""
        return self._show(mask, cv2.INTER_NEAREST_EXACT, UNKNOWN)

    def boxes(self, labels: BoxLabels) -> BoxLabels:
        """Boxes in the input, clipped to it.

        A box that is cut to a small part becomes a crowd box, to be ignored: something of the
        object can still be seen. A box outside the view is dropped.
        """
        x, y = self.columns.move(labels.boxes[:, 0::2]), self.rows.move(labels.boxes[:, 1::2])
        if self.flip:
            x = self.size[1] - x[:, ::-1]
        area = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
        x, y = x.clip(0, self.size[1]), y.clip(0, self.size[0])
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

    def _show(self, pixels: np.ndarray, method: int, fill: int | tuple[int, ...]) -> np.ndarray:
        shown = (self.columns.shown_length, self.rows.shown_length)
        pixels = cv2.resize(
            pixels[self.rows.source, self.columns.source], shown, interpolation=method
        )
        top, left = self.rows.shown_at, self.columns.shown_at
        bottom, right = self.size[0] - top - shown[1], self.size[1] - left - shown[0]
        if any((top, bottom, left, right)):
            pixels = cv2.copyMakeBorder(
                pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill
            )
        return cv2.flip(pixels, 1) if self.flip else pixels


def _random_view(
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    options: Augmentation,
    rng: np.random.Generator,
) -> _View:
    """One of the scales × random scale, random shift, random flip."""
    height, width = image_size
    side = rng.choice(options.short_sides)
    fit = min(input_size[0] / height, input_size[1] / width, side / min(height, width))
    factor = fit * np.exp(rng.uniform(*np.log(options.scale)))
    # Where only the scale is chosen, the image lies as at run time: at the top left.
    places = rng.uniform(size=2) if options.scale != (1.0, 1.0) else (0.0, 0.0)
    columns = _span(width, input_size[1], factor, places[0])
    rows = _span(height, input_size[0], factor, places[1])
    return _View(rows, columns, bool(rng.uniform() < options.flip), input_size)


def _span(length: int, room: int, factor: float, place: float) -> _Span:
    """The whole axis in the room, or a part of it that fills the room; ``place`` 0 to 1."""
    wanted = max(1, round(length * factor))
    if wanted <= room:
        return _Span(0, length, round(place * (room - wanted)), wanted)
    part = max(1, min(length, round(room / factor)))
    return _Span(round(place * (length - part)), part, 0, room)


# RGB → YIQ: the grey level, and two coordinates of the colour, 0 for grey.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def _recolor(image: np.ndarray, options: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """All four changes are linear in RGB, so one matrix makes them at once."""
    saturation, hue = rng.uniform(-1, 1, 2) * (options.saturation, options.hue)
    contrast, brightness = 1 + rng.uniform(-1, 1, 2) * (options.contrast, options.brightness)
    if (saturation, hue, contrast, brightness) == (0, 0, 1, 1):
        return image
    cos, sin = np.array([np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)]) * (1 + saturation)
    turned = np.linalg.inv(_YIQ) @ [[1, 0, 0], [0, cos, -sin], [0, sin, cos]] @ _YIQ
    offset = np.full((3, 1), 127.5 * (1 - contrast))
    return cv2.transform(image, np.hstack((turned * contrast, offset)) * brightness)
