# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmentation scores from one confusion matrix over the whole set, as the BDD100K toolkit's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_perception.labels import LabelTable

_EXACT = 2**24  # OpenCV counts in float32


class SegmentationEvaluator:
    """Accumulates (H, W) truth and prediction maps of one task in constant memory."""

    def __init__(self, labels: LabelTable) -> None:
        self.labels = labels
        count = len(labels)
        # Rows are truth; the last column holds predictions outside the classes, which are misses.
        self.confusion = np.zeros((count, count + 1), np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray | None) -> float:
        """Count one image and return its own mean IoU; truth pixels of 255 count nowhere.

        Without a prediction every pixel is a miss, as in the toolkit.
        """
        if prediction is None:
            prediction = np.full_like(truth, len(self.labels))
        confusion = _confusion(truth, prediction, len(self.labels))
        self.confusion += confusion
        return SegmentationScores.of(confusion, self.labels).mean_iou

    def scores(self) -> SegmentationScores:
        """Over the classes present in the truth."""
        return SegmentationScores.of(self.confusion, self.labels)


def _confusion(truth: np.ndarray, prediction: np.ndarray, count: int) -> np.ndarray:
    """(K, K + 1) int64 pixels of each truth and predicted class, of uint8 maps."""
    joint = np.zeros((256, 256))
    parts = -(-truth.size // _EXACT)
    for pair in zip(np.array_split(truth, parts), np.array_split(prediction, parts), strict=True):
        joint += cv2.calcHist(pair, [0, 1], None, [256, 256], [0, 256, 0, 256])
    rows = joint[:count].astype(np.int64)
    return np.column_stack((rows[:, :count], rows[:, count:].sum(1)))


@dataclass(frozen=True)
class SegmentationScores:
    """Shares 0..1; per class name for the classes present in the truth, which the means are over.

    ``accuracy``: share of a class's pixels that were found; ``precision``: share of the pixels
    predicted as the class that are of it, which the BDD100K toolkit prints as "Acc";
    ``frequency_weighted_iou``: mean IoU weighted by the pixels of the truth.
    """

    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    mean_precision: float
    frequency_weighted_iou: float
    iou: dict[str, float]
    accuracy: dict[str, float]
    precision: dict[str, float]

    @staticmethod
    def of(confusion: np.ndarray, labels: LabelTable) -> SegmentationScores:
        """Scores of a (K, K + 1) confusion matrix, its last column predictions of no class."""
        hits = np.diag(confusion).astype(np.float64)
        truth, predicted = confusion.sum(1), confusion[:, :-1].sum(0)
        there = np.flatnonzero(truth)
        names = [labels.names[i] for i in there]
        iou = hits[there] / (truth + predicted - hits)[there]
        accuracy = hits[there] / truth[there]
        precision = hits[there] / np.maximum(predicted[there], 1)  # never predicted: 0, like IoU
        return SegmentationScores(
            mean_iou=_mean(iou),
            pixel_accuracy=_mean(accuracy, truth[there]),
            mean_accuracy=_mean(accuracy),
            mean_precision=_mean(precision),
            frequency_weighted_iou=_mean(iou, truth[there]),
            iou=dict(zip(names, iou.tolist(), strict=True)),
            accuracy=dict(zip(names, accuracy.tolist(), strict=True)),
            precision=dict(zip(names, precision.tolist(), strict=True)),
        )


def _mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    return float(np.average(values, weights=weights)) if values.size else float('nan')


def drivable_extras(confusion: np.ndarray, labels: LabelTable) -> dict[str, float]:
    """What the plain three-class scores of the drivable task leave out.

    ``bdd_*``: the BDD100K toolkit's protocol, in which truth-background pixels count nowhere, so
    that the mean is over direct and alternative; ``drivable_iou``: IoU of the road (direct or
    alternative) against background.
    """
    background = labels.names.index('background')
    official = confusion.copy()
    official[background] = 0
    bdd = SegmentationScores.of(official, labels)
    road = [i for i in range(len(labels)) if i != background]
    hits = confusion[np.ix_(road, road)].sum()
    union = confusion[road].sum() + confusion[background][road].sum()
    return {
        'bdd_mean_iou': bdd.mean_iou,
        'bdd_pixel_accuracy': bdd.pixel_accuracy,
        'bdd_frequency_weighted_iou': bdd.frequency_weighted_iou,
        'drivable_iou': float(hits / union) if union else float('nan'),
    }
