# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What can be known to be wrong before an experiment begins."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from unidrive_perception.command_line import Parser
from unidrive_perception.errors import UserError
from unidrive_training.cli import COMMANDS
from unidrive_training.config import TrainingConfig
from unidrive_training.data.bdd100k import check_folder
from unidrive_training.data.settings import load_setting
from unidrive_training.data.stream import quotas
from unidrive_training.experiment.config import Experiment
from unidrive_training.experiment.steps import Step
from unidrive_training.models.multitask import MultiTaskModel, part_of

Shapes = dict[str, torch.Size]


def check(experiment: Experiment, steps: Sequence[Step]) -> None:
    """UserError for folders that are missing, options that a command does not know, models that
    cannot be built or cannot start from the pretrained backbone, batches too small for their data.

    Prints what starts from scratch although the training is given all pretrained weights.
    """
    for name, entry in experiment.data.items():
        if entry.root:
            check_folder(entry.root)
        for source in (entry.source, *(entry.frames or ())):
            if source and not source.exists():
                raise UserError(f'data.{name}: there is no {source}')
        if entry.setting:
            load_setting(entry.setting)
    for step in steps:
        if step.name.startswith('data/'):
            check_arguments(step)
    models = {step.name: _check_training(step) for step in steps if step.config}
    for name, section in experiment.trainings().items():
        given = section.starts_from
        if given and not _backbone(models[given]).items() <= models[name].items():
            where = f'{name.replace("/", ".")}.{section.start_key}'
            raise UserError(
                f'{where}: the backbone of {given} is another one; give both the same '
                'model.backbone'
            )
        if section.weights_from and (parts := _from_scratch(models[name], models[given])):
            print(f'{name}: {parts} from scratch, as {given} has nothing that fits')


class _Parser(Parser):
    """Says what is wrong instead of leaving."""

    def error(self, message: str) -> None:
        raise UserError(message)


def check_arguments(step: Step) -> None:
    """UserError unless the step's command knows all of its options."""
    command = step.arguments[0]
    parser = _Parser(allow_abbrev=False, add_help=False)
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    try:
        parser.parse_args(step.arguments[1:])
    except UserError as error:
        raise UserError(f'{step.name}: {error}; see `unidrive {command} --help`') from error


def _check_training(step: Step) -> Shapes:
    """The shapes of the model's weights."""
    config: TrainingConfig = step.config
    where = step.name.replace('/', '.')
    files = [config.pretrained.backbone, config.pretrained.text_encoder, config.pretrained.fpn]
    for given in filter(None, [*files, *config.pretrained.heads.values()]):
        made_before = given.format == 'unidrive'
        if given.file and not made_before and not Path(given.file).exists():
            raise UserError(f'{where}.pretrained: there is no {given.file}')
    try:
        for phase in config.phases:
            quotas([source.weight for source in config.data], phase.batch_size)
        with torch.device('meta'):
            model = MultiTaskModel(config.model)
    except UserError as error:
        raise UserError(f'{where}: {error}') from error
    return {name: weight.shape for name, weight in model.state_dict().items()}


def _backbone(weights: Shapes) -> Shapes:
    return {name: shape for name, shape in weights.items() if name.startswith('backbone.')}


def _from_scratch(own: Shapes, given: Shapes) -> str:
    """The parts of a model that do not start from the ``given`` weights, in words."""
    every = Counter(map(part_of, own))
    fresh = Counter(part_of(name) for name, shape in own.items() if given.get(name) != shape)
    return ', '.join(
        part if count == every[part] else f'{part} ({count} of {every[part]} weights)'
        for part, count in fresh.items()
    )
