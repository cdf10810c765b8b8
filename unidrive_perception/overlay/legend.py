# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the colours of a picture mean, and a line of status: at its upper and lower edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from unidrive_perception.labels import Color, LabelTable
from unidrive_perception.overlay.boxes import Rectangle
from unidrive_perception.overlay.colors import line_color
from unidrive_perception.overlay.kept import kept
from unidrive_perception.overlay.text import BLACK, WHITE, lay, plate, text_cover, text_size, write

_GREY = (200, 200, 200)
_RIM = (120, 120, 120)  # some colours of areas are as dark as the plate
_LEAST_SHARE = 0.004  # of the image; what covers less would come and go
_STEP = 4  # every so many pixels of a mask are enough to find that out
_MOST_OF_HEIGHT = 0.15  # for the legend
_FEWEST = 2  # lines; a picture that has no room for them is too small for a legend


class Row(NamedTuple):
    """An entry of the legend: ``count`` of objects, 0 for an area."""

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


def draw_legend(picture: np.ndarray, groups: Mapping[str, Sequence[Row]]) -> list[Rectangle]:
    """Draw the groups along the upper edge, each on lines of its own behind its title.

    What has no room is left out, the last entries first. Returns the place taken, if any.
    """
    height, width = picture.shape[:2]
    size = max(9, round(0.8 * text_size((height, width))))
    most = int(_MOST_OF_HEIGHT * height) // _line_height(size)
    if most < _FEWEST:
        return []
    shown = tuple((title, tuple(rows)) for title, rows in groups.items() if rows)
    legend = _legend(shown, size, most, width - size)
    if not legend.size:
        return []
    lay(picture, legend, (0, 0))
    return [(0, 0, legend.shape[1], legend.shape[0])]


@kept(32)  # from image to image it rarely changes
def _legend(
    groups: tuple[tuple[str, tuple[Row, ...]], ...], size: int, most: int, room: int
) -> np.ndarray:
    """The groups below each other: at most ``most`` lines that are ``room`` pixels wide."""
    indent = size + max((text_cover(title, size).shape[1] for title, _ in groups), default=0)
    parts, rest = [], most * _line_height(size)
    for title, rows in groups:
        parts.append(_group(title, rows, size, indent, room)[:rest])
        rest -= len(parts[-1])
    return _stacked([part for part in parts if len(part)], size // 2)


def _line_height(size: int) -> int:
    return round(1.3 * size)


def _stacked(parts: Sequence[np.ndarray], margin: int) -> np.ndarray:
    """Images one below the other on a plate; without any the plate is empty."""
    if not parts:
        return plate(0, 0)
    height, width = sum(len(part) for part in parts), max(part.shape[1] for part in parts)
    stack = plate(height + margin, width + 2 * margin)
    y = margin // 2
    for part in parts:
        stack[y : y + len(part), margin : margin + part.shape[1]] = part
        y += len(part)
    return stack


@kept(64)  # where objects come and go, the areas stay
def _group(title: str, rows: tuple[Row, ...], size: int, indent: int, room: int) -> np.ndarray:
    """A title, and behind it as many lines of entries as these need in ``room`` pixels."""
    lines = _lines([_entry(row, size) for row in rows], room - indent)
    widths = [sum(entry.shape[1] for entry in line) for line in lines]
    step = _line_height(size)
    group = plate(len(lines) * step, indent + max(widths, default=0))
    y = (step - size) // 2
    if lines:
        write(group, text_cover(title, size), (0, y), _GREY)
    for line, width in zip(lines, widths, strict=True):
        group[y : y + size, indent : indent + width] = np.hstack(line)
        y += step
    return group


def _lines(entries: Sequence[np.ndarray], room: int) -> list[list[np.ndarray]]:
    """Entries in lines no wider than ``room``; one that is wider is left out."""
    lines, rest = [], 0
    for entry in entries:
        width = entry.shape[1]
        if width > room:
            continue
        if width > rest:
            lines.append([])
            rest = room
        lines[-1].append(entry)
        rest -= width
    return lines


@kept(256)
def _entry(row: Row, size: int) -> np.ndarray:
    """(size, width, 3): the colour of a class, its name and how many there are."""
    name, count = text_cover(row.name, size), text_cover(str(row.count or ''), size)
    indent = round(1.3 * size)  # of the name
    behind = indent + name.shape[1] + size // 2  # where the count is
    entry = plate(size, behind + (count.shape[1] + size if row.count else size // 2))
    _draw_swatch(entry[1 : size - 1, : size - 2], row.color, framed=row.count > 0)
    write(entry, name, (indent, 0), WHITE)
    if row.count:
        write(entry, count, (behind, 0), _GREY)
    return entry


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
