# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive check-data``: what does not fit in a BDD100K-layout folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json
from unidrive_training.data.bdd100k import check_folder
from unidrive_training.data.check.files import SPLITS
from unidrive_training.data.check.findings import NOTES, PROBLEMS
from unidrive_training.data.check.folder import Report, check

_EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = 'Exit status: 0 clean (notes are no problems), 1 problems, 2 could not be run.'
    parser.add_argument('root', type=Path, help='BDD100K-layout folder')
    parser.add_argument(
        '--split', action='append', choices=SPLITS, help='only this one; repeatable'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every case here')
    parser.add_argument(
        '--fast', action='store_true', help='headers, boxes and copies only: no pixel is decoded'
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes (default: CPU cores)'
    )


def run(args: argparse.Namespace) -> int:
    """Check, print the summary; 1 when there are problems."""
    check_folder(args.root)
    if args.json and (args.json.is_dir() or not args.json.parent.is_dir()):
        raise UserError(f'--json {args.json} cannot be written; give a file in a folder of yours')
    report = check(args.root, args.split or SPLITS, not args.fast, args.workers)
    _print(report)
    if args.json:
        _write_json(report, args)
    return int(bool(report.found.problems()))


def _print(report: Report) -> None:
    for split, counts in report.images.items():
        tasks = ', '.join(f'{task} {n}' for task, n in counts.items() if task != 'images')
        print(f'{split}: {counts["images"]} images; labelled: {tasks}')
    problems, notes = report.found.problems(), report.found.notes()
    for title, kinds, remedies in (('problem', problems, PROBLEMS), ('note', notes, NOTES)):
        for kind, cases in kinds.items():
            print(f'{title}: {kind}: {len(cases)} ({remedies[kind]})')
            for case in cases[:_EXAMPLES]:
                print(f'    {case}')
            if len(cases) > _EXAMPLES:
                print(f'    … and {len(cases) - _EXAMPLES} more')
    total = sum(map(len, problems.values()))
    print(f'problems: {total}' if total else 'no problems')


def _write_json(report: Report, args: argparse.Namespace) -> None:
    document = {
        'root': str(args.root),
        'decoded': not args.fast,
        'splits': report.images,
        'problems': report.found.problems(),
        'notes': report.found.notes(),
    }
    write_json(args.json, document)
