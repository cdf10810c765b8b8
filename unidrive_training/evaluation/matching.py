# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which detection is which truth, at the operating point: score from 0.3, IoU from 0.5.

Average precision looks at all thresholds; this is for what a person would see in a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask

SCORE, IOU = 0.3, 0.5


@dataclass(frozen=True)
class Boxes:
    """``xywh`` (N, 4) float64 as COCO has boxes, ``class_ids`` (N,) int64."""

    xywh: np.ndarray
    class_ids: np.ndarray

    @staticmethod
    def of_corners(corners: np.ndarray, class_ids: np.ndarray) -> Boxes:
        """From (N, 4) xyxy; BDD100K counts the last pixel in."""
        xywh = np.array(corners, np.float64).reshape(-1, 4)
        xywh[:, 2:] += 1 - xywh[:, :2]
        return Boxes(xywh, np.asarray(class_ids, np.int64))

    def __getitem__(self, kept: np.ndarray) -> Boxes:
        return Boxes(self.xywh[kept], self.class_ids[kept])


def match(
    truth: Boxes, crowd: np.ndarray, found: Boxes, scores: np.ndarray, classes: int
) -> np.ndarray:
    """(K + 1, K + 1) int64 truths (rows) by what they were detected as; last row: detections
    without a truth, last column: truths without a detection.

    By falling score, each detection takes the free truth of its own class that it overlaps most,
    as in COCO's evaluation. One left over that lies on a crowd box of its class counts nowhere;
    the others take the truths left over of other classes, which are the confusions.
    """
    order = np.argsort(-scores, kind='stable')
    found = found[order[scores[order] >= SCORE]]
    on_crowd = _same_class(found, truth[crowd]) & (_overlap(found, truth[crowd], True) >= IOU)
    truth = truth[~crowd]
    overlap = _overlap(found, truth, False)
    same = _same_class(found, truth)
    partner = _take(np.where(same, overlap, 0.0), np.full(len(overlap), -1))
    counted = (partner >= 0) | ~on_crowd.any(1)
    partner = _take(np.where(counted[:, None], overlap, 0.0), partner)
    matched = partner >= 0
    missed = np.setdiff1d(np.arange(len(truth.class_ids)), partner)
    table = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(table, (truth.class_ids[partner[matched]], found.class_ids[matched]), 1)
    np.add.at(table[-1], found.class_ids[counted & ~matched], 1)
    np.add.at(table[:, -1], truth.class_ids[missed], 1)
    return table


def _take(overlap: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """``partner`` (N,): the truth of each detection, −1 for none; those without one take, in
    order, the free truth that they overlap most in ``overlap`` (N, T), from IoU .5.
    """
    partner = partner.copy()
    free = ~np.isin(np.arange(overlap.shape[1]), partner)
    for i in np.flatnonzero((partner < 0) & (overlap >= IOU).any(1)):
        best = int(np.argmax(overlap[i] * free))
        if overlap[i, best] * free[best] >= IOU:
            partner[i], free[best] = best, False
    return partner


def _overlap(found: Boxes, truth: Boxes, crowd: bool) -> np.ndarray:
    """(N, T) IoU; with a crowd, the share of the detection that lies in it."""
    shape = (len(found.xywh), len(truth.xywh))
    if not all(shape):
        return np.zeros(shape)  # pycocotools gives an empty list
    return mask.iou(found.xywh, truth.xywh, np.full(shape[1], crowd, np.uint8))


def _same_class(found: Boxes, truth: Boxes) -> np.ndarray:
    return found.class_ids[:, None] == truth.class_ids
