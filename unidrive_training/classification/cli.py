# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive classify``: a classifier from a config and CIFAR or a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.config import load_config
from unidrive_training.engine.cli import add_run_arguments, check_device

if TYPE_CHECKING:
    from unidrive_training.classification.data import LabelledImages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'config',
        type=Path,
        help='config, e.g. config/classification/pro_tuning_resnet50_folder.yaml',
    )
    parser.add_argument('out', type=Path, help='run folder: checkpoint, TensorBoard log, scores')
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='holds cifar-10-batches-py, cifar-100-python, or train/CLASS/ and val/CLASS/',
    )
    parser.add_argument('--download', action='store_true', help='fetch CIFAR into FOLDER')
    add_run_arguments(parser, 'tuning=finetune')


def run(args: argparse.Namespace) -> int:
    """Train to the end of the last epoch."""
    from unidrive_training.classification.data import read_images
    from unidrive_training.engine.run_lock import only_one

    check_device(args.device)
    config = load_config(args.config, args.set, ClassificationConfig)
    config.check()
    train, test = read_images(config.data, args.data, args.download)
    with only_one(args.out):
        return _train(config, args, train, test)


def _train(
    config: ClassificationConfig,
    args: argparse.Namespace,
    train: LabelledImages,
    test: LabelledImages,
) -> int:
    from unidrive_training.classification.published import parameter_table, published_millions
    from unidrive_training.classification.results import stored_scores, write_scores
    from unidrive_training.classification.trainer import ClassifierTrainer
    from unidrive_training.engine.results import write_beginning

    trainer = ClassifierTrainer(config, train, test, args.out, args.device)
    scores = stored_scores(args.out) if trainer.epoch == config.epochs else None
    if scores:
        print(f'{args.out} is trained already: {scores} after {trainer.epoch} epochs')
        return 0
    write_beginning(args.out, config)
    published = published_millions(
        config.backbone['name'], len(train.classes), config.tuning, config.prompts
    )
    print(parameter_table(trainer.model, published))
    if config.pretrained is None and config.tuning != 'scratch':
        print('note: the backbone starts from random weights; give pretrained')
    scores = trainer.run()
    write_scores(trainer, scores, args.data)
    print(f'{scores} after {trainer.epoch} epochs in {trainer.seconds:.0f} s → {args.out}')
    return 0
