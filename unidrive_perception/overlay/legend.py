# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the colours of a picture mean, in its corner, and a line of status at its bottom edge."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from unidrive_perception.labels import Color, LabelTable
from unidrive_perception.overlay.boxes import Rectangle
from unidrive_perception.overlay.colors import line_color
from unidrive_perception.overlay.text import BLACK, WHITE, lay, plate, text_cover, text_size, write

_GREY = (200, 200, 200)
_RIM = (120, 120, 120)  # some colours of areas are as dark as the plate
_LEAST_SHARE = 0.004  # of the image; what covers less would come and go
_FEWEST = 3  # rows; a picture that has no room for them is too small for a legend
_STEP = 4  # every so many pixels of a mask are enough to find that out


class Row(NamedTuple):
    """A line of the legend: ``count`` of objects, 0 for an area."""

    name: str
    color: Color
    count: int = 0


def object_rows(class_ids: np.ndarray, table: LabelTable) -> list[Row]:
    """The classes of the objects, with how many there are."""
    counts = np.bincount(class_ids, minlength=len(table)).tolist()
    return [
        Row(info.name, line_color(info.color), counts[info.id])
        for info in table.classes
        if counts[info.id]
    ]


def area_rows(mask: np.ndarray, table: LabelTable) -> list[Row]:
    """The classes that cover something of the image and have a colour."""
    seen = mask[::_STEP, ::_STEP]
    shares = np.bincount(seen.ravel(), minlength=256) / seen.size
    return [
        Row(info.name, info.color)
        for info in table.classes
        if any(info.color) and shares[info.id] > _LEAST_SHARE
    ]


def draw_legend(picture: np.ndarray, groups: Iterable[Sequence[Row]]) -> list[Rectangle]:
    """Draw each group as a column, from the upper left corner on; returns the places taken.

    What a third of the height or half of the width has no room for is left out.
    """
    height, width = picture.shape[:2]
    size = max(9, round(0.85 * text_size((height, width))))
    most = height // 3 // _row_height(size)
    x = y = size // 2
    taken = []
    for rows in groups:
        if not rows or most < _FEWEST:
            continue
        column = _column(tuple(rows[:most]), size)
        high, wide = column.shape[:2]
        if x + wide <= width // 2:
            lay(picture, column, (x, y))
            taken.append((x, y, x + wide, y + high))
            x += wide + 1
    return taken


def _row_height(size: int) -> int:
    return round(1.3 * size)


@functools.lru_cache(maxsize=32)  # from image to image it rarely changes
def _column(rows: tuple[Row, ...], size: int) -> np.ndarray:
    """Rows of a legend on a plate."""
    names = [text_cover(row.name, size) for row in rows]
    counts = [text_cover(str(row.count or ''), size) for row in rows]
    long, wide = (max(cover.shape[1] for cover in covers) for covers in (names, counts))
    step = _row_height(size)
    indent = size // 2 + step  # of the names
    height, width = len(rows) * step + size // 2, indent + long + wide + size
    column = plate(height, width)
    y = size // 4 + (step - size) // 2
    for row, name, count in zip(rows, names, counts, strict=True):
        swatch = column[y + 1 : y + size - 1, size // 2 : size + size // 2 - 2]
        _draw_swatch(swatch, row.color, framed=row.count > 0)
        write(column, name, (indent, y), WHITE)
        write(column, count, (width - size // 2 - count.shape[1], y), _GREY)
        y += step
    return column


def _draw_swatch(place: np.ndarray, color: Color, framed: bool) -> None:
    line = max(1, len(place) // 6)
    place[:] = color if framed else _RIM
    place[line:-line, line:-line] = BLACK if framed else color


def draw_status(picture: np.ndarray, status: str) -> list[Rectangle]:
    """Draw a line along the bottom edge, its parts divided by ``·``; returns the place taken.

    Parts at the end for which the picture is too narrow are left out.
    """
    parts = [part.strip() for part in status.split('·') if part.strip()]
    height, width = picture.shape[:2]
    size = text_size((height, width))
    high = size + size // 2
    if not parts or high > height // 3:
        return []
    strip = plate(high, width)
    x, y = size // 2, size // 4
    for part in parts:
        cover = text_cover(part, size)
        if x + cover.shape[1] > width:
            break
        if x > size // 2:  # not the first
            _draw_dot(strip, (x - size // 2, high // 2), max(2, size // 6))
        write(strip, cover, (x, y), WHITE)
        x += cover.shape[1] + size
    lay(picture, strip, (0, height - high))
    return [(0, height - high, width, height)]


def _draw_dot(picture: np.ndarray, middle: tuple[int, int], width: int) -> None:
    x, y = (c - width // 2 for c in middle)
    picture[y : y + width, x : x + width] = _GREY
