# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive describe``: the parts of a config's model and what learns in each phase."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_training.classification.published import published_millions
from unidrive_training.config import Phase, TrainingConfig, load_config
from unidrive_training.models.summary import operations_of, parts_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('config', type=Path, help='training config')
    parser.add_argument('--set', action='append', metavar='KEY=VALUE', help='change one setting')


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    print(description(load_config(args.config, args.set)))
    return 0


def description(config: TrainingConfig) -> str:
    """Millions of parameters by part and phase, and the operations of one image."""
    phases = [f'{phase.tuning} ({_length(phase)})' for phase in config.phases]
    lines = [''.join([f'{"part":18}{"parameters":>12}', *(f'{phase:>30}' for phase in phases)])]
    for part in parts_of(config):
        numbers = ''.join(f'{learning / 1e6:>28.3f} M' for learning in part.learning)
        note = _published(config) if part.name == 'prompt blocks' else ''
        lines.append(f'{part.name:18}{part.parameters / 1e6:>10.3f} M{numbers}{note}')
    height, width = config.input_size
    giga = operations_of(config, config.input_size) / 1e9
    lines.append(f'one image of {width}x{height}: {giga:.1f} G multiply-accumulates')
    return '\n'.join(lines)


def _length(phase: Phase) -> str:
    return f'{phase.iterations} it.' if phase.iterations else f'{phase.epochs:g} ep.'


def _published(config: TrainingConfig) -> str:
    """The Pro-tuning paper's count of the prompt blocks, where it has one."""
    backbone, classes = config.model.backbone['name'], 120
    blocks = published_millions(backbone, classes, 'prompt-blocks', config.model.prompts)
    head = published_millions(backbone, classes, 'head', None)
    return f'   (the paper: {blocks - head:.2f} M)' if blocks and head else ''
