# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The scores of a classification run, as those of ``unidrive train`` are kept."""

from __future__ import annotations

from pathlib import Path

from unidrive_training.classification.trainer import ClassifierTrainer, Scores, in_words
from unidrive_training.environment import environment
from unidrive_training.evaluation.dataset_names import name_datasets
from unidrive_training.evaluation.evaluate import Evaluation
from unidrive_training.evaluation.metrics_file import METRICS, read_metrics, write_metrics

TASK = 'classification'


def write_scores(trainer: ClassifierTrainer, scores: Scores, data: Path) -> None:
    """Write ``metrics.json`` and ``details.json``; ``data``: the folder of the images."""
    config, parameters = trainer.config, list(trainer.model.parameters())
    cifar = config.data.dataset.startswith('cifar')
    dataset = config.data.dataset if cifar else next(iter(name_datasets([data])))
    row = {
        'split': 'test' if cifar else 'val',
        'images': len(trainer.test_images.class_ids),
        'top1': scores.top1,
        'mean_class_accuracy': scores.mean_class,
        'accuracy_per_class': dict(
            zip(trainer.test_images.classes, scores.per_class, strict=True)
        ),
    }
    facts = {
        'config': config.name,
        'seed': config.seed,
        'epochs': trainer.epoch,
        'iterations': trainer.iterations,
        'seconds': trainer.seconds,
        'parameters': sum(p.numel() for p in parameters),
        'trained_parameters': sum(p.numel() for p in parameters if p.requires_grad),
    }
    datasets = {dataset: Evaluation({TASK: row}, {})}
    write_metrics(trainer.folder, config.name, datasets, facts | environment())


def stored_scores(folder: Path) -> str | None:
    """What :func:`write_scores` has written, in words; None where there is nothing yet."""
    if not (folder / METRICS).exists():
        return None
    (row,) = (tasks[TASK] for tasks in read_metrics(folder)['scores'].values())
    return in_words(row['top1'], row['mean_class_accuracy'])
