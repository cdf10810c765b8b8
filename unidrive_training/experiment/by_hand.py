# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Steps that were done by their commands and not by `unidrive run`: on other machines, say."""

from __future__ import annotations

import argparse

from unidrive_perception.errors import UserError
from unidrive_training.config import FREE
from unidrive_training.data.pseudo_labels import read_index
from unidrive_training.engine import pseudo_label
from unidrive_training.engine.checkpoint import checkpoint_name, checkpoints, config_change
from unidrive_training.evaluation.metrics_file import METRICS, read_metrics
from unidrive_training.experiment.steps import Step
from unidrive_training.report import PAGE
from unidrive_training.typed import first_change, flat, read_yaml


def check_made_by_hand(step: Step) -> float:
    """UserError unless the step's output is what its command makes, and whole.

    Returns how many seconds it took, 0 where nobody knows.
    """
    command = step.arguments[0]
    if command == 'train':
        return _check_training(step)
    if command == 'pseudo-label':
        return _check_pseudo_labels(step)
    raise UserError(f'it does not say how `unidrive {command}` made it')


def _check_training(step: Step) -> float:
    then = read_yaml(step.output / 'config.yaml')
    if change := config_change(then, step.config, FREE):
        raise UserError(f'its config is another one: {change}')
    written = all((step.output / name).exists() for name in (METRICS, PAGE))
    facts = read_metrics(step.output)['facts'] if written else {}
    last = [path.name for path in checkpoints(step.output)[-1:]]
    # The rate of the whole training is known at its end, `unidrive evaluate` writes the others.
    if 'images_per_second' not in facts or last != [checkpoint_name(facts['iterations'])]:
        raise UserError('its training is not finished')
    return facts['seconds']


def _check_pseudo_labels(step: Step) -> float:
    index = read_index(step.output)
    parser = argparse.ArgumentParser()
    pseudo_label.add_arguments(parser)
    wanted = pseudo_label.determined_by(parser.parse_args(step.arguments[1:]))
    then = {key: index.get(key) for key in wanted}
    if change := first_change(flat(then), flat(wanted)):
        raise UserError(f'it was made otherwise: {change}')
    return 0.0
