# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Intersection over union, also of boxes without area."""

import numpy as np

from unidrive_perception.box_overlap import iou
from unidrive_perception.tracking.association import overlap

BOXES = np.float32([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 9]])
EXPECTED = [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]]


def test_intersection_over_union():
    found = iou(BOXES, BOXES)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-6)
    assert found.dtype == np.float32
    assert iou(BOXES[:0], BOXES).shape == (0, 3)


def test_a_tracker_gets_no_nan_of_boxes_without_area():
    with np.errstate(all='raise'):
        np.testing.assert_allclose(overlap(BOXES, BOXES), EXPECTED, rtol=1e-6)
