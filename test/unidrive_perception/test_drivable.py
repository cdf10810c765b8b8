# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Polygons and grids of a drivable mask, against slow ways to the same."""

from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest

from unidrive_perception import drivable
from unidrive_perception.drivable import drivable_classes, drivable_grid, drivable_polygons
from unidrive_perception.labels import BDD100K_LABELS, UNKNOWN, ClassInfo, LabelTable

TABLE = BDD100K_LABELS['drivable']
DIRECT, ALTERNATIVE, BACKGROUND = range(3)


@pytest.fixture
def every_pixel(monkeypatch):
    """No region is too small."""
    monkeypatch.setattr(drivable, 'MIN_AREA', 0)


def fill(polygons, size):
    """Return the mask whose pixels have their centres in the polygons (even-odd rule)."""
    mask = np.full(size, BACKGROUND, np.uint8)
    for polygon in polygons:
        crossed = np.zeros((size[0], size[1] + 1), bool)
        for ring in (polygon.outline, *polygon.holes):
            for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, 0), strict=True):
                top, bottom = sorted((math.ceil(y1 - 0.5), math.ceil(y2 - 0.5)))
                rows = np.arange(top, bottom)  # those whose centre the edge passes
                x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1) if len(rows) else rows
                crossed[rows, np.ceil(x - 0.5).astype(int)] ^= True
        mask[np.logical_xor.accumulate(crossed, 1)[:, :-1]] = polygon.class_id
    return mask


def signed_area(ring):
    """Return the area [px²], positive where the ring is clockwise as seen on the screen."""
    x, y = ring.T.astype(float)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def count_points(polygons):
    return sum(len(ring) for p in polygons for ring in (p.outline, *p.holes))


def blobs(rng, size, cells=(5, 8)):
    """Return a mask of smooth regions of every class, with holes."""
    noise = rng.random((3, *cells)).astype(np.float32)
    layers = [cv2.resize(n, size[::-1], interpolation=cv2.INTER_CUBIC) for n in noise]
    return np.argmax(layers, 0).astype(np.uint8)


def iou(first, second, class_id):
    first, second = first == class_id, second == class_id
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize('seed', range(100))
def test_polygons_without_tolerance_are_the_mask(seed, every_pixel):
    """All that can be: single pixels, corners that touch, holes, islands in holes."""
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 14, 2))
    mask = rng.choice([DIRECT, ALTERNATIVE, BACKGROUND, UNKNOWN], size, p=[0.6, 0.2, 0.1, 0.1])
    mask = mask.astype(np.uint8)
    polygons = drivable_polygons(mask, TABLE, size, 0)
    expected = np.where(mask == UNKNOWN, BACKGROUND, mask)
    np.testing.assert_array_equal(fill(polygons, size), expected)
    for polygon in polygons:
        assert signed_area(polygon.outline) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
        rings = (polygon.outline, *polygon.holes)
        assert polygon.area == sum(signed_area(ring) for ring in rings)
        for ring in rings:  # as few points as there are corners
            steps = np.roll(ring, -1, 0) - ring
            assert ((steps == 0).sum(1) == 1).all()
            assert ((steps != 0) != (np.roll(steps, 1, 0) != 0)).all()
    areas = [polygon.area for polygon in polygons]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize('mask_size', [(1, 1), (7, 9), (90, 160), (720, 1280)])
def test_region_over_the_whole_image(mask_size):
    (polygon,) = drivable_polygons(np.zeros(mask_size, np.uint8), TABLE, (720, 1280), 2.0)
    assert polygon.class_id == DIRECT
    assert polygon.area == pytest.approx(720 * 1280)
    assert polygon.holes == []
    assert polygon.outline.dtype == np.float32
    corners = [(0, 0), (1280, 0), (1280, 720), (0, 720)]  # clockwise
    start = corners.index(tuple(polygon.outline[0]))
    np.testing.assert_array_equal(polygon.outline, corners[start:] + corners[:start])


