# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive run``: a whole experiment from one file; what is done already is not done again."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.experiment.checks import check
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.runner import run_steps, show
from unidrive_training.experiment.steps import plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('file', type=Path, help='run file, e.g. config/training/street_mini.yaml')
    parser.add_argument('out', type=Path, help='folder for everything that the experiment makes')
    parser.add_argument(
        'overrides',
        nargs='*',
        metavar='KEY=VALUE',
        help='change one setting, e.g. student.phases.0.iterations=100 (anywhere behind OUT)',
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        metavar='N',
        help='share training, pseudo-labels and evaluation among N processes of this machine',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check everything, write the training configs and print the commands, no more',
    )


def run(args: argparse.Namespace) -> int:
    """Check all of it, then do what is not done yet."""
    if args.processes < 1:
        raise UserError(f'--processes {args.processes}: give 1 or more')
    experiment = load_experiment(args.file, args.overrides)
    out = args.out.resolve()  # what is begun goes on however OUT is written
    steps = plan(experiment, out)
    check(experiment, steps)
    act = show if args.dry_run else run_steps
    act(experiment, out, steps, args.processes)
    return 0
