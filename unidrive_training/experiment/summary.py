# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What an experiment says at its end: how long each step took, and what its models score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from unidrive_training.evaluation.metrics_file import METRICS, read_metrics
from unidrive_training.experiment.ledger import Ledger, State
from unidrive_training.experiment.steps import Step
from unidrive_training.report.compare import compare
from unidrive_training.report.compare_text import text_table
from unidrive_training.report.scores import HEADLINE


def durations(steps: Sequence[Step], ledger: Ledger) -> str:
    """A line per step: how long it took, and whether it was done now."""
    lines, above = [], ''
    for step in steps:
        group, _, name = step.name.rpartition('/')
        if group and group != above:
            lines.append(group)
        above = group
        title = f'  {name}' if group else name
        took = timedelta(seconds=round(ledger.seconds(step.name) or 0))
        when = 'done before' if ledger.states[step.name] is State.DONE else 'done now'
        lines.append(f'{title:24} {took!s:>10}  {when}')
    return '\n'.join(lines)


def scores(steps: Sequence[Step]) -> str:
    """The main scores of the student and its teachers, side by side; empty without any."""
    folders = {}
    for step in steps:
        if step.name == 'student' or step.name.startswith('teachers/'):
            folders[step.name] = step.output
        if step.name == 'evaluation':
            folders['student'] = step.output
    names = sorted(folders, key=lambda name: name != 'student')  # the others are compared to it
    scored = {name: folders[name] for name in names if _is_scored(folders[name])}
    if not scored:
        return ''
    comparison = compare(list(scored.values()))
    columns = [
        replace(column, name=name) for name, column in zip(scored, comparison.columns, strict=True)
    ]
    rows = [row for row in comparison.rows if row.task and row.metric in HEADLINE]
    return text_table(replace(comparison, columns=columns, rows=rows, settings={}, warnings=[]))


def _is_scored(folder: Path) -> bool:
    return (folder / METRICS).exists() and bool(read_metrics(folder)['scores'])
