# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What stays beside the weights of a run: its config, what it ran on, its scores and its page."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from unidrive_training.aside import write_json, write_text
from unidrive_training.engine.trainer import Trainer
from unidrive_training.environment import environment
from unidrive_training.evaluation.metrics_file import METRICS, read_metrics, write_metrics
from unidrive_training.evaluation.worst import write_worst_pictures
from unidrive_training.report import PAGE, write_report
from unidrive_training.typed import Typed, read_json


def write_beginning(folder: Path, config: Typed) -> None:
    """``config.yaml``, complete, and ``environment.json``: versions, machine, commit, command.

    ``config``: of any run that has a seed.
    """
    values = config.model_dump(mode='json')
    write_text(folder / 'config.yaml', yaml.safe_dump(values, sort_keys=False))
    (folder / PAGE).unlink(missing_ok=True)  # where it is, what it shows is the end
    facts = environment() | {'command': sys.argv[1:], 'seed': values['seed']}
    path = folder / 'environment.json'
    if path.exists():  # goes on, perhaps elsewhere
        first = read_json(path, 'delete it, and run the same command again')
        facts = first | {'continued': [*first.get('continued', []), facts]}
    write_json(path, facts)


def is_complete(trainer: Trainer) -> bool:
    """Whether a trained model's page and all scores that its config asks for are there."""
    folder = trainer.folder
    if not all((folder / name).exists() for name in (METRICS, PAGE)):
        return False
    return trainer.validation.records.keys() <= read_metrics(folder)['scores'].keys()


def write_end(trainer: Trainer) -> Path:
    """``metrics.json``, ``details.json``, pictures of the worst images, and the page that shows
    it all; returns the page.
    """
    config, folder = trainer.config, trainer.folder
    images = sum(
        phase.batch_size * length
        for phase, length in zip(config.phases, trainer.lengths, strict=True)
    )
    facts = {
        'config': config.name,
        'seed': config.seed,
        'iterations': trainer.iteration,
        'seconds': trainer.seconds,
        'images_per_second': images / (trainer.seconds - trainer.paused),
        'parameters': sum(p.numel() for p in trainer.model.parameters()),
    }
    validation = trainer.validation
    write_metrics(
        folder, config.name, validation.latest, facts | environment(), validation.history
    )
    for name, evaluation in validation.latest.items():
        records = validation.records[name]
        write_worst_pictures(folder, name, evaluation, trainer.predictor(), records)
    return write_report(folder)
