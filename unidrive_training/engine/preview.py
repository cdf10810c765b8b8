# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what a model in training makes of some fixed images: input, truth, pseudo-label and
prediction side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction
from unidrive_training.data.bdd100k import Record
from unidrive_training.data.sample import Sample, letterbox, load_sample
from unidrive_training.evaluation.checkpoint_predictor import ModelPredictor

_COUNT = 3  # of held-out images, and of images with pseudo-labels
_WIDTH = 640  # pixels of a part, at most
_NOTHING = 128  # grey where there is no label of a kind


def choose_subjects(
    records: Iterable[Sequence[Record]],
    validation: Iterable[Sequence[Record]],
    tasks: Collection[str],
) -> list[Record]:
    """Some held-out images, and some with pseudo-labels; without either, some that are trained on.

    Evenly from each folder, the same whenever they are asked for.
    """
    held_out = [record for source in validation for record in _some(source)]
    trained = [record for source in records for record in _some([r for r in source if r.pseudo])]
    if not held_out and not trained:
        trained = [record for source in records for record in _some(source)]
    return [record.only(tasks) for record in _some(held_out) + _some(trained)]


def draw_subjects(
    predictor: ModelPredictor, subjects: Sequence[Record], score_threshold: float
) -> list[np.ndarray]:
    """One (H, 4 W, 3) uint8 picture of each."""
    return [_picture(predictor, record, score_threshold) for record in subjects]


def _some(records: Sequence[Record]) -> list[Record]:
    step = max(1, len(records) // _COUNT)
    return list(records[step // 2 :: step][:_COUNT])


def _picture(predictor: ModelPredictor, record: Record, score_threshold: float) -> np.ndarray:
    sample = letterbox(load_sample(record), _shown_size(predictor.input_size))
    truth, pseudo = (
        _drawn(sample, [task for task in record.tasks() if (task in record.pseudo) == made])
        for made in (False, True)
    )
    predicted = predictor.predict(sample.image)
    kept = predicted.scores >= score_threshold
    shown = replace(
        predicted,
        boxes=predicted.boxes[kept],
        scores=predicted.scores[kept],
        class_ids=predicted.class_ids[kept],
    )
    seen = draw_overlay(sample.image, shown, BDD100K_LABELS)
    return np.concatenate((sample.image, truth, pseudo, seen), axis=1)


def _shown_size(input_size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, _WIDTH / input_size[1])
    return round(input_size[0] * factor), round(input_size[1] * factor)


def _drawn(sample: Sample, tasks: list[str]) -> np.ndarray:
    """The labels of these tasks over the image; grey without any."""
    if not tasks:
        return np.full_like(sample.image, _NOTHING)
    boxes, class_ids = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    if 'detection' in tasks:
        learned = ~sample.boxes.crowd
        boxes, class_ids = sample.boxes.boxes[learned], sample.boxes.class_ids[learned]
    label = Prediction(
        sample.image.shape[:2],
        boxes,
        np.full(len(boxes), np.nan, np.float32),
        class_ids,
        sample.semantic if 'semantic' in tasks else None,
        sample.drivable if 'drivable' in tasks else None,
    )
    return draw_overlay(sample.image, label, BDD100K_LABELS)
