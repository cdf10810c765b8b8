# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""COCO average precision in BDD100K's convention, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unidrive_perception.labels import LabelTable


@dataclass(frozen=True)
class DetectionScores:
    """AP (IoU .50:.95), AP50, AP75 over the classes with truth; AP50 per class name; 0..1."""

    ap: float
    ap50: float
    ap75: float
    ap50_per_class: dict[str, float]


class DetectionEvaluator:
    """Accumulates truth and detections of images.

    Boxes are xyxy pixels, handed to COCO as ``[x1, y1, x2 - x1 + 1, y2 - y1 + 1]`` like the
    official toolkit. Classes that are not annotated in an image are not counted there.
    """

    def __init__(self, labels: LabelTable) -> None:
        self.labels = labels
        self._images = 0
        self._truth: list[dict] = []
        self._detections: list[dict] = []

    def add(
        self,
        truth_boxes: np.ndarray,
        truth_ids: np.ndarray,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        crowd: np.ndarray | None = None,
        annotated: np.ndarray | None = None,
    ) -> None:
        """One image: truth (T, 4), (T,), detections (N, 4), (N,), (N,), crowd (T,), annotated (K,)
        bool.
        """
        image = self._images = self._images + 1
        crowd = np.zeros(len(truth_boxes), bool) if crowd is None else crowd
        for box, class_id, is_crowd in zip(truth_boxes, truth_ids, crowd, strict=True):
            entry = _entry(image, box, class_id)
            entry |= {'id': len(self._truth) + 1, 'iscrowd': int(is_crowd)}
            entry |= {'area': entry['bbox'][2] * entry['bbox'][3], 'ignore': 0}
            self._truth.append(entry)
        for box, score, class_id in zip(boxes, scores, class_ids, strict=True):
            if annotated is None or annotated[class_id]:
                self._detections.append(_entry(image, box, class_id) | {'score': float(score)})

    def scores(self) -> DetectionScores:
        """Run COCO's evaluation (its prints are swallowed)."""
        if not self._truth:
            nan = float('nan')
            return DetectionScores(nan, nan, nan, {})
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                'info': {},
                'images': [{'id': i + 1} for i in range(self._images)],
                'annotations': self._truth,
                'categories': [{'id': c.id + 1, 'name': c.name} for c in self.labels.classes],
            }
            truth.createIndex()
            if not self._detections:
                return DetectionScores(0.0, 0.0, 0.0, {})
            evaluation = COCOeval(truth, truth.loadRes(self._detections), 'bbox')
            evaluation.evaluate()
            evaluation.accumulate()
        return self._read(evaluation.eval['precision'])

    def _read(self, precision: np.ndarray) -> DetectionScores:
        """precision: (IoU thresholds, recalls, classes, areas, max detections), −1 where
        undefined.
        """
        table = precision[:, :, :, 0, -1]

        def mean(values: np.ndarray) -> float:
            values = values[values > -1]
            return float(values.mean()) if values.size else float('nan')

        per_class = {info.name: mean(table[0, :, info.id]) for info in self.labels.classes}
        present = {name: value for name, value in per_class.items() if not np.isnan(value)}
        return DetectionScores(mean(table), mean(table[0]), mean(table[5]), present)


def _entry(image: int, box: np.ndarray, class_id: int) -> dict:
    x_min, y_min, x_max, y_max = (float(value) for value in box)
    return {
        'image_id': image,
        'category_id': int(class_id) + 1,
        'bbox': [x_min, y_min, x_max - x_min + 1, y_max - y_min + 1],
    }
