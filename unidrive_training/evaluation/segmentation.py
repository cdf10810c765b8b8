# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores from one confusion matrix over the whole set, as the BDD100K toolkit's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unidrive_perception.labels import LabelTable


class SegmentationEvaluator:
    """Accumulates (H, W) truth and prediction maps of one task in constant memory."""

    def __init__(self, labels: LabelTable) -> None:
        self.labels = labels
        count = len(labels)
        # Rows are truth; the last column holds predictions outside the classes, which are misses.
        self.confusion = np.zeros((count, count + 1), np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; truth pixels of 255 count nowhere."""
        count = len(self.labels)
        counted = truth < count
        predicted = np.minimum(prediction[counted], count).astype(np.int64)
        index = truth[counted].astype(np.int64) * (count + 1) + predicted
        self.confusion += np.bincount(index, minlength=count * (count + 1)).reshape(
            count, count + 1
        )

    def scores(self) -> SegmentationScores:
        """IoU over the classes present in the truth."""
        return SegmentationScores.of(self.confusion, self.labels)


@dataclass(frozen=True)
class SegmentationScores:
    """``iou`` per class name (those present in the truth), their mean, pixel accuracy; 0..1."""

    iou: dict[str, float]
    mean_iou: float
    pixel_accuracy: float

    @staticmethod
    def of(confusion: np.ndarray, labels: LabelTable) -> SegmentationScores:
        """Scores of a (K, K + 1) confusion matrix."""
        hits = np.diag(confusion).astype(np.float64)
        truth = confusion.sum(1)
        union = truth + confusion[:, :-1].sum(0) - hits
        iou = {
            info.name: hits[info.id] / union[info.id]
            for info in labels.classes
            if truth[info.id] > 0
        }
        mean = float(np.mean(list(iou.values()))) if iou else float('nan')
        total = truth.sum()
        return SegmentationScores(iou, mean, hits.sum() / total if total else float('nan'))


def drivable_bdd_confusion(confusion: np.ndarray, background: int) -> np.ndarray:
    """The BDD100K toolkit's drivable protocol: truth-background pixels count nowhere."""
    official = confusion.copy()
    official[background] = 0
    return official
