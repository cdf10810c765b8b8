# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive compare``: runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json
from unidrive_training.report.compare import BY_CONFIG, compare
from unidrive_training.report.compare_page import write_html
from unidrive_training.report.compare_text import as_json, text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'runs', type=Path, nargs='+', help='run folders; the others are compared to the first'
    )
    parser.add_argument(
        '--group',
        metavar='REGEX',
        help='mean and standard deviation over seeds: the part of the names of runs that tells '
        rf"them apart, e.g. '_seed\d+', or {BY_CONFIG}: runs of the same config name",
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write it as JSON')
    parser.add_argument('--html', type=Path, metavar='FILE', help='also write it as a page')


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    for file in filter(None, (args.json, args.html)):
        if not file.parent.is_dir():
            raise UserError(f'{file}: there is no folder {file.parent}; make it first')
    comparison = compare(args.runs, args.group)
    print(text_table(comparison))
    if args.json:
        write_json(args.json, as_json(comparison))
    if args.html:
        write_html(args.html, comparison)
    return 0
