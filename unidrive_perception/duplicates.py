# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Leaves out boxes that a model gives twice.

Sparse R-CNN is trained to give each object once, but a small one does not fully learn it.
"""

from __future__ import annotations

import numpy as np


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of boxes (N, 4) and others (M, 4), xyxy; 0 without area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas, other_areas = ((b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, others))
    union = areas[:, None] + other_areas[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def without_duplicates(boxes: np.ndarray, class_ids: np.ndarray, iou: float) -> np.ndarray:
    """Greedy non-maximum suppression within each class: (N,) bool, true for boxes that stay.

    ``boxes`` (N, 4) xyxy and ``class_ids`` (N,) come best first; one that overlaps a better one of
    its class by more than ``iou`` goes.
    """
    same = (pairwise_iou(boxes, boxes) > iou) & (class_ids[:, None] == class_ids)
    keep = np.ones(len(boxes), bool)
    for i in np.flatnonzero(np.triu(same, 1).any(1)):  # the others suppress nothing
        if keep[i]:
            keep[i + 1 :] &= ~same[i, i + 1 :]
    return keep
