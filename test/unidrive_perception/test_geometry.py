# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Letterbox: exact mappings, round trips, and the picture in the right place."""

import cv2
import numpy as np
import pytest

from unidrive_perception.geometry import Letterbox

SIZES = [
    (720, 1280),
    (1080, 1920),
    (227, 320),
    (375, 1242),
    (1280, 720),
    (97, 161),
    (1, 1),
    (3, 900),
]
INPUT = (224, 384)


@pytest.mark.parametrize('size', SIZES)
def test_content_keeps_the_aspect_and_touches_one_side(size):
    letterbox = Letterbox(size, INPUT)
    height, width = letterbox.content_size
    assert 1 <= height <= INPUT[0] and 1 <= width <= INPUT[1]
    assert height == INPUT[0] or width == INPUT[1]
    assert abs(height - size[0] * letterbox.scale) <= 0.5 or height == 1
    assert abs(width - size[1] * letterbox.scale) <= 0.5 or width == 1


@pytest.mark.parametrize('size', SIZES)
def test_boxes_come_back(size):
    letterbox = Letterbox(size, INPUT)
    corners = np.random.default_rng(1).uniform(0, 1, (200, 2, 2)) * [size[1], size[0]]
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    there = letterbox.apply_boxes(boxes)
    assert there[:, 0::2].max() <= letterbox.content_size[1] + 1e-3
    assert there[:, 1::2].max() <= letterbox.content_size[0] + 1e-3
    np.testing.assert_allclose(letterbox.invert_boxes(there), boxes, rtol=1e-5, atol=1e-3)


def test_the_whole_image_maps_to_the_whole_content():
    letterbox = Letterbox((375, 1242), INPUT)
    height, width = letterbox.content_size
    np.testing.assert_allclose(letterbox.apply_boxes([[0, 0, 1242, 375]]), [[0, 0, width, height]])


def test_boxes_are_clipped_to_the_image():
    letterbox = Letterbox((720, 1280), INPUT)
    boxes = letterbox.invert_boxes([[-5, -9, 500, 500], [10, 217, 20, 224]])
    np.testing.assert_allclose(boxes[0], [0, 0, 1280, 720])
    assert boxes[1, 1] == boxes[1, 3] == 720  # all in the padding: no height left


def test_no_boxes_stay_no_boxes():
    letterbox = Letterbox((720, 1280), INPUT)
    assert letterbox.invert_boxes(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert letterbox.apply_boxes([]).shape == (0, 4)


@pytest.mark.parametrize('size', [(720, 1280), (719, 1279), (227, 320), (375, 1242), (100, 60)])
def test_image_lies_where_the_boxes_say(size):
    """A bright rectangle is found at the place that apply_boxes computes, within a pixel."""
    letterbox = Letterbox(size, INPUT)
    image = np.zeros((*size, 3), np.uint8)
    y0, y1, x0, x1 = size[0] // 4, size[0] * 3 // 4, size[1] // 5, size[1] // 2
    image[y0:y1, x0:x1] = 255
    rows, columns = np.nonzero(letterbox.apply_image(image, fill=0)[..., 0] > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, letterbox.apply_boxes([[x0, y0, x1, y1]])[0], atol=1.0)


@pytest.mark.parametrize('size', SIZES)
def test_padding_is_filled_and_nothing_else(size):
    letterbox = Letterbox(size, INPUT)
    height, width = letterbox.content_size
    padded = letterbox.apply_image(np.full((*size, 3), 7, np.uint8), fill=114)
    assert padded.shape == (*INPUT, 3) and padded.dtype == np.uint8
    assert (padded[:height, :width] == 7).all()
    assert (padded[height:] == 114).all() and (padded[:, width:] == 114).all()


@pytest.mark.parametrize('size', [(720, 1280), (1080, 1920), (227, 320), (721, 1281)])
def test_resized_image_is_close_to_area_averaging(size):
    """The fast path must neither alias nor shift."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 2.0)
    letterbox = Letterbox(size, (112, 192))
    height, width = letterbox.content_size
    area, linear = (
        cv2.resize(image, (width, height), interpolation=method).astype(int)
        for method in (cv2.INTER_AREA, cv2.INTER_LINEAR)
    )
    difference = letterbox.apply_image(image)[:height, :width].astype(int) - area
    assert np.abs(difference).mean() < 0.5 * np.abs(linear - area).mean()
    assert abs(difference.mean()) < 0.5  # each halving rounds halves up


def test_image_of_the_input_size_is_untouched():
    image = np.random.default_rng(0).integers(0, 256, (*INPUT, 3), np.uint8)
    assert np.array_equal(Letterbox(INPUT, INPUT).apply_image(image), image)


@pytest.mark.parametrize('stride', [1, 2, 4])
@pytest.mark.parametrize('size', SIZES)
def test_mask_pixel_comes_from_the_cell_under_its_centre(size, stride):
    """Compared with the definition, computed per pixel in exact integer arithmetic."""
    letterbox = Letterbox(size, INPUT)
    mask = np.random.default_rng(2).integers(0, 19, (INPUT[0] // stride, INPUT[1] // stride))
    result = letterbox.invert_mask(mask.astype(np.uint8))
    assert result.shape == size and result.dtype == np.uint8 and result.flags.c_contiguous
    rows, columns = (
        ((2 * np.arange(side) + 1) * content) // (2 * side * stride)
        for side, content in zip(size, letterbox.content_size, strict=True)
    )
    assert np.array_equal(result, mask[rows][:, columns])


def test_mask_padding_never_shows():
    letterbox = Letterbox((720, 1280), INPUT)
    for stride in (1, 2, 4):
        mask = np.zeros((INPUT[0] // stride, INPUT[1] // stride), np.uint8)
        mask[216 // stride :] = 9
        assert (letterbox.invert_mask(mask) == 0).all()


def test_mask_can_be_had_smaller():
    letterbox = Letterbox((720, 1280), INPUT)
    mask = np.zeros(INPUT, np.uint8)
    mask[:108, :192] = 5
    small = letterbox.invert_mask(mask, (180, 320))
    assert small.shape == (180, 320)
    assert (small[:90, :160] == 5).all() and small.sum() == 5 * 90 * 160


def test_confidences_of_a_mask_are_kept_as_they_are():
    values = np.random.default_rng(3).random((INPUT[0] // 4, INPUT[1] // 4), np.float32)
    ids = np.arange(values.size).reshape(values.shape) % 251
    letterbox = Letterbox((720, 1280), INPUT)
    result = letterbox.invert_mask(values)
    assert result.dtype == np.float32 and result.shape == (720, 1280)
    by_id = {i: set(values[ids == i].tolist()) for i in range(251)}
    found = letterbox.invert_mask(ids.astype(np.uint8))
    assert all({*result[found == i].tolist()} <= by_id[i] for i in np.unique(found))


@pytest.mark.parametrize('size', [(720, 1280), (227, 320), (100, 60)])
def test_mask_round_trip_keeps_large_regions(size):
    letterbox = Letterbox(size, INPUT)
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 :, : size[1] // 2] = 4
    small = letterbox.apply_mask(mask)
    height, width = letterbox.content_size
    assert (small[height:] == 255).all() and (small[:, width:] == 255).all()
    assert (letterbox.invert_mask(small) == mask).mean() > 0.97


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match='at least 1×1'):
        Letterbox((0, 5), INPUT)
    with pytest.raises(ValueError, match=r'expected an array of \(720, 1280\)'):
        Letterbox((720, 1280), INPUT).apply_image(np.zeros((1280, 720, 3), np.uint8))
