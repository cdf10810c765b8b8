# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive classify``: a classifier from a config and CIFAR or a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.config import load_config
from unidrive_training.engine.cli import add_run_arguments, check_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'config',
        type=Path,
        help='config, e.g. config/classification/pro_tuning_resnet50_folder.yaml',
    )
    parser.add_argument('out', type=Path, help='run folder: checkpoint, TensorBoard log')
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
    from unidrive_training.classification.published import parameter_table, published_millions
    from unidrive_training.classification.trainer import ClassifierTrainer

    check_device(args.device)
    config = load_config(args.config, args.set, ClassificationConfig)
    config.check()
    train, test = read_images(config.data, args.data, args.download)
    trainer = ClassifierTrainer(config, train, test, args.out, args.device)
    published = published_millions(
        config.backbone['name'], len(train.classes), config.tuning, config.prompts
    )
    print(parameter_table(trainer.model, published))
    if config.pretrained is None and config.tuning != 'scratch':
        print('note: the backbone starts from random weights; give pretrained')
    scores = trainer.run()
    print(f'{scores} after {trainer.epoch} epochs in {trainer.seconds:.0f} s → {args.out}')
    return 0
