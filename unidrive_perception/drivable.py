# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The drivable mask in shapes that a planner uses: polygons, and the share of each cell of a grid.

A mask has one class id for each pixel and covers the whole image, at the image's size or smaller.
Both functions take the classes of its table that are not named ``background``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from unidrive_perception.geometry import Size
from unidrive_perception.labels import ClassInfo, LabelTable

BACKGROUND = 'background'
"""Name of the class on which one may not drive."""

MIN_AREA = 1e-4
"""Share of the image below which a region, or a hole in one, is left out.

It is 92 of 1280×720 pixels, about one output cell of a network that answers with 160 columns: what
is smaller is noise along a border. Of what the default bundle finds drivable in 60 real frames it
loses 0.002 %, and of the holes there 0.9 %. A larger limit would soon fill the gaps that cars
leave: 0.1 % would fill a fifth of them.
"""

_SIDE_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
"""Where the top, right, bottom and left side of a pixel begin, walking clockwise around it."""

_STANDS_STILL = 8
_DIRECTIONS = np.array([[5, 6, 7], [4, _STANDS_STILL, 0], [3, 2, 1]])
"""A step (dy + 1, dx + 1) -> its number: 0 to the right, then clockwise in eighths of a turn."""

_FIRST_SIDE = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0])
_LAST_SIDE = np.array([0, 1, 1, 2, 2, 3, 3, 0, 3])
"""The sides of a pixel that a walk with the region on its right passes first after coming in that
direction, and last before it leaves in that direction; all four where the region is one pixel."""


class Polygon(NamedTuple):
    """One connected region of one class, in pixels of the original image (see BoundingBox.msg).

    ``outline`` (N, 2) float32 xy is clockwise as seen on the screen, each of ``holes`` (M, 2)
    anticlockwise; the last point is joined to the first. ``area`` [px²] is that of the region in
    the mask, before its border was simplified.
    """

    class_id: int
    outline: np.ndarray
    holes: list[np.ndarray]
    area: float


def drivable_polygons(
    mask: np.ndarray, table: LabelTable, image_size: Size, tolerance_px: float
) -> list[Polygon]:
    """Return the regions of ``mask`` (h, w) uint8, largest first, in pixels of ``image_size``.

    Pixels that touch at a corner are connected. No point of a border is farther than about
    ``tolerance_px`` from the simplified one (Douglas-Peucker); with 0 the polygons follow the
    edges of the pixels exactly. Regions and holes below :data:`MIN_AREA`, and those that a large
    tolerance leaves without an area, are left out.
    """
    height, width = mask.shape
    scale = np.array([image_size[1] / width, image_size[0] / height], np.float32)
    limit = MIN_AREA * mask.size
    polygons = []
    for info in drivable_classes(table):
        for border, holes, pixels in _regions((mask == info.id).view(np.uint8), limit):
            outline = _simplified(border, scale, tolerance_px)
            if outline is None:
                continue
            inner = [_simplified(hole, scale, tolerance_px) for hole in holes]
            polygons.append(
                Polygon(
                    info.id,
                    outline,
                    [hole for hole in inner if hole is not None],
                    pixels * float(scale.prod()),
                )
            )
    return sorted(polygons, key=lambda polygon: -polygon.area)


def drivable_grid(
    mask: np.ndarray, table: LabelTable, rows: int, columns: int
) -> dict[int, np.ndarray]:
    """Return, by class id, the share of each cell that is of that class: (rows, columns) uint8, %.

    Cell (r, c) is the part of the image that DrivableGrid.msg says. A pixel that lies in several
    cells counts in each with the part that is in it, so cells may be smaller than pixels. Shares
    are rounded to the nearest percent, a half upwards.
    """
    return {
        info.id: _cell_shares((mask == info.id).view(np.uint8), rows, columns)
        for info in drivable_classes(table)
    }


def drivable_classes(table: LabelTable) -> list[ClassInfo]:
    """Return the classes on which one may drive, in the order of their ids."""
    return [info for info in table.classes if info.name != BACKGROUND]


def _regions(
    binary: np.ndarray, limit: float
) -> Iterator[tuple[np.ndarray, list[np.ndarray], float]]:
    """Yield border, holes and number of pixels of each region of at least ``limit`` pixels."""
    chains, hierarchy = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for chain, (_, _, child, parent) in zip(chains, hierarchy[0] if chains else (), strict=True):
        pixels = _enclosed(chain, 1)
        if parent >= 0 or pixels < limit:
            continue
        holes = []
        while child >= 0:
            hole_pixels = _enclosed(chains[child], -1)
            if hole_pixels >= limit:
                holes.append(chains[child])
                pixels -= hole_pixels
            child = hierarchy[0][child][0]
        yield chain, holes, pixels


def _enclosed(chain: np.ndarray, side: int) -> float:
    """Return the number of pixels within a chain of border pixels, by Pick's theorem.

    ``side`` 1 counts the chain itself too (a region), -1 does not (a hole).
    """
    steps = len(chain) if len(chain) > 1 else 0
    return cv2.contourArea(chain) + side * steps / 2 + 1


def _simplified(chain: np.ndarray, scale: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Return the border of the pixels of ``chain`` in image pixels, None if no area is left."""
    corners = (_pixel_edges(chain) * scale).astype(np.float32)
    polygon = cv2.approxPolyDP(corners[:, None], tolerance, True)[:, 0]
    return polygon if len(polygon) > 2 else None


def _pixel_edges(chain: np.ndarray) -> np.ndarray:
    """Return the corners of the line around the pixels of a chain: (n, 2) xy, counted from edges.

    OpenCV gives the centres of the border pixels, walking with the region on the left. Here the
    walk has it on the right, so that outlines are clockwise and holes are not, and the line goes
    along the outer sides of the pixels: without that, each region would be half a pixel too
    small on every side, and each hole too large.
    """
    pixels = chain[::-1, 0]
    steps = np.roll(pixels, -1, 0) - pixels
    leaves = _DIRECTIONS[steps[:, 1] + 1, steps[:, 0] + 1]
    first = _FIRST_SIDE[np.roll(leaves, 1)]
    passed = (_LAST_SIDE[leaves] - first) % 4 + 1
    pixel = np.repeat(np.arange(len(pixels)), passed)
    nth = np.arange(len(pixel)) - np.repeat(np.cumsum(passed) - passed, passed)
    side = (first[pixel] + nth) % 4
    turns = side != np.roll(side, 1)
    return pixels[pixel[turns]] + _SIDE_CORNERS[side[turns]]


def _cell_shares(binary: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the share of ones in each cell in %, (rows, columns) uint8, exact until rounded."""
    sums = _at_cell_edges(cv2.integral(binary), rows)  # (rows + 1, w + 1)
    sums = _at_cell_edges(sums.T, columns).T  # (rows + 1, columns + 1)
    ones = np.diff(np.diff(sums, axis=0), axis=1)
    cell = binary.size  # of h × w pixels, each counted rows × columns times, one cell has this
    return ((200 * ones + cell) // (2 * cell)).astype(np.uint8)


def _at_cell_edges(sums: np.ndarray, cells: int) -> np.ndarray:
    """Return ``cells`` times the running sums (n + 1, m), there where the n pixels are divided.

    Between two pixel edges the sum grows linearly, and as integers it stays exact.
    """
    pixels = len(sums) - 1
    edge, part = np.divmod(np.arange(cells + 1, dtype=np.int64) * pixels, cells)
    following = np.minimum(edge + 1, pixels)
    return sums[edge] * (cells - part)[:, None] + sums[following] * part[:, None]
