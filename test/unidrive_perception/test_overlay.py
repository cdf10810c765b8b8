# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlay and picture grid: the right pixels in the right colours, and nothing else touched."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_bundle import LABELS

from unidrive_perception.labels import BDD100K_LABELS, DRIVABLE, SEMANTIC
from unidrive_perception.overlay import draw_overlay, picture_grid
from unidrive_perception.predictor import Prediction, StageTimes

TIMES = StageTimes(0, 0, 0)


def prediction(size=(60, 80), boxes=(), semantic=None, drivable=None):
    count = len(boxes)
    return Prediction(
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.6, count).astype(np.float32),
        np.arange(count),
        semantic,
        drivable,
        TIMES,
    )


def test_nothing_to_draw_gives_an_own_copy():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    drawn = draw_overlay(image, prediction(), BDD100K_LABELS)
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_masks_tint_their_pixels_only():
    image = np.full((60, 80, 3), 100, np.uint8)
    before = image.copy()
    semantic = np.full((60, 80), 255, np.uint8)
    semantic[:20] = 10
    drivable = np.full((60, 80), 2, np.uint8)
    drivable[40:] = 0
    drawn = draw_overlay(image, prediction(semantic=semantic, drivable=drivable), BDD100K_LABELS)
    sky, direct = (np.array(t.classes[i].color) for t, i in ((SEMANTIC, 10), (DRIVABLE, 0)))
    np.testing.assert_allclose(drawn[10, 10], 0.65 * 100 + 0.35 * sky, atol=2)
    np.testing.assert_allclose(drawn[50, 10], 0.5 * 100 + 0.5 * direct, atol=2)
    assert (drawn[20:40] == 100).all()  # unknown and drivable background
    assert np.array_equal(image, before)


def test_mask_of_lower_resolution_covers_the_image():
    image = np.full((60, 80, 3), 100, np.uint8)
    small = np.full((15, 20), 255, np.uint8)
    small[:5] = 10
    drawn = draw_overlay(image, prediction(semantic=small), BDD100K_LABELS)
    assert (drawn[:20] != 100).any(2).all() and (drawn[20:] == 100).all()


def test_boxes_are_drawn_in_their_class_colours():
    image = np.full((400, 600, 3), 100, np.uint8)
    boxes = [[100, 100, 200, 200], [300, 100, 400, 200], [450.4, 250, 598, 380]]
    drawn = draw_overlay(image, prediction((400, 600), boxes), LABELS)
    for (x0, y0, _, y1), info in zip(boxes, LABELS['detection'].classes, strict=True):
        assert tuple(drawn[int((y0 + y1) / 2), round(x0)]) == info.color
    assert (drawn[110:190, 110:190] == 100).all()  # the inside stays visible
    assert (drawn[:60] == 100).all()


def test_truth_is_named_without_a_score():
    image = np.full((200, 400, 3), 100, np.uint8)
    scored = prediction((200, 400), [[20, 60, 300, 150]])
    captions = [
        (draw_overlay(image, shown, BDD100K_LABELS)[:56] != 100).any((0, 2)).sum()
        for shown in (scored, replace(scored, scores=np.array([np.nan])))
    ]
    assert 20 < captions[1] < captions[0] - 15  # pixels of width


@pytest.mark.parametrize('box', [[0, 0, 5, 5], [75, 55, 80, 60], [0, 0, 80, 60]])
def test_boxes_at_the_border_and_tiny_pictures(box):
    image = np.full((60, 80, 3), 100, np.uint8)
    assert (draw_overlay(image, prediction(boxes=[box]), BDD100K_LABELS) != 100).any()


def test_image_that_is_a_view():
    view = np.full((60, 80, 3), 100, np.uint8)[:, ::-1, ::-1]
    drawn = draw_overlay(view, prediction(boxes=[[10, 10, 40, 40]]), BDD100K_LABELS)
    assert drawn.shape == (60, 80, 3)


def test_grid():
    images = [np.full((30, 40, 3), value, np.uint8) for value in (10, 20, 30)]
    images.append(np.full((60, 20, 3), 40, np.uint8))
    grid = picture_grid(images, columns=3, gap=2)
    assert grid.shape == (2 * 32 + 2, 3 * 42 + 2, 3)
    assert (grid[2:32, 44:84] == 20).all() and (grid[34:64, 2:12] == 40).all()
    assert (grid[34:64, 44:] == 255).all()
    with pytest.raises(ValueError, match='a grid needs an image'):
        picture_grid([], 2)
