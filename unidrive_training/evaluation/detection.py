# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""COCO average precision in BDD100K's convention, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unidrive_perception.labels import LabelTable
from unidrive_training.evaluation.matching import Boxes, match

_AREAS = ('all', 'small', 'medium', 'large')  # of truth in label pixels: below 32², below 96²
_IOU_50, _IOU_75 = 0, 5  # places among COCO's thresholds .50, .55 … .95


@dataclass(frozen=True)
class DetectionScores:
    """COCO's means over the classes with truth, 0..1, NaN where no such truth exists.

    ``ap``: IoU .50:.95; ``ap_small`` …: of truth below 32², below 96² and above, in square pixels
    of the labelled image; ``ar_100``: recall with 100 boxes per image and class; ``truths``: the
    number of boxes of each class that are to be found (crowd boxes are not).
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_100: float
    ap_per_class: dict[str, float]
    ap50_per_class: dict[str, float]
    truths: dict[str, int]


@dataclass(frozen=True)
class _Image:
    """One image's truth and detections; ``number`` orders the images."""

    number: int
    truth: Boxes
    crowd: np.ndarray
    found: Boxes
    scores: np.ndarray


class DetectionEvaluator:
    """Accumulates truth and detections of images.

    Boxes are xyxy pixels, handed to COCO as ``[x1, y1, x2 - x1 + 1, y2 - y1 + 1]`` like the
    official toolkit. Classes that are not annotated in an image are not counted there.
    ``confusion`` (K + 1, K + 1) counts truths (rows) as what they were detected, in the operating
    point of :mod:`.matching`; last row: detections without a truth, last column: missed.
    """

    def __init__(self, labels: LabelTable) -> None:
        self.labels = labels
        self.confusion = np.zeros((len(labels) + 1,) * 2, np.int64)
        self._images: list[_Image] = []

    def add(
        self,
        truth_boxes: np.ndarray,
        truth_ids: np.ndarray,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        crowd: np.ndarray | None = None,
        annotated: np.ndarray | None = None,
        number: int | None = None,
    ) -> float:
        """One image: truth (T, 4), (T,), detections (N, 4), (N,), (N,), crowd (T,), annotated (K,)
        bool; ``number``: its place in the set, by default after those before.

        Returns the image's own score: F1 in the operating point, NaN without boxes of any kind.
        """
        crowd = np.zeros(len(truth_boxes), bool) if crowd is None else crowd
        if annotated is not None:
            kept = annotated[class_ids]
            boxes, scores, class_ids = boxes[kept], scores[kept], class_ids[kept]
        truth, found = Boxes.of_corners(truth_boxes, truth_ids), Boxes.of_corners(boxes, class_ids)
        number = len(self._images) if number is None else number
        self._images.append(_Image(number, truth, crowd, found, scores))
        confusion = match(truth, crowd, found, scores, len(self.labels))
        self.confusion += confusion
        hits, both = np.trace(confusion), confusion[:-1].sum() + confusion[:, :-1].sum()
        return float(2 * hits / both) if both else float('nan')

    def merge(self, others: Iterable[DetectionEvaluator]) -> None:
        """Take in the images that others have seen, as if all had been added here in order."""
        for other in others:
            self.confusion += other.confusion
            self._images += other._images
        self._images.sort(key=lambda image: image.number)

    def scores(self) -> DetectionScores:
        """Run COCO's evaluation."""
        return self.scores_and_curves()[0]

    def scores_and_curves(self) -> tuple[DetectionScores, dict[str, list[float]]]:
        """The scores, and per class with truth the precision at recall 0, .01 … 1 (IoU .5)."""
        # (10 thresholds, 101 recalls, K classes, 4 areas, 1); recall lacks the axis of recalls
        precision, recall = self._evaluate()
        everywhere = precision[:, :, :, 0]
        names = self.labels.names
        truths = np.zeros(len(names), int)
        for image in self._images:
            truths += np.bincount(image.truth.class_ids[~image.crowd], minlength=len(names))
        present = [(info.name, info.id) for info in self.labels.classes if truths[info.id]]
        small, medium, large = (_mean(precision[:, :, :, i]) for i in range(1, len(_AREAS)))
        scores = DetectionScores(
            ap=_mean(everywhere),
            ap50=_mean(everywhere[_IOU_50]),
            ap75=_mean(everywhere[_IOU_75]),
            ap_small=small,
            ap_medium=medium,
            ap_large=large,
            ar_100=_mean(recall[:, :, 0]),
            ap_per_class={name: _mean(everywhere[:, :, i]) for name, i in present},
            ap50_per_class={name: _mean(everywhere[_IOU_50, :, i]) for name, i in present},
            truths={name: int(truths[i]) for name, i in present},
        )
        return scores, {name: everywhere[_IOU_50, :, i].tolist() for name, i in present}

    def _evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """COCO's precision and recall with 100 boxes of a class; −1 where undefined.

        Class by class, as COCO counts: in its form a box takes 600 bytes, which adds up.
        """
        precisions, recalls = [], []
        for info in self.labels.classes:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints
                evaluation = COCOeval(
                    self._coco(info.id, True), self._coco(info.id, False), 'bbox'
                )
                evaluation.evaluate()
                evaluation.accumulate()
            precisions.append(evaluation.eval['precision'][..., -1])
            recalls.append(evaluation.eval['recall'][..., -1])
        return np.concatenate(precisions, axis=2), np.concatenate(recalls, axis=1)

    def _coco(self, class_id: int, truth: bool) -> COCO:
        """Truth or detections of a class as COCO holds them; its own reader takes no empty
        detections.
        """
        entries = []
        for place, image in enumerate(self._images, 1):
            boxes = image.truth if truth else image.found
            of_class = np.flatnonzero(boxes.class_ids == class_id)
            for i, box in zip(of_class.tolist(), boxes.xywh[of_class].tolist(), strict=True):
                entry = {'id': len(entries) + 1, 'image_id': place, 'category_id': 1}
                entry |= {'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0}
                if truth:
                    entry |= {'iscrowd': int(image.crowd[i]), 'ignore': 0}
                else:
                    entry['score'] = float(image.scores[i])
                entries.append(entry)
        coco = COCO()
        coco.dataset = {
            'images': [{'id': place} for place in range(1, len(self._images) + 1)],
            'annotations': entries,
            'categories': [{'id': 1, 'name': self.labels.names[class_id]}],
        }
        coco.createIndex()
        return coco


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else float('nan')
