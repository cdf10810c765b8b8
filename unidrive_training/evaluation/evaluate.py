# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Score a predictor on a split of a BDD100K-layout dataset, task by task, in label pixels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from unidrive_perception.labels import DRIVABLE, LabelTable
from unidrive_perception.predictor import Prediction
from unidrive_training.data.bdd100k import read_image, read_mask, read_split
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.segmentation import (
    SegmentationEvaluator,
    SegmentationScores,
    drivable_bdd_confusion,
)

_BACKGROUND = 2


class AnyPredictor(Protocol):
    """What can be scored: a bundle's Predictor or a checkpoint's CheckpointPredictor."""

    labels: dict[str, LabelTable]

    def predict(self, rgb: np.ndarray) -> Prediction:
        """(H, W, 3) uint8 RGB → results in the image's frame."""


def evaluate(predictor: AnyPredictor, root: Path, split: str = 'val') -> dict[str, dict]:
    """``task → {metric: value}`` for every task that has labels in the split; values 0..1.

    The predictor must give its low-scoring boxes too (score threshold 0), or AP is cut short.
    """
    labels = predictor.labels
    boxes = DetectionEvaluator(labels['detection']) if 'detection' in labels else None
    masks = {t: SegmentationEvaluator(labels[t]) for t in ('semantic', 'drivable') if t in labels}
    counts = dict.fromkeys(('detection', 'semantic', 'drivable'), 0)
    records = [record for record in read_split(root, split) if record.tasks()]
    for record in tqdm(records, desc=f'{root.name} {split}', unit='image'):
        prediction = predictor.predict(read_image(record.image))
        if boxes and record.boxes is not None:
            truth = record.boxes
            found = (prediction.boxes, prediction.scores, prediction.class_ids)
            boxes.add(
                truth.boxes, truth.class_ids, *found, crowd=truth.crowd, annotated=truth.annotated
            )
            counts['detection'] += 1
        for task, evaluator in masks.items():
            path = getattr(record, task)
            if path is not None:
                evaluator.add(read_mask(path), getattr(prediction, task))
                counts[task] += 1
    results: dict[str, dict] = {}
    if counts['detection']:
        results['detection'] = {'images': counts['detection'], **asdict(boxes.scores())}
    for task, evaluator in masks.items():
        if counts[task]:
            results[task] = {'images': counts[task], **_mask_scores(evaluator)}
    return results


def _mask_scores(evaluator: SegmentationEvaluator) -> dict:
    scores = evaluator.scores()
    result = asdict(scores)
    if evaluator.labels.task == DRIVABLE.task:
        result |= _drivable_extras(evaluator)
    return result


def _drivable_extras(evaluator: SegmentationEvaluator) -> dict[str, float]:
    """The toolkit's mIoU, and the IoU of drivable (direct or alternative) against background."""
    official = drivable_bdd_confusion(evaluator.confusion, _BACKGROUND)
    road = [i for i in range(len(evaluator.labels)) if i != _BACKGROUND]
    hits = evaluator.confusion[np.ix_(road, road)].sum()
    false_alarms = evaluator.confusion[_BACKGROUND][road].sum()
    union = evaluator.confusion[road].sum() + false_alarms
    return {
        'bdd_mean_iou': SegmentationScores.of(official, evaluator.labels).mean_iou,
        'drivable_iou': float(hits / union) if union else float('nan'),
    }
