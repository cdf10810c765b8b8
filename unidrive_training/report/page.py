# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``report.html`` of a run: one file that needs no other, and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from unidrive_training.aside import write_text
from unidrive_training.report import PAGE
from unidrive_training.report.curves import Log, read_log
from unidrive_training.report.datasets import dataset_sections
from unidrive_training.report.facts import fact_rows
from unidrive_training.report.pictures import data_uri
from unidrive_training.report.run_folder import RunFolder, read_run
from unidrive_training.report.scores import (
    COUNT,
    DRIVABLE_READINGS,
    show,
    single_values,
    title,
)
from unidrive_training.report.training_curves import curve_sections

T = TypeVar('T')


def write_report(folder: Path) -> Path:
    """See :func:`unidrive_training.report.write_report`."""
    run = read_run(folder)
    log = _guarded(run, 'The TensorBoard log', lambda: read_log(run.log), Log())
    if not log.curves and not log.pictures:
        run.notes.append('There is no TensorBoard log: no curves and pictures.')
    context = {
        'run': run,
        'facts': _guarded(run, 'Facts', lambda: fact_rows(run), []),
        'tables': _guarded(run, 'Scores', lambda: score_tables(run.scores), []),
        'readings': DRIVABLE_READINGS,
        'curves': _guarded(run, 'Curves', lambda: curve_sections(log, run), []),
        'pictures': _guarded(run, 'Pictures', lambda: _pictures(log), []),
        'datasets': dataset_sections(run, lambda *work: _guarded(run, *work, None)),
    }
    return write_page(folder / PAGE, 'report.html', context)


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> Path:
    """Fill a template of this package (everything is escaped) and write it in one step."""
    environment = Environment(
        loader=PackageLoader('unidrive_training.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['score'] = show
    text = environment.get_template(template).render(context)
    # What no encoding knows (half a surrogate in a JSON string) must not cost the page.
    write_text(path, text.encode('utf-8', 'replace').decode('utf-8'))
    return path


def _guarded(run: RunFolder, what: str, work: Callable[[], T], otherwise: T) -> T:
    """A part of the page; where its data are not as they should be, a note and no part.

    The report comes at the end of a training, which nothing in it is worth failing.
    """
    try:
        return work()
    except Exception as error:
        run.notes.append(f'{what}: cannot be shown ({type(error).__name__}: {error}).')
        return otherwise


def score_tables(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Per task a table: datasets down, metrics across."""
    tables = []
    for task in dict.fromkeys(task for tasks in scores.values() for task in tasks):
        rows = {d: single_values(tasks[task]) for d, tasks in scores.items() if task in tasks}
        metrics = dict.fromkeys(metric for row in rows.values() for metric in row)
        metrics = [metric for metric in metrics if metric != COUNT]
        tables.append(
            {
                'task': task,
                'columns': [title(task, metric) for metric in (COUNT, *metrics)],
                'rows': [
                    (dataset, [row.get(metric) for metric in (COUNT, *metrics)])
                    for dataset, row in rows.items()
                ],
            }
        )
    return tables


def _pictures(log: Log) -> list[dict[str, Any]]:
    """Per fixed image its first and last picture."""
    tags = [tag for tag in log.pictures if tag.startswith('pictures/')]
    return [
        {
            'name': tag.removeprefix('pictures/'),
            'steps': [
                {'iteration': picture.step, 'uri': data_uri(picture.encoded, width=1600)}
                for picture in log.pictures[tag]
            ],
        }
        for tag in sorted(tags, key=lambda tag: (len(tag), tag))
    ]
