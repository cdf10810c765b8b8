# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the tracker: the motion model against the textbook, and the pairing of boxes."""

import itertools

import numpy as np
import pytest

from unidrive_perception.tracking import kalman
from unidrive_perception.tracking.association import assign, distinct, overlap
from unidrive_perception.tracking.kalman import BoxFilters


def random_boxes(rng, count):
    low = rng.uniform(0, 100, (count, 2))
    return np.concatenate([low, low + rng.uniform(5, 60, (count, 2))], 1)


def test_filters_are_kalman_filters():
    """Against matrices, as textbooks write them, for one box along x."""
    rng = np.random.default_rng(0)
    filters = BoxFilters()
    box = np.array([[100.0, 50, 140, 80]])
    filters.add(box)
    scale = 35.0  # mean of 40 and 30; the size is never surprising, so it stays
    noise = (kalman.MEASUREMENT_STD * scale) ** 2
    mean, cov = np.array([120.0, 0]), np.diag([noise, (kalman.FIRST_VELOCITY_STD * scale) ** 2])
    for seconds in rng.uniform(0.02, 0.5, 20):
        move = np.array([[1, seconds], [0, 1]])
        accelerated = (kalman.ACCELERATION_STD * scale) ** 2 * np.array(
            [[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]]
        )
        mean, cov = move @ mean, move @ cov @ move.T + accelerated
        filters.predict(seconds)
        assert filters.boxes()[0, 0] + 20 == pytest.approx(mean[0])
        assert filters.reach()[0, 0] == pytest.approx(np.sqrt(cov[0, 0] + noise))
        centre = mean[0] + rng.normal(0, 5)
        gain = cov[:, :1] / (cov[0, 0] + noise)
        mean, cov = mean + gain[:, 0] * (centre - mean[0]), cov - gain @ cov[:1]
        filters.correct(np.array([0]), np.array([[centre - 20, 50, centre + 20, 80]]))
    assert filters.boxes()[0] == pytest.approx([mean[0] - 20, 50, mean[0] + 20, 80])


def test_time_may_pass_in_pieces():
    boxes = random_boxes(np.random.default_rng(1), 5)
    whole, pieces = BoxFilters(), BoxFilters()
    for filters in (whole, pieces):
        filters.add(boxes)
    whole.predict(0.5)
    for _ in range(5):
        pieces.predict(0.1)
    np.testing.assert_allclose(pieces.boxes(), whole.boxes())
    np.testing.assert_allclose(pieces.reach(), whole.reach())


def test_a_speed_is_learnt_and_a_hidden_box_moves_on():
    filters = BoxFilters()
    boxes = np.array([[0.0, 0, 40, 40], [300, 300, 340, 330]])
    speed = np.array([[50.0, 20, 50, 20], [-80, 0, -80, 0]])
    filters.add(boxes)
    for i in range(1, 21):
        filters.predict(0.1)
        filters.correct(np.array([1, 0]), (boxes + speed * i / 10)[[1, 0]])
    filters.predict(0.5)
    np.testing.assert_allclose(filters.boxes(), boxes + speed * 2.5, atol=2)
    filters.keep(np.array([False, True]))
    assert len(filters) == 1
    np.testing.assert_allclose(filters.boxes(), boxes[1:] + speed[1:] * 2.5, atol=2)


def test_a_shrinking_box_does_not_turn_inside_out():
    filters = BoxFilters()
    filters.add(np.array([[0.0, 0, 100, 100]]))
    for i in range(1, 10):
        filters.predict(0.1)
        filters.correct(np.array([0]), np.array([[5.0 * i, 5 * i, 100 - 5 * i, 100 - 5 * i]]))
    filters.predict(1.0)
    (left, top, right, bottom) = filters.boxes()[0]
    assert right - left >= 1 and bottom - top >= 1
    assert np.isfinite(filters.reach()).all()


def test_overlap_is_intersection_over_union():
    grid = np.arange(160)
    rng = np.random.default_rng(2)
    boxes, others = (random_boxes(rng, n).round() for n in (6, 9))

    def pixels(box):
        inside_x, inside_y = ((grid >= low) & (grid < high) for low, high in box.reshape(2, 2).T)
        return inside_x & inside_y[:, None]

    found = overlap(boxes, others)
    for (i, box), (j, other) in itertools.product(enumerate(boxes), enumerate(others)):
        a, b = pixels(box), pixels(other)
        assert found[i, j] == pytest.approx((a & b).sum() / (a | b).sum())


def test_a_margin_grows_both_boxes_of_a_pair():
    rng = np.random.default_rng(3)
    boxes, others, margin = random_boxes(rng, 5), random_boxes(rng, 7), rng.uniform(0, 30, (5, 2))
    found = overlap(boxes, others, margin)
    for i in range(5):
        grow = np.concatenate([-margin[i], margin[i]])
        np.testing.assert_allclose(found[i], overlap(boxes[i : i + 1] + grow, others + grow)[0])
    assert overlap(boxes, others[:0], margin).shape == (5, 0)
    assert overlap(boxes[:0], others, margin[:0]).shape == (0, 7)


def test_assign_takes_the_best_of_all_pairings():
    rng = np.random.default_rng(4)
    for _ in range(50):
        similarity = rng.uniform(0, 1, (4, 5))
        rows, columns = assign(similarity, 0.4)
        assert (similarity[rows, columns] >= 0.4).all()
        assert len({*rows}) == len(rows) and len({*columns}) == len(columns)
        hopeful = np.where(similarity >= 0.4, similarity, 0)
        best = max(hopeful[range(4), p].sum() for p in itertools.permutations(range(5), 4))
        assert similarity[rows, columns].sum() == pytest.approx(best)


def test_a_hopeless_pair_takes_nothing_away():
    # the greatest sum of all pairs is 0.65 + 0.5, but 0.5 is none
    rows, columns = assign(np.array([[0.65, 0.1], [0.9, 0.5]]), 0.55)
    assert (rows.tolist(), columns.tolist()) == ([1], [0])


def test_distinct_boxes():
    boxes = np.array(
        [
            [0.0, 0, 100, 100],
            [0, 0, 100, 60],  # 0.6 of the first
            [0, 0, 100, 95],  # 0.95 of the first
            [0, 0, 100, 40],  # 0.4 of the first, 0.67 of the second
            [200, 0, 300, 100],
        ]
    )
    same, other = np.zeros(5, int), np.array([0, 1, 1, 0, 0])
    assert distinct(boxes, same).tolist() == [True, False, False, False, True]
    assert distinct(boxes, other).tolist() == [True, True, False, True, True]
    assert distinct(boxes[:0], same[:0]).tolist() == []
