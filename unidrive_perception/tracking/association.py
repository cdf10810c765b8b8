# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which box of this image is which object of the last one."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from unidrive_perception.box_overlap import iou

_AGAIN = 0.5  # overlap with a better box of its class, from which a box shows the same thing
_AGAIN_OTHER_CLASS = 0.9  # one network query can give the same box as several classes


def distinct(boxes: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the boxes (N, 4) xyxy that do not show what a better one shows already.

    Scores fall. Networks without non-maximum suppression give some things twice, the default
    bundle one in four; each copy would be followed as an object of its own. Of true objects one
    in a hundred (generated streets) is hidden so far by another of its class.
    """
    same_class = class_ids[:, None] == class_ids
    again = overlap(boxes, boxes) >= np.where(same_class, _AGAIN, _AGAIN_OTHER_CLASS)
    return ~np.triu(again, 1).any(0)


def overlap(boxes: np.ndarray, others: np.ndarray, margin: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and others (M, 4) xyxy: (N, M) float64, 0..1.

    ``margin`` (N, 2): both boxes of a pair are grown by that of its row on each side, px. Small
    fast objects, whose boxes of two images do not touch, overlap so (Yang et al. 2023, "Hard to
    Track Objects with Irregular Motions ...", buffered IoU; there the margin is a share of the
    box, here it is what the motion model does not know).
    """
    if margin is None:
        margin = np.zeros((len(boxes), 2))
    return iou(boxes, others, margin)


def assign(similarity: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Pair rows and columns for the greatest total similarity, no pair below ``least`` > 0.

    Returns the rows and the columns of the pairs, in order of rows.
    """
    # Hopeless pairs count nothing before the assignment and not only after it: they would
    # otherwise steal a good pair's column for the sake of the total.
    hopeful = similarity >= least
    rows, columns = linear_sum_assignment(np.where(hopeful, similarity, 0), maximize=True)
    real = hopeful[rows, columns]
    return rows[real], columns[real]
