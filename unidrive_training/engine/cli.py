# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive train``: a model from a config and BDD100K-layout data."""

from __future__ import annotations

import argparse
import contextlib
import math
from pathlib import Path

import torch

from unidrive_perception.errors import UserError
from unidrive_training.config import TrainingConfig, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'config', type=Path, help='training config, e.g. config/training/nano.yaml'
    )
    parser.add_argument(
        'out',
        type=Path,
        help='run folder: checkpoints, TensorBoard log, scores, report.html; training goes '
        'on from its last checkpoint',
    )
    parser.add_argument(
        '--data',
        action='append',
        metavar='FOLDER[:WEIGHT]',
        help='BDD100K-layout folder and its share of a batch (default 1); repeatable',
    )
    parser.add_argument('--init', type=Path, metavar='RUN', help="start from this run's weights")
    add_run_arguments(parser, 'phases.0.iterations=100')


def add_run_arguments(parser: argparse.ArgumentParser, setting: str) -> None:
    """What every command that trains can be told; ``setting``: an example."""
    parser.add_argument(
        '--set',
        action='append',
        metavar='KEY=VALUE',
        help=f'change one setting, e.g. {setting}',
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')


def run(args: argparse.Namespace) -> int:
    """Train to the end of the last phase."""
    from unidrive_training import distributed
    from unidrive_training.data.bdd100k import check_folder
    from unidrive_training.engine.run_lock import only_one

    check_device(args.device)
    config = load_config(args.config, args.set)
    if args.data:
        config = config.model_copy(update={'data': tuple(map(_source, args.data))})
    if not config.data:
        raise UserError('no training data: add --data FOLDER (see `unidrive scenes`)')
    for source in config.data:
        source.check()
    for root in config.validation:
        check_folder(root)
    distributed.start(args.device)
    leads = distributed.rank() == 0
    with only_one(args.out) if leads else contextlib.nullcontext():
        return _train(config, args, leads)


def _train(config: TrainingConfig, args: argparse.Namespace, leads: bool) -> int:
    from unidrive_training.engine.results import is_complete, write_beginning, write_end
    from unidrive_training.engine.trainer import Trainer

    trainer = Trainer(config, args.out, args.device, args.init)
    if trainer.iteration == trainer.total and is_complete(trainer):
        if leads:
            print(f'{args.out} is trained already: {trainer.total} iterations')
        return 0
    if leads:
        write_beginning(args.out, config)
    trainer.run()
    if leads:
        page = write_end(trainer)
        print(
            f'trained {trainer.iteration} iterations in {trainer.seconds:.0f} s → {args.out}; '
            f'see {page}'
        )
    return 0


def check_device(name: str) -> None:
    """UserError unless torch can compute on the device called ``name`` here."""
    gpus = [f'cuda:{i}' for i in range(torch.cuda.device_count())]
    usable = ['cpu', *(['cuda'] if gpus else []), *gpus]
    if name not in usable:
        raise UserError(f'--device {name} cannot be used here; give one of {", ".join(usable)}')


def _source(text: str):
    from unidrive_training.data.sources import Source

    folder, _, share = text.rpartition(':')
    if not folder:
        return Source(root=Path(text))
    try:
        weight = float(share)
    except ValueError:  # the colon belongs to the folder's name
        return Source(root=Path(text))
    if not 0 < weight < math.inf:
        raise UserError(f'--data {text}: share must be greater than 0')
    return Source(root=Path(folder), weight=weight)
