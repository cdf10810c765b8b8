# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A comparison as an HTML page."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from unidrive_training.report import plots
from unidrive_training.report.compare import Comparison
from unidrive_training.report.compare_text import LEGEND, cell_text, heading, label, where_of
from unidrive_training.report.page import write_page
from unidrive_training.report.scores import HEADLINE


def write_html(path: Path, comparison: Comparison) -> None:
    """The table as a page, with the scores that one looks at first drawn below it."""
    columns = comparison.columns
    context = {
        'headings': [heading(column) for column in columns],
        'groups': [
            (
                where,
                [
                    (label(row), [(cell_text(row, i), i in row.best) for i in range(len(columns))])
                    for row in rows
                ],
            )
            for where, rows in groupby(comparison.rows, key=where_of)
        ],
        'settings': comparison.settings,
        'warnings': comparison.warnings,
        'legend': LEGEND,
        'figure': _figure(comparison),
    }
    write_page(path, 'compare.html', context)


def _figure(comparison: Comparison) -> Markup | str:
    names = [column.name for column in comparison.columns]
    rows = [row for row in comparison.rows if row.is_score]
    panels = [
        plots.Panel(
            f'{where_of(row)}: {label(row)}',
            [
                plots.Line(
                    '',
                    range(len(names)),
                    [cell.mean for cell in row.cells],
                    error=[cell.deviation for cell in row.cells],
                )
            ],
            names=names,
        )
        for row in [row for row in rows if row.metric in HEADLINE] or rows
    ]
    return plots.svg('Scores of the runs', plots.panels, panels) if panels else ''
