# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive report``: the result page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_training.report import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('run', type=Path, help='run folder; gets report.html')


def run(args: argparse.Namespace) -> int:
    """Write the page from whatever is in the folder."""
    print(write_report(args.run))
    return 0
