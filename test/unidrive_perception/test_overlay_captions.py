# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Captions, legend and status line: what they say, and that none covers another."""

import numpy as np
import pytest

import unidrive_perception.overlay.boxes as overlay_boxes
from unidrive_perception.labels import DETECTION, DRIVABLE, SEMANTIC
from unidrive_perception.overlay.boxes import draw_captions
from unidrive_perception.overlay.legend import (
    Row,
    area_rows,
    draw_legend,
    draw_status,
    object_rows,
)
from unidrive_perception.overlay.text import text_cover
from unidrive_perception.predictor import Prediction


def grey(height=720, width=1280):
    return np.full((height, width, 3), 100, np.uint8)


def objects(boxes, scores=None, track_ids=None, size=(720, 1280)):
    boxes = np.array(boxes, np.float32)
    if scores is None:
        scores = np.linspace(0.9, 0.3, len(boxes))
    class_ids = np.full(len(boxes), 2)
    return Prediction(size, boxes, np.array(scores), class_ids, None, None, track_ids=track_ids)


@pytest.fixture
def written(monkeypatch):
    """The captions that are drawn: (text, x0, y0, x1, y1)."""
    texts, captions = {}, []

    def cover(text, size):
        made = text_cover(text, size)
        texts[id(made)] = (text, made)  # kept, so that no id comes again
        return made

    def draw(picture, place, plate, made, color):
        assert 0 <= place[0] <= picture.shape[1] - plate[0]
        assert 0 <= place[1] <= picture.shape[0] - plate[1]
        captions.append((texts[id(made)][0], *place, place[0] + plate[0], place[1] + plate[1]))

    monkeypatch.setattr(overlay_boxes, 'text_cover', cover)
    monkeypatch.setattr(overlay_boxes, '_draw_caption', draw)
    return captions


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_name_track_and_score(written):
    shown = objects(
        [[100, 100, 200, 200], [300, 100, 400, 200], [500, 100, 600, 200]],
        [0.874, 0.5, np.nan],
        np.array([12, 0, 0]),
    )
    draw_captions(grey(), shown, DETECTION, [])
    assert [caption[0] for caption in written] == ['car #12 0.87', 'car 0.50', 'car']


def test_a_lone_caption_is_above_its_box(written):
    draw_captions(grey(), objects([[100, 100, 300, 200]]), DETECTION, [])
    ((_, x0, _, _, y1),) = written
    assert (x0, y1) == (100, 100)


def test_no_room_above_goes_inside_or_below(written):
    draw_captions(grey(), objects([[100, 3, 400, 200]]), DETECTION, [])
    draw_captions(grey(), objects([[100, 3, 130, 20]]), DETECTION, [])
    assert 3 < written[0][2] < 20  # inside
    assert written[1][2] == 20  # below


def test_captions_never_overlap_and_the_least_certain_go(written):
    rng = np.random.default_rng(0)
    corners = rng.uniform((300, 300), (600, 400), (100, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(10, 80, (100, 2))), 1)
    taken = [(0, 0, 400, 350), (0, 690, 1280, 720)]
    draw_captions(grey(), objects(boxes), DETECTION, taken)
    places = [caption[1:] for caption in written] + taken
    assert not any(overlap(a, b) for i, a in enumerate(places) for b in places[:i])
    scores = [float(caption[0].split()[-1]) for caption in written]
    assert 10 < len(scores) < 90
    assert np.mean(scores) > 0.6  # the mean of all


def test_a_caption_avoids_hiding_a_small_object(written):
    small = [110, 84, 130, 98]  # just above the other, where its caption would be
    draw_captions(grey(), objects([[100, 100, 300, 200], small]), DETECTION, [])
    assert not overlap(written[0][1:], small)


def test_a_caption_wider_than_the_picture_is_left_out(written):
    draw_captions(
        grey(96, 20), objects([[1, 30, 15, 60]], size=(96, 20)), DETECTION, [(0, 0, 1, 1)]
    )
    assert written == []


def test_text_has_the_size_asked_for_and_grows_with_it():
    short, long = text_cover('car', 17), text_cover('car 0.87', 17)
    assert short.shape[0] == long.shape[0] == 17 and short.shape[1] < long.shape[1] - 30
    assert short.max() > 200 and short[0].max() == 0
    assert text_cover('car', 34).shape[1] == pytest.approx(2 * short.shape[1], abs=2)
    assert np.array_equal(text_cover('façade ☂', 17), text_cover('facade', 17))
    assert text_cover('☂', 17).max() == 0


def test_legend_names_only_what_is_seen():
    mask = np.full((100, 100), 2, np.uint8)
    mask[50:] = 0
    mask[:50, :50] = 1
    assert [row.name for row in area_rows(mask, DRIVABLE)] == ['direct', 'alternative']
    mask[:] = 255
    mask[:4, :4] = 13  # less than is worth a row
    mask[50:] = 0
    assert [row.name for row in area_rows(mask, SEMANTIC)] == ['road']
    rows = object_rows(np.array([2, 2, 0]), DETECTION)
    assert [(row.name, row.count) for row in rows] == [('pedestrian', 1), ('car', 2)]


