# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How far boxes overlap."""

from __future__ import annotations

import numpy as np


def iou(boxes: np.ndarray, others: np.ndarray, margin: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and others (M, 4) xyxy: (N, M), 0..1.

    It has the precision of the boxes; 0 where both boxes of a pair are without area. ``margin``
    (N, 2): both boxes of a pair are grown by that of its row on each side, px.
    """
    if margin is None:
        margin = np.zeros((len(boxes), 2), boxes.dtype)
    x, y = _along(boxes, others, margin, 0), _along(boxes, others, margin, 1)
    shared = x[0] * y[0]
    union = x[1] * y[1] + x[2] * y[2] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _along(boxes, others, margin, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along x (0) or y (1): length shared, of the boxes, of the others; each grown."""
    low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
    other_low, other_high = others[:, axis], others[:, axis + 2]
    twice = 2 * margin[:, axis, None]
    shared = np.minimum(high, other_high) - np.maximum(low, other_low) + twice
    return np.maximum(shared, 0), high - low + twice, other_high - other_low + twice
