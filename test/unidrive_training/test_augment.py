# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Random views keep image, masks and boxes together."""

from dataclasses import replace

import numpy as np
import pytest

from unidrive_training.data.augment import Augmentation, augment
from unidrive_training.data.bdd100k import BoxLabels
from unidrive_training.data.sample import Sample, letterbox, shrink

PLAIN = {'brightness': 0, 'contrast': 0, 'saturation': 0, 'hue': 0}


def sample_with_square(x=200, y=120, side=90, size=(360, 640)):
    mask = np.zeros(size, np.uint8)
    mask[y : y + side, x : x + side] = 13
    image = np.repeat((mask > 0)[..., None] * np.uint8(200), 3, axis=2)
    boxes = np.array([[x, y, x + side, y + side]], np.float32)
    labels = BoxLabels(boxes, np.array([2]), np.array([False]), np.ones(10, bool))
    return Sample(image, labels, mask, mask.copy())


def extent(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize('seed', range(12))
def test_boxes_and_masks_and_image_move_together(seed):
    options = Augmentation(scale=(0.8, 1.6), flip=0.5, **PLAIN)
    view = augment(sample_with_square(), (224, 384), options, np.random.default_rng(seed))
    assert view.image.shape == (224, 384, 3)
    np.testing.assert_array_equal(view.semantic, view.drivable)
    assert len(view.boxes.boxes) == 1
    box = view.boxes.boxes[0]
    np.testing.assert_allclose(box, extent(view.semantic == 13), atol=1.01)
    bright = (view.image > 150).all(2)
    np.testing.assert_allclose(box, extent(bright), atol=1.51)


@pytest.mark.parametrize('size', [(96, 192), (100, 160), (64, 160)])
def test_without_options_a_view_is_what_the_model_sees_at_run_time(size):
    sample = sample_with_square(size=(90, 160), x=30, y=20, side=40)
    options = Augmentation(short_sides=(10_000,))
    view = augment(sample, size, options, np.random.default_rng(0))
    expected = letterbox(sample, size)
    np.testing.assert_array_equal(view.semantic, expected.semantic)
    np.testing.assert_allclose(view.boxes.boxes, expected.boxes.boxes, atol=0.5)
    assert np.abs(view.image.astype(int) - expected.image).mean() < 1


def test_the_scales_of_the_paper():
    """A short side of 720 or 600, the long one at most 1280, of an image that fits neither."""
    sample = sample_with_square(size=(1080, 1920), x=100, y=100, side=300)
    heights = set()
    for seed in range(10):
        view = augment(sample, (736, 1280), Augmentation(), np.random.default_rng(seed))
        heights.add(int((view.semantic[:, 0] != 255).sum()))
    assert heights == {720, 600}


def test_flip_mirrors():
    options = Augmentation(scale=(1.0, 1.0), flip=1.0, **PLAIN)
    view = augment(sample_with_square(), (360, 640), options, np.random.default_rng(0))
    np.testing.assert_allclose(view.boxes.boxes[0], [350, 120, 440, 210], atol=1e-3)
    np.testing.assert_array_equal(view.semantic, sample_with_square().semantic[:, ::-1])


def test_outside_the_image_is_ignored_and_unlabelled_tasks_stay_so():
    options = Augmentation(scale=(0.5, 0.5), flip=0.0, **PLAIN)
    sample = replace(sample_with_square(), drivable=None, boxes=None)
    view = augment(sample, (360, 640), options, np.random.default_rng(0))
    assert view.drivable is None and view.boxes is None
    assert (view.semantic == 255).mean() == pytest.approx(0.75, abs=0.01)


def test_a_box_cut_to_a_sliver_is_ignored_and_one_outside_dropped():
    options = Augmentation(scale=(4.0, 4.0), flip=0.0, **PLAIN)
    whole = (4 * 90) ** 2
    fates = []
    for seed in range(40):
        view = augment(sample_with_square(), (360, 640), options, np.random.default_rng(seed))
        labels = view.boxes
        assert len(labels.boxes) == len(labels.class_ids) == len(labels.crowd)
        if len(labels.boxes):
            (box,), (crowd,) = labels.boxes, labels.crowd
            assert crowd == ((box[2] - box[0]) * (box[3] - box[1]) <= 0.3 * whole)
            np.testing.assert_allclose(box, extent(view.semantic == 13), atol=1.01)
            fates.append('ignored' if crowd else 'kept')
        else:
            assert (view.semantic == 13).sum() <= 3 * 640
            fates.append('dropped')
    assert set(fates) == {'kept', 'ignored', 'dropped'}


def test_without_changes_a_view_is_the_image_itself():
    sample = sample_with_square()
    sample.image[:] = np.random.default_rng(0).integers(0, 256, sample.image.shape)
    options = Augmentation(scale=(1.0, 1.0), flip=0.0, **PLAIN)
    view = augment(sample, (360, 640), options, np.random.default_rng(0))
    np.testing.assert_array_equal(view.image, sample.image)
    np.testing.assert_array_equal(view.boxes.boxes, sample.boxes.boxes)


def test_colours_change_as_the_options_say():
    grey, red = np.full((8, 8, 3), 100, np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[:] = (120, 70, 70)
    options = Augmentation(scale=(1.0, 1.0), flip=0.0, **PLAIN | {'saturation': 0.5, 'hue': 0.1})
    nothing = {'boxes': None, 'semantic': None, 'drivable': None}
    spread = []
    for seed in range(20):
        rng = [np.random.default_rng(seed) for _ in range(2)]
        assert (augment(Sample(grey, **nothing), (8, 8), options, rng[0]).image == 100).all()
        pixel = augment(Sample(red, **nothing), (8, 8), options, rng[1]).image[0, 0].astype(float)
        assert pixel @ (0.299, 0.587, 0.114) == pytest.approx(84.95, abs=1.5)  # as light as before
        spread.append(np.ptp(pixel))
    assert min(spread) < 35 and max(spread) > 70  # red has 50
    options = Augmentation(scale=(1.0, 1.0), flip=0.0, **PLAIN | {'brightness': 0.5})
    means = [
        augment(Sample(grey, **nothing), (8, 8), options, np.random.default_rng(s)).image.mean()
        for s in range(20)
    ]
    assert 50 <= min(means) < 70 and 130 < max(means) <= 150


def test_letterbox_and_shrink_keep_boxes_on_their_masks():
    for view in (
        letterbox(sample_with_square(), (224, 384)),
        shrink(sample_with_square(), (123, 211)),
    ):
        np.testing.assert_allclose(view.boxes.boxes[0], extent(view.semantic == 13), atol=1.01)