def test_legend_shows_its_colours_and_tells_its_place():
    picture = grey()
    rows = area_rows(np.full((9, 9), 0, np.uint8), DRIVABLE)
    assert draw_legend(picture, {}) == [] and draw_legend(picture, {'drivable': []}) == []
    assert (picture == 100).all()
    groups = {'objects': object_rows(np.array([2]), DETECTION), 'drivable': rows}
    ((x0, y0, x1, y1),) = draw_legend(picture, groups)
    outside = np.ones(picture.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert (picture[outside] == 100).all() and (picture[~outside] != 100).mean() > 0.97
    off = np.abs(picture[y0:y1, x0:x1].astype(int) - DRIVABLE.classes[0].color).max(2)
    assert (off < 50).sum() > 50


def where(picture, color):
    """Rows and columns of the pixels of about this colour."""
    return np.nonzero(np.abs(picture.astype(int) - color).max(2) < 50)


def test_each_group_of_the_legend_has_lines_of_its_own():
    """What has one colour in two groups is told apart by where it is and by its title."""
    picture = grey()
    colors = {'objects': (250, 20, 20), 'drivable': (20, 250, 20), 'semantic': (20, 20, 250)}
    groups = {title: [Row(f'class {i}', c) for i in range(3)] for title, c in colors.items()}
    ((_, _, _, bottom),) = draw_legend(picture, groups)
    rows, columns = zip(*(where(picture, color) for color in colors.values()), strict=True)
    assert rows[0].max() < rows[1].min() and rows[1].max() < rows[2].min()
    assert rows[2].max() < bottom
    assert len({int(found.min()) for found in columns}) == 1, 'below each other'
    assert len({int(found.max()) for found in columns}) == 1
    bright = (picture[:bottom, : columns[0].min()] > 120).all(2).any(1)
    for found in rows:
        assert bright[found.min() : found.max()].any(), 'a title on its line'


def test_many_classes_take_several_lines():
    picture = grey(360, 640)
    few = Row('few', (20, 250, 20))
    many = [Row(f'class {i}', (250, 20, 20)) for i in range(12)]
    draw_legend(picture, {'drivable': [few], 'semantic': many})
    rows, columns = where(picture, many[0].color)
    lines = np.unique(rows)
    assert len(lines[np.flatnonzero(np.diff(lines) > 1)]) == 1, 'two lines'
    assert columns.max() < 640 and columns.min() == where(picture, few.color)[1].min()


@pytest.mark.parametrize('size', [(96, 160), (360, 640), (1280, 720), (1200, 1920)])
def test_legend_leaves_most_of_the_picture(size):
    rows = [Row(f'class {i}', (250, 20, 20)) for i in range(60)]
    picture = grey(*size)
    places = draw_legend(picture, {'objects': rows, 'drivable': rows})
    covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in places)
    assert covered < size[0] * size[1] / 6
    assert bool(places) == (size != (96, 160))
    for x0, y0, x1, y1 in places:
        assert 0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 < size[0] / 6


def test_legend_of_a_street_is_small():
    """Ten classes in a picture of 640×360, which had a third of its height covered."""
    semantic = [Row(SEMANTIC.classes[i].name, SEMANTIC.classes[i].color) for i in range(10)]
    drivable = [Row(DRIVABLE.classes[i].name, DRIVABLE.classes[i].color) for i in range(2)]
    objects_seen = object_rows(np.array([0, 2, 2, 3]), DETECTION)
    groups = {'objects': objects_seen, 'drivable': drivable, 'semantic': semantic}
    ((_, _, x1, y1),) = draw_legend(grey(360, 640), groups)
    assert y1 < 360 * 0.16 and x1 * y1 < 360 * 640 * 0.15


def test_status_is_a_strip_at_the_bottom():
    picture = grey()
    ((x0, y0, x1, y1),) = draw_status(picture, '61 ms · 16.2 Hz')
    assert (x0, x1, y1) == (0, 1280, 720) and 680 < y0 < 700
    assert (picture[:y0] == 100).all() and (picture[y0:] != 100).mean() > 0.97
    bright = np.flatnonzero((picture[y0:] > 180).any((0, 2)))
    assert 60 < bright.max() < 250
    other = grey()
    draw_status(other, '62 ms · 16.2 Hz')
    assert (picture != other).any()


def test_status_that_is_empty_or_too_long():
    picture = grey(96, 160)
    assert draw_status(picture, '') == [] and (picture == 100).all()
    first, all_parts = grey(96, 160), grey(96, 160)
    draw_status(first, '61 ms')
    draw_status(all_parts, '61 ms · ' + 'a very long part ' * 9)
    assert np.array_equal(first, all_parts)
