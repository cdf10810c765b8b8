# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Leaves out boxes that a model gives twice.

Sparse R-CNN is trained to give each object once, but a small one does not fully learn it.
"""

from __future__ import annotations

import numpy as np

from unidrive_perception import box_overlap


def without_duplicates(boxes: np.ndarray, class_ids: np.ndarray, iou: float) -> np.ndarray:
    """Greedy non-maximum suppression within each class: (N,) bool, true for boxes that stay.

    ``boxes`` (N, 4) xyxy and ``class_ids`` (N,) come best first; one that overlaps a better one of
    its class by more than ``iou`` goes.
    """
    same = (box_overlap.iou(boxes, boxes) > iou) & (class_ids[:, None] == class_ids)
    keep = np.ones(len(boxes), bool)
    for i in np.flatnonzero(np.triu(same, 1).any(1)):  # the others suppress nothing
        if keep[i]:
            keep[i + 1 :] &= ~same[i, i + 1 :]
    return keep
