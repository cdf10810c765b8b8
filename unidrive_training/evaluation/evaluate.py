# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Score a predictor on a split of a BDD100K-layout dataset, task by task, in label pixels."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS, LabelTable
from unidrive_perception.predictor import Prediction
from unidrive_training import distributed
from unidrive_training.data.bdd100k import Record, read_split
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.read_ahead import Example, read_examples
from unidrive_training.evaluation.segmentation import SegmentationEvaluator, drivable_extras
from unidrive_training.evaluation.shards import reduce_on_first

WORST = 12
WORKERS = 2
_MASKS = ('semantic', 'drivable')


class AnyPredictor(Protocol):
    """What can be scored: a bundle's Predictor or a checkpoint's CheckpointPredictor.

    One that also has ``predict_batch`` and ``batch_size`` is given so many images at a time.
    """

    labels: dict[str, LabelTable]

    def predict(self, rgb: np.ndarray) -> Prediction:
        """(H, W, 3) uint8 RGB → results in the image's frame."""


@dataclass(frozen=True)
class Evaluation:
    """What a dataset says about a model, for every task that it has labels for.

    ``scores``: task → {metric: value, or {class: value}}, shares 0..1, NaN where undefined, and
    ``split`` and ``images``: of which, and of how many. ``details``: task → {``classes``: names,
    ``confusion``: truth rows × predicted columns, ``worst``: [{``image``, ``score``}], the worst
    first}. Detection's confusion is (K + 1, K + 1), the last row and column "nothing", and it has
    ``precision_recall``: class → precision at recall 0, .01 … 1; that of masks is (K, K + 1), the
    last column predictions outside the classes.
    An image's score is F1 at score 0.3 and IoU .5, or its own mean IoU.
    """

    scores: dict[str, dict]
    details: dict[str, dict]


def evaluate(
    predictor: AnyPredictor,
    root: Path,
    split: str = 'val',
    tasks: Collection[str] | None = None,
    workers: int = WORKERS,
    records: Sequence[Record] | None = None,
) -> Evaluation:
    """Score ``predictor`` on every image of the split that has a label of its tasks.

    The predictor must give its low-scoring boxes too (score threshold 0), or AP is cut short.
    ``tasks``: only these; ``workers``: threads that read images; ``records``: those of the split
    to score, where they have been read already. Of several processes (torchrun)
    each takes its share of the images and gets the whole result, which is that of one process.
    """
    labels = _tables(predictor, tasks)
    records = labelled_records(root, split, labels) if records is None else records
    scorer = _Scorer(labels, split)
    rank, ranks = distributed.rank(), distributed.world_size()
    numbers = range(rank, len(records), ranks)
    examples = read_examples(
        records[rank::ranks], [task for task in _MASKS if task in labels], workers
    )
    with tqdm(
        total=len(numbers), desc=f'{root.name} {split}', unit='image', disable=rank > 0
    ) as bar:
        predicted = _predictions(predictor, examples)
        for number, (example, prediction) in zip(numbers, predicted, strict=True):
            scorer.add(number, example, prediction)
            bar.update()
    return reduce_on_first(scorer, _Scorer.result_of)


def labelled_records(root: Path, split: str, tasks: Collection[str]) -> list[Record]:
    """The images of the split with a label of one of ``tasks``."""
    return [record for record in read_split(root, split) if set(record.tasks()) & set(tasks)]


def _tables(predictor: AnyPredictor, tasks: Collection[str] | None) -> dict[str, LabelTable]:
    """Label tables of the tasks to score, which must be those of the datasets."""
    tables = {t: table for t, table in predictor.labels.items() if tasks is None or t in tasks}
    for task, table in tables.items():
        if table.names != BDD100K_LABELS[task].names:
            raise UserError(
                f'the {task} classes of the model ({", ".join(table.names)}) are not those of '
                'BDD100K, in which datasets are labelled; give a model with its classes'
            )
    return tables


def _predictions(
    predictor: AnyPredictor, examples: Iterator[Example]
) -> Iterator[tuple[Example, Prediction]]:
    if not hasattr(predictor, 'batch_size'):
        yield from ((example, predictor.predict(example.rgb)) for example in examples)
        return
    while batch := list(islice(examples, predictor.batch_size)):
        yield from zip(batch, predictor.predict_batch([e.rgb for e in batch]), strict=True)


class _Scorer:
    """The evaluators of all tasks, and the score of every single image."""

    def __init__(self, labels: dict[str, LabelTable], split: str) -> None:
        self.split = split
        self.boxes = DetectionEvaluator(labels['detection']) if 'detection' in labels else None
        self.masks = {
            task: SegmentationEvaluator(labels[task]) for task in _MASKS if task in labels
        }
        # task → (score, name) of each image
        self.images: dict[str, list[tuple[float, str]]] = {task: [] for task in labels}

    def add(self, number: int, example: Example, prediction: Prediction) -> None:
        name, truth = example.record.name, example.record.boxes
        if self.boxes and truth is not None:
            score = self.boxes.add(
                truth.boxes,
                truth.class_ids,
                prediction.boxes,
                prediction.scores,
                prediction.class_ids,
                truth.crowd,
                truth.annotated,
                number,
            )
            self.images['detection'].append((score, name))
        for task, mask in example.masks.items():
            score = self.masks[task].add(mask, getattr(prediction, task))
            self.images[task].append((score, name))

    @staticmethod
    def result_of(parts: Sequence[_Scorer]) -> Evaluation:
        """What all processes have seen together."""
        whole, *others = parts
        for other in others:
            for task, images in other.images.items():
                whole.images[task] += images
            for task, evaluator in other.masks.items():
                whole.masks[task].confusion += evaluator.confusion
        if whole.boxes:
            whole.boxes.merge(other.boxes for other in others)
        return whole._result()

    def _result(self) -> Evaluation:
        scores, details = {}, {}
        for task, images in self.images.items():
            if not images:
                continue
            found, details[task] = self._boxes() if task == 'detection' else self._mask(task)
            scores[task] = {'split': self.split, 'images': len(images), **found}
            worst = sorted(image for image in images if not math.isnan(image[0]))[:WORST]
            details[task]['worst'] = [{'image': name, 'score': score} for score, name in worst]
        return Evaluation(scores, details)

    def _boxes(self) -> tuple[dict, dict]:
        scores, curves = self.boxes.scores_and_curves()
        details = {
            'classes': self.boxes.labels.names,
            'confusion': self.boxes.confusion.tolist(),
            'precision_recall': curves,
        }
        return asdict(scores), details

    def _mask(self, task: str) -> tuple[dict, dict]:
        evaluator = self.masks[task]
        scores = asdict(evaluator.scores())
        if task == 'drivable':
            scores |= drivable_extras(evaluator.confusion, evaluator.labels)
        details = {'classes': evaluator.labels.names, 'confusion': evaluator.confusion.tolist()}
        return scores, details
