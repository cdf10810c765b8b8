# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A comparison as aligned text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from unidrive_training.report.compare import Cell, Column, Comparison, Row
from unidrive_training.report.facts import big_number, duration
from unidrive_training.report.scores import title

_LONGEST = 44  # characters of a setting in the table

LEGEND = (
    'Best of each row: *. In brackets: difference to the first column. '
    '±: standard deviation over the runs of a column (n − 1).'
)


def text_table(comparison: Comparison) -> str:
    """Metrics down, columns across, then the settings that differ, then warnings."""
    columns = comparison.columns
    lines: list[list[str]] = [['', *(heading(column) for column in columns)]]
    for where, rows in groupby(comparison.rows, key=where_of):
        lines.append([where])
        for row in rows:
            cells = [cell_text(row, i) for i in range(len(columns))]
            lines.append([f'  {label(row)}', *cells])
    if comparison.settings:
        lines.append(['settings that differ'])
        for key, texts in comparison.settings.items():
            lines.append([f'  {key}', *map(_shortened, texts)])
    legend = [LEGEND] if len(columns) > 1 else []
    warnings = [f'warning: {warning}' for warning in comparison.warnings]
    return '\n'.join([*_aligned(lines), '', *legend, *warnings]).rstrip()


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    full = [line for line in lines if len(line) > 1]
    widths = [max(len(line[i]) for line in full) for i in range(len(full[0]))]
    return [
        '  '.join(f'{text:<{width}}' for text, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}…'


def heading(column: Column) -> str:
    """A column's name, and of how many runs it is."""
    return f'{column.name} (n = {len(column.runs)})' if len(column.runs) > 1 else column.name


def where_of(row: Row) -> str:
    """What a row is about, as a heading over it and its like."""
    return f'{row.dataset} · {row.task}' if row.task else 'training'


def label(row: Row) -> str:
    """What a row's metric is called."""
    if row.task:
        return title(row.task, row.metric)
    return 'training time' if row.metric == 'seconds' else row.metric.replace('_', ' ')


def cell_text(row: Row, column: int) -> str:
    """Value, mark of the best, deviation, difference to the first column."""
    cell = row.cells[column]
    if not cell.runs:
        return '–'
    text = _number(row, cell.mean) + ('* ' if column in row.best else '  ')
    if not math.isnan(cell.deviation) and (row.is_score or cell.deviation):
        text += f'± {_number(row, cell.deviation)} '
    difference = row.difference(column)
    if column and not math.isnan(difference):
        text += f'({difference:+.3f})'
    return text.rstrip()


def _number(row: Row, value: float) -> str:
    if row.is_score:
        return f'{value:.3f}'
    known = {'seconds': duration, 'images_per_second': '{:.1f}'.format}
    known |= dict.fromkeys(('parameters', 'trained_parameters'), big_number)
    return known.get(row.metric, '{:,.10g}'.format)(value)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that the table shows, in full precision; NaN becomes null when written."""
    return {
        'version': 1,
        'columns': [
            {'name': column.name, 'runs': [str(run.path) for run in column.runs]}
            for column in comparison.columns
        ],
        'rows': [
            {
                'dataset': row.dataset or None,
                'task': row.task or None,
                'metric': row.metric,
                'values': [_cell_json(cell) for cell in row.cells],
                'differences': [row.difference(i) for i in range(len(row.cells))],
                'best': sorted(row.best),
            }
            for row in comparison.rows
        ],
        'settings': comparison.settings,
        'warnings': comparison.warnings,
    }


def _cell_json(cell: Cell) -> dict[str, float]:
    return {'mean': cell.mean, 'deviation': cell.deviation, 'runs': cell.runs}
