# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlay and picture grid: the right pixels in the right colours, and nothing else touched."""

import numpy as np
import pytest
from tiny_bundle import LABELS

from unidrive_perception.labels import BDD100K_LABELS, DRIVABLE, SEMANTIC
from unidrive_perception.overlay import MASKS, OverlayStyle, draw_overlay, picture_grid
from unidrive_perception.overlay.colors import brightness, line_color
from unidrive_perception.overlay.tint import DRIVABLE_OPACITY, SEMANTIC_OPACITY
from unidrive_perception.predictor import Prediction

PLAIN = OverlayStyle(legend=False)
SKY, DIRECT, ALTERNATIVE, BACKGROUND, UNKNOWN = 10, 0, 1, 2, 255


def prediction(size=(60, 80), boxes=(), semantic=None, drivable=None, **more):
    count = len(boxes)
    return Prediction(
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.6, count).astype(np.float32),
        np.arange(count) % 10,
        semantic,
        drivable,
        **more,
    )


def grey(height=60, width=80):
    return np.full((height, width, 3), 100, np.uint8)


def halves(upper, lower, size=(60, 80)):
    mask = np.full(size, upper, np.uint8)
    mask[size[0] // 2 :] = lower
    return mask


def mixed(color, opacity):
    return (1 - opacity) * 100 + opacity * np.array(color)


def test_nothing_to_draw_gives_an_own_copy():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    drawn = draw_overlay(image, prediction(), BDD100K_LABELS)
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


@pytest.mark.parametrize('size', [(60, 80), (241, 323), (722, 1281), (1200, 1920)])
def test_masks_tint_their_pixels_only(size):
    image = grey(*size)
    before = image.copy()
    semantic, drivable = halves(SKY, UNKNOWN, size), halves(BACKGROUND, DIRECT, size)
    drivable[:, size[1] // 2 :] = BACKGROUND
    shown = prediction(size, semantic=semantic, drivable=drivable)
    drawn = draw_overlay(image, shown, BDD100K_LABELS, PLAIN)
    (upper, lower), (left, right) = (((n // 4), (3 * n) // 4) for n in size)
    sky, direct = SEMANTIC.classes[SKY].color, DRIVABLE.classes[DIRECT].color
    np.testing.assert_allclose(drawn[upper, left], mixed(sky, SEMANTIC_OPACITY), atol=2)
    np.testing.assert_allclose(drawn[lower, left], mixed(direct, DRIVABLE_OPACITY), atol=2)
    assert (drawn[lower:, right:] == 100).all()  # unknown and drivable background
    assert np.array_equal(image, before)


def test_where_it_is_drivable_the_semantic_class_is_not_shown():
    shown = prediction(semantic=halves(SKY, SKY), drivable=halves(BACKGROUND, DIRECT))
    drawn = draw_overlay(grey(), shown, BDD100K_LABELS, PLAIN)
    only = draw_overlay(grey(), shown, BDD100K_LABELS, OverlayStyle('drivable', legend=False))
    assert np.array_equal(drawn[35:], only[35:])


def test_drivable_areas_have_an_edge_but_not_along_the_border():
    size = (360, 640)
    drivable = halves(BACKGROUND, DIRECT, size)
    drivable[180:, 320:] = ALTERNATIVE
    drawn = draw_overlay(grey(*size), prediction(size, drivable=drivable), BDD100K_LABELS, PLAIN)
    for task_class, column in ((DIRECT, 160), (ALTERNATIVE, 480)):
        color = DRIVABLE.classes[task_class].color
        off = np.abs(drawn[:, column].astype(int) - color).max(1)
        assert abs(int(off.argmin()) - 180) <= 2 and off.min() < 20
        np.testing.assert_allclose(drawn[-1, column], mixed(color, DRIVABLE_OPACITY), atol=3)


def test_steps_of_a_coarse_mask_are_rounded_off():
    small = np.tril(np.full((40, 40), 2, np.uint8))  # direct above the diagonal
    large = small.repeat(10, 0).repeat(10, 1)
    drawn = draw_overlay(
        grey(400, 400), prediction((400, 400), drivable=large), BDD100K_LABELS, PLAIN
    )
    edge = np.abs(drawn.astype(int) - DRIVABLE.classes[DIRECT].color).sum(2) < 30
    rows, columns = np.nonzero(edge[40:-40, 40:-40])
    offset = rows - columns
    assert len(offset) > 300 and np.ptp(offset) < 10  # the steps are 10 high


def test_mask_of_lower_resolution_covers_the_image():
    small = np.full((15, 20), UNKNOWN, np.uint8)
    small[:5] = SKY
    drawn = draw_overlay(grey(), prediction(semantic=small), BDD100K_LABELS, PLAIN)
    assert (drawn[:18] != 100).any(2).all() and (drawn[22:] == 100).all()


@pytest.mark.parametrize('masks', MASKS)
def test_style_chooses_the_masks(masks):
    shown = prediction(semantic=halves(SKY, UNKNOWN), drivable=halves(BACKGROUND, DIRECT))
    drawn = draw_overlay(grey(), shown, BDD100K_LABELS, OverlayStyle(masks, legend=False))
    tinted = [bool((part != 100).any()) for part in (drawn[:20], drawn[40:])]
    assert tinted == [masks in ('both', 'semantic'), masks in ('both', 'drivable')]


def test_style_scales_the_opacity():
    shown = prediction(semantic=halves(SKY, SKY))
    for opacity in (0.0, 0.5):
        drawn = draw_overlay(grey(), shown, BDD100K_LABELS, OverlayStyle(opacity=opacity))
        expected = mixed(SEMANTIC.classes[SKY].color, opacity * SEMANTIC_OPACITY)
        np.testing.assert_allclose(drawn[50, 70], expected, atol=2)


@pytest.mark.parametrize('wrong', [{'masks': 'all'}, {'opacity': 1.5}, {'opacity': float('nan')}])
def test_style_refuses_what_it_cannot_draw(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OverlayStyle(**wrong)


def test_style_leaves_boxes_out():
    shown = prediction(boxes=[[10, 10, 60, 50]])
    drawn = draw_overlay(grey(), shown, BDD100K_LABELS, OverlayStyle(boxes=False))
    assert (drawn == 100).all()


def test_boxes_are_drawn_in_their_class_colours():
    boxes = [[100, 100, 200, 200], [300, 100, 400, 200], [450.4, 250, 598, 380]]
    drawn = draw_overlay(grey(400, 600), prediction((400, 600), boxes), LABELS, PLAIN)
    for (x0, y0, _, y1), info in zip(boxes, LABELS['detection'].classes, strict=True):
        assert tuple(drawn[int((y0 + y1) / 2), round(x0)]) == line_color(info.color)
    assert (drawn[130:190, 110:190] == 100).all()  # the inside stays visible
    assert (drawn[:60] == 100).all()


def test_line_colours_are_bright_and_unlike_each_other():
    colors = [line_color(info.color) for info in BDD100K_LABELS['detection'].classes]
    assert min(brightness(color) for color in colors) > 70
    apart = [np.abs(np.subtract(a, b)).sum() for i, a in enumerate(colors) for b in colors[:i]]
    assert min(apart) > 90
    assert brightness(line_color((0, 0, 30))) > 70
    assert line_color((240, 240, 240)) == (240, 240, 240)


@pytest.mark.parametrize('size', [(96, 160), (1, 1), (3, 500), (1280, 720), (200, 640)])
@pytest.mark.parametrize('count', [0, 1, 100])
def test_any_image_size_and_number_of_boxes(size, count):
    rng = np.random.default_rng(count)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), 1) * size[::-1]
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    shown = prediction(
        size,
        corners.reshape(-1, 4),
        rng.integers(0, 19, size, np.uint8),
        rng.integers(0, 3, size, np.uint8),
        track_ids=rng.integers(0, 2, count) * 123456,
    )
    drawn = draw_overlay(image, shown, BDD100K_LABELS, status='61 ms · 16.2 Hz · 0 dropped')
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert drawn.flags.c_contiguous and (drawn != image).any()


@pytest.mark.parametrize('box', [[0, 0, 5, 5], [75, 55, 80, 60], [0, 0, 80, 60]])
def test_boxes_at_the_border_and_tiny_pictures(box):
    assert (draw_overlay(grey(), prediction(boxes=[box]), BDD100K_LABELS) != 100).any()


def test_image_that_is_a_view():
    view = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)[:, ::-1, ::-1]
    shown = prediction(boxes=[[10, 10, 40, 40]], semantic=halves(SKY, UNKNOWN))
    drawn = draw_overlay(view, shown, BDD100K_LABELS)
    assert np.array_equal(drawn, draw_overlay(view.copy(), shown, BDD100K_LABELS))


def test_grid():
    images = [np.full((30, 40, 3), value, np.uint8) for value in (10, 20, 30)]
    images.append(np.full((60, 20, 3), 40, np.uint8))
    grid = picture_grid(images, columns=3, gap=2)
    assert grid.shape == (2 * 32 + 2, 3 * 42 + 2, 3)
    assert (grid[2:32, 44:84] == 20).all() and (grid[34:64, 2:12] == 40).all()
    assert (grid[34:64, 44:] == 255).all()
    with pytest.raises(ValueError, match='a grid needs an image'):
        picture_grid([], 2)