def test_region_with_a_hole():
    mask = np.full((20, 20), BACKGROUND, np.uint8)
    mask[4:16, 2:18] = ALTERNATIVE
    mask[8:10, 5:9] = BACKGROUND
    (polygon,) = drivable_polygons(mask, TABLE, (40, 60), 1.0)
    assert polygon.class_id == ALTERNATIVE
    assert polygon.area == (12 * 16 - 2 * 4) * 6
    assert {tuple(p) for p in polygon.outline} == {(6, 8), (54, 8), (54, 32), (6, 32)}
    (hole,) = polygon.holes
    assert {tuple(p) for p in hole} == {(15, 16), (27, 16), (27, 20), (15, 20)}
    assert signed_area(polygon.outline) == 12 * 16 * 6
    assert signed_area(hole) == -2 * 4 * 6


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('downscale', [1, 2, 4])
def test_simplified_polygons_are_close_to_the_mask(seed, downscale):
    size = (360, 640)
    mask = blobs(np.random.default_rng(seed), (size[0] // downscale, size[1] // downscale))
    polygons = drivable_polygons(mask, TABLE, size, 1.5)
    if downscale == 1:  # the steps of the border are smaller than the tolerance
        exact = drivable_polygons(mask, TABLE, size, 0)
        assert count_points(polygons) < count_points(exact) / 5
    whole = np.kron(mask, np.ones((downscale, downscale), np.uint8))
    for class_id in (DIRECT, ALTERNATIVE):
        assert iou(fill(polygons, size), whole, class_id) > 0.97
    for polygon in polygons:
        for ring in (polygon.outline, *polygon.holes):
            assert (ring >= 0).all()
            assert (ring <= size[::-1]).all()


def test_tolerance_is_in_pixels_of_the_image():
    mask = blobs(np.random.default_rng(3), (90, 160))
    small = drivable_polygons(mask, TABLE, (90, 160), 1.0)
    large = drivable_polygons(mask, TABLE, (720, 1280), 8.0)
    assert len(small) == len(large) > 3
    for one, other in zip(small, large, strict=True):
        np.testing.assert_array_equal(one.outline * 8, other.outline)
        assert one.area * 64 == other.area


def test_regions_of_all_drivable_classes_come_largest_first():
    mask = np.full((30, 30), BACKGROUND, np.uint8)
    mask[0:4, 0:4] = DIRECT
    mask[10:20, 10:20] = ALTERNATIVE
    mask[25:30, 0:10] = DIRECT
    mask[0:10, 20:30] = UNKNOWN
    polygons = drivable_polygons(mask, TABLE, (30, 30), 0)
    assert [(p.class_id, p.area) for p in polygons] == [
        (ALTERNATIVE, 100), (DIRECT, 50), (DIRECT, 16),
    ]  # fmt: skip


def test_specks_and_pinholes_are_left_out():
    mask = np.full((200, 200), BACKGROUND, np.uint8)  # 0.01 % of it are 4 pixels
    mask[10:12, 10:12] = DIRECT
    mask[20, 20:23] = DIRECT
    mask[100:150, 100:150] = DIRECT
    mask[110:112, 110:112] = BACKGROUND
    mask[120, 120:123] = BACKGROUND
    large, small = drivable_polygons(mask, TABLE, mask.shape, 0)
    assert (large.area, small.area) == (50 * 50 - 4, 4)
    assert [signed_area(hole) for hole in large.holes] == [-4]


def test_a_tolerance_larger_than_the_region_leaves_nothing_or_little():
    mask = np.full((100, 100), BACKGROUND, np.uint8)
    mask[40:60, 40:60] = DIRECT
    for tolerance in (10, 30, 1000):
        for polygon in drivable_polygons(mask, TABLE, mask.shape, tolerance):
            assert len(polygon.outline) > 2


@pytest.mark.parametrize('value', [BACKGROUND, UNKNOWN])
def test_nothing_drivable(value):
    mask = np.full((20, 30), value, np.uint8)
    assert drivable_polygons(mask, TABLE, (20, 30), 1.0) == []
    for shares in drivable_grid(mask, TABLE, 3, 4).values():
        np.testing.assert_array_equal(shares, np.zeros((3, 4)))


def test_masks_that_are_not_contiguous():
    mask = blobs(np.random.default_rng(1), (120, 200))
    for view in (mask.T, mask[::-1, ::2], mask[10:90, 20:]):
        copy = np.ascontiguousarray(view)
        for got, expected in zip(
            drivable_polygons(view, TABLE, view.shape, 1.0),
            drivable_polygons(copy, TABLE, view.shape, 1.0),
            strict=True,
        ):
            np.testing.assert_array_equal(got.outline, expected.outline)
        np.testing.assert_array_equal(
            drivable_grid(view, TABLE, 4, 5)[DIRECT], drivable_grid(copy, TABLE, 4, 5)[DIRECT]
        )


def test_other_tables():
    """A model of one's own may have one drivable class, or no background among its classes."""
    names = ('road', 'background', 'kerb')
    table = LabelTable('drivable', tuple(ClassInfo(i, n, (0, 0, 0)) for i, n in enumerate(names)))
    assert [info.name for info in drivable_classes(table)] == ['road', 'kerb']
    mask = np.repeat(np.uint8([[0, 1, 2]]), 3, 0)
    assert [p.class_id for p in drivable_polygons(mask, table, (3, 3), 0)] == [0, 2]
    assert list(drivable_grid(mask, table, 1, 1)) == [0, 2]
    assert [p.class_id for p in drivable_polygons(mask[:, :1], table, (3, 3), 0)] == [0]


def slow_shares(binary, rows, columns):
    """Cut every pixel with every cell, in fractions."""

    def overlaps(pixels, cells):
        """Return what part of each cell is in each pixel."""
        width = Fraction(pixels, cells)
        return [
            [
                max(Fraction(0), min((cell + 1) * width, pixel + 1) - max(cell * width, pixel))
                / width
                for pixel in range(pixels)
            ]
            for cell in range(cells)
        ]

    down, across = overlaps(binary.shape[0], rows), overlaps(binary.shape[1], columns)
    ones = np.argwhere(binary)
    return [
        [
            math.floor(100 * sum(down[r][y] * across[c][x] for y, x in ones) + Fraction(1, 2))
            for c in range(columns)
        ]
        for r in range(rows)
    ]


@pytest.mark.parametrize('seed', range(40))
def test_grid_is_exact(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2)
    rows, columns = rng.integers(1, 14, 2)
    mask = rng.choice([DIRECT, ALTERNATIVE, BACKGROUND, UNKNOWN], (height, width)).astype(np.uint8)
    grid = drivable_grid(mask, TABLE, int(rows), int(columns))
    assert list(grid) == [DIRECT, ALTERNATIVE]
    for class_id, shares in grid.items():
        assert (shares.dtype, shares.shape) == (np.uint8, (rows, columns))
        np.testing.assert_array_equal(shares, slow_shares(mask == class_id, rows, columns))


def test_cells_of_whole_pixels_are_means():
    mask = blobs(np.random.default_rng(0), (720, 1280))
    shares = drivable_grid(mask, TABLE, 18, 32)[ALTERNATIVE]
    means = (mask == ALTERNATIVE).reshape(18, 40, 32, 40).mean((1, 3))
    np.testing.assert_array_equal(shares, np.floor(100 * means + 0.5))


def test_cells_as_small_as_pixels_and_smaller_are_the_mask():
    mask = blobs(np.random.default_rng(0), (36, 64))
    for times in (1, 2, 3):
        shares = drivable_grid(mask, TABLE, 36 * times, 64 * times)[DIRECT]
        fine = np.kron(mask, np.ones((times, times), np.uint8))
        np.testing.assert_array_equal(shares, np.where(fine == DIRECT, 100, 0))
