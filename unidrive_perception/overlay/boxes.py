# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Boxes on a picture, and captions that find a place beside them without covering each other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from unidrive_perception.geometry import Size
from unidrive_perception.labels import Color, LabelTable
from unidrive_perception.overlay.colors import brightness, line_color
from unidrive_perception.overlay.kept import kept
from unidrive_perception.overlay.text import BLACK, WHITE, line_width, text_cover, text_size
from unidrive_perception.predictor import Prediction

_MOST_HIDDEN = 0.7  # of an object, or of several together, before a caption is left out
_PREFERENCE = 0.03  # of an object is hidden rather than that captions jump about

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are the first ones outside."""


def draw_frames(picture: np.ndarray, prediction: Prediction, table: LabelTable) -> None:
    """Draw the boxes, the best on top."""
    line = line_width(picture.shape[:2])
    boxes = np.rint(prediction.boxes).astype(int)
    for box, i in zip(boxes[::-1], prediction.class_ids[::-1], strict=True):
        _draw_frame(picture, box, line_color(table.classes[i].color), line)


def draw_captions(
    picture: np.ndarray, prediction: Prediction, table: LabelTable, taken: Sequence[Rectangle]
) -> None:
    """Write beside each box what it is, never over another caption or a ``taken`` place.

    Where there is no room for all captions, the least certain ones are left out.
    """
    boxes = np.rint(prediction.boxes).astype(int)
    free = _FreePlaces(picture.shape[:2], boxes, taken)
    size, line = text_size(picture.shape[:2]), line_width(picture.shape[:2])
    for i, box in enumerate(boxes):
        cover = text_cover(_caption(prediction, i, table), size)
        plate = (cover.shape[1] + size // 2, size + size // 6)
        place = free.take(_places(box, plate, line), plate)
        if place:
            color = line_color(table.classes[prediction.class_ids[i]].color)
            _draw_caption(picture, place, plate, cover, color)


def _caption(prediction: Prediction, i: int, table: LabelTable) -> str:
    """Class name, track and score of a box; a score of NaN, as truth has it, is left out."""
    words = [table.classes[prediction.class_ids[i]].name]
    if prediction.track_ids[i]:
        words.append(f'#{prediction.track_ids[i]}')
    if not np.isnan(prediction.scores[i]):
        words.append(f'{prediction.scores[i]:.2f}')
    return ' '.join(words)


def _draw_frame(picture: np.ndarray, box: Sequence[int], color: Color, line: int) -> None:
    """A coloured line just inside the box, and a dark one on either side of it."""
    x0, y0, x1, y1 = box
    for grow, width in ((1, line + 2), (0, line)):
        left, top, right, bottom = x0 - grow, y0 - grow, x1 + grow, y1 + grow
        for a, b, c, d in (
            (left, top, right, top + width),
            (left, bottom - width, right, bottom),
            (left, top + width, left + width, bottom - width),
            (right - width, top + width, right, bottom - width),
        ):
            side = picture[max(0, b) : max(0, d), max(0, a) : max(0, c)]
            if grow:
                side >>= 1
            else:
                side[:] = color


def _places(box: Sequence[int], plate: tuple[int, int], line: int) -> list[tuple[int, int]]:
    """Upper left corners for a caption of this size, those that people expect first."""
    (x0, y0, x1, y1), (width, height) = box, plate
    above, below = y0 - height, y1
    places = [(x0, above), (x1 - width, above), (x0, below), (x1 - width, below)]
    if x1 - x0 >= width + 2 * line and y1 - y0 >= 2 * height:  # inside it hides little
        inside = y0 + line
        places[1:1] = [(x0 + line, inside), (x1 - width - line, inside)]
        places.append((x0 + line, y1 - height - line))
    middle = (y0 + y1 - height) // 2
    return [*places, (x1 + 1, middle), (x0 - width - 1, middle)]


class _FreePlaces:
    """Where captions may still go."""

    def __init__(self, image_size: Size, boxes: np.ndarray, taken: Sequence[Rectangle]) -> None:
        self._height, self._width = image_size
        self._boxes = boxes[:, None]  # (N, 1, 4)
        self._areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1)
        self._taken = np.empty((len(boxes) + len(taken), 1, 4), int)
        self._count = len(taken)
        self._taken[: self._count, 0] = np.reshape(taken, (-1, 4))

    def take(
        self, places: Sequence[tuple[int, int]], plate: tuple[int, int]
    ) -> tuple[int, int] | None:
        """Where a plate of this (width, height) is free and hides little of the objects, moved
        sideways into the picture; earlier places are preferred. ``None`` if there is none.
        """
        corners = np.array(places)
        corners[:, 0] = corners[:, 0].clip(0, max(0, self._width - plate[0]))
        plates = np.concatenate((corners, corners + plate), 1)  # (places, 4)
        outside = (corners[:, 1] < 0) | (plates[:, 2:] > (self._width, self._height)).any(1)
        covered = _shared_areas(self._taken[: self._count], plates).any(0)
        hidden = (_shared_areas(self._boxes, plates).T / self._areas).sum(1)
        hidden += _PREFERENCE * np.arange(len(places))
        hidden[outside | covered] = np.inf
        best = int(hidden.argmin())
        if hidden[best] > _MOST_HIDDEN:
            return None
        self._taken[self._count] = plates[best]
        self._count += 1
        return int(corners[best, 0]), int(corners[best, 1])


def _shared_areas(rectangles: np.ndarray, plates: np.ndarray) -> np.ndarray:
    """(N, P) pixels that (N, 1, 4) rectangles and (P, 4) plates have in common."""
    ends = np.minimum(rectangles[..., 2:], plates[:, 2:])
    return (ends - np.maximum(rectangles[..., :2], plates[:, :2])).clip(0).prod(2)


def _draw_caption(
    picture: np.ndarray,
    place: tuple[int, int],
    plate: tuple[int, int],
    cover: np.ndarray,
    color: Color,
) -> None:
    (x, y), (width, height) = place, plate
    ground = picture[y : y + height, x : x + width]
    ground[:] = color
    size, long = cover.shape
    top, left = (height - size) // 2, (width - long) // 2
    ground[top : top + size, left : left + long] = cv2.applyColorMap(cover, _shades(color))


@kept(256)
def _shades(color: Color) -> np.ndarray:
    """(256, 1, 3) uint8: from the colour of a plate to that of the letters on it."""
    ink = BLACK if brightness(color) > 110 else WHITE
    return np.linspace(color, ink, 256).round().astype(np.uint8).reshape(256, 1, 3)
