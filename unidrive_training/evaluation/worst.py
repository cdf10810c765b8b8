# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the images that a model does worst on: truth at the left, prediction beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction
from unidrive_training.data.bdd100k import Record
from unidrive_training.evaluation.evaluate import AnyPredictor, Evaluation
from unidrive_training.evaluation.matching import SCORE
from unidrive_training.evaluation.read_ahead import Example, read_example

FOLDER = 'worst'
_GAP = 4  # white pixels between truth and prediction


def write_worst_pictures(
    folder: Path,
    dataset: str,
    evaluation: Evaluation,
    predictor: AnyPredictor,
    records: Iterable[Record],
) -> None:
    """``FOLDER/worst/DATASET/TASK/NAME.jpg`` for the images in the evaluation's ``worst`` lists,
    which are among the ``records``.

    Pictures of an earlier evaluation of these tasks are replaced.
    """
    if dataset in ('', '.', '..') or '/' in dataset or '\\' in dataset:
        raise ValueError(f'{dataset!r} is no name of a dataset: what is there is replaced')
    named = {record.name: record for record in records}
    place = folder / FOLDER / dataset
    partial = place.with_name(f'.{dataset}.part')
    shutil.rmtree(partial, ignore_errors=True)
    for task, details in evaluation.details.items():
        mask_tasks = [] if task == 'detection' else [task]
        (partial / task).mkdir(parents=True)
        for image in details['worst']:
            example = read_example(named[image['image']], mask_tasks)
            picture = _picture(task, example, predictor)
            _write(partial / task / f'{image["image"]}.jpg', picture)
    for task in evaluation.details:
        place.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place / task, ignore_errors=True)
        (partial / task).rename(place / task)
    shutil.rmtree(partial, ignore_errors=True)


def _picture(task: str, example: Example, predictor: AnyPredictor) -> np.ndarray:
    """Truth and prediction of one task side by side, (H, 2 W + gap, 3) uint8 RGB."""
    predicted = _only(task, predictor.predict(example.rgb), example)
    left, right = (
        draw_overlay(example.rgb, result, predictor.labels)
        for result in (_truth(task, example), predicted)
    )
    gap = np.full((len(example.rgb), _GAP, 3), 255, np.uint8)
    return np.concatenate((left, gap, right), axis=1)


def _truth(task: str, example: Example) -> Prediction:
    """The label as a prediction without scores; crowd boxes, which count nowhere, are left out."""
    boxes, ids = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    if task == 'detection':
        labels = example.record.boxes
        boxes, ids = labels.boxes[~labels.crowd], labels.class_ids[~labels.crowd]
    masks = {t: example.masks.get(t) for t in ('semantic', 'drivable')}
    return Prediction(example.rgb.shape[:2], boxes, np.full(len(boxes), np.nan), ids, **masks)


def _only(task: str, prediction: Prediction, example: Example) -> Prediction:
    """What is scored of a prediction: one task; boxes of annotated classes from the score on."""
    kept = np.zeros(len(prediction.scores), bool)
    if task == 'detection':
        kept = example.record.boxes.annotated[prediction.class_ids] & (prediction.scores >= SCORE)
    masks = {t: getattr(prediction, t) if t == task else None for t in ('semantic', 'drivable')}
    return replace(
        prediction,
        boxes=prediction.boxes[kept],
        scores=prediction.scores[kept],
        class_ids=prediction.class_ids[kept],
        **masks,
    )


def _write(path: Path, rgb: np.ndarray) -> None:
    if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise UserError(f'{path}: could not be written; is the disk full?')
