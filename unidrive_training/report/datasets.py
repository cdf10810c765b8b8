# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the page shows of each dataset and task: classes, precision-recall, confusions, worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unidrive_training.report import plots
from unidrive_training.report.pictures import worst_pictures
from unidrive_training.report.run_folder import RunFolder
from unidrive_training.report.scores import TRUTHS, class_values, title

Guard = Callable[[str, Callable[[], Any]], Any]


def dataset_sections(run: RunFolder, guard: Guard) -> list[dict[str, Any]]:
    """``{dataset, task, figures: [{title, note, svg}], worst}`` of each.

    ``guard(what, work)`` gives what ``work()`` gives, or None where that fails.
    """
    pairs = [(dataset, task) for dataset, tasks in run.scores.items() for task in tasks]
    pairs += [(dataset, task) for dataset, tasks in run.details.items() for task in tasks]
    return [_section(run, guard, *pair) for pair in dict.fromkeys(pairs)]


def _section(run: RunFolder, guard: Guard, dataset: str, task: str) -> dict[str, Any]:
    scores = run.scores.get(dataset, {}).get(task, {})
    details = run.details.get(dataset, {}).get(task, {})
    where = f'{dataset} {task}'
    parts = {
        'Classes': lambda: _classes(scores, where),
        'Precision-recall': lambda: _curve(details, scores, where),
        'Confusion': lambda: _confusion(details, task, where),
    }
    figures = [
        {'title': name} | figure
        for name, work in parts.items()
        if (figure := guard(f'{where}: {name.lower()}', work))
    ]
    pictures = run.path / 'worst'
    worst = guard(
        f'{where}: worst images',
        lambda: worst_pictures(pictures, dataset, task, details.get('worst', [])),
    )
    return {
        'dataset': dataset,
        'task': task,
        'figures': figures,
        'worst': worst or [],
        'worst_by': 'F1 of the boxes' if task == 'detection' else 'mean IoU',
    }


def _classes(scores: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    rows = class_values(scores)
    truths = rows.pop(TRUTHS, {})
    if not rows:
        return None
    named = {
        title('', metric): {_counted(name, truths): value for name, value in row.items()}
        for metric, row in rows.items()
    }
    note = 'In brackets: how many there are to find.' if truths else ''
    return {'svg': plots.svg(f'{where}: scores of the classes', plots.bars, named), 'note': note}


def _counted(name: str, truths: Mapping[str, float]) -> str:
    return f'{name} ({truths[name]:,})' if name in truths else name


def _curve(
    details: Mapping[str, Any], scores: Mapping[str, Any], where: str
) -> dict[str, Any] | None:
    curves = details.get('precision_recall')
    if not curves:
        return None
    ap50 = class_values(scores).get('ap50_per_class', {})
    svg = plots.svg(f'{where}: precision-recall', plots.precision_recall, curves, ap50)
    return {'svg': svg, 'note': 'A box is right from an IoU of 0.5 on. Beside the classes: AP50.'}


def _confusion(details: Mapping[str, Any], task: str, where: str) -> dict[str, Any] | None:
    """Rows and columns that are empty are left out; so is a row without truth."""
    if not details.get('confusion'):
        return None
    counts = np.asarray(details['confusion'], float)  # (K or K + 1, K + 1)
    names = [str(name) for name in details['classes']]
    rows = [*names, 'nothing there'][: len(counts)]
    columns = [*names, 'missed' if task == 'detection' else 'no class'][: counts.shape[1]]
    truth = np.flatnonzero(counts.sum(1))
    if not len(truth):
        return None
    predicted = np.union1d(truth, np.flatnonzero(counts.sum(0)))
    shares = counts[np.ix_(truth, predicted)] / counts[truth].sum(1, keepdims=True)
    names = [rows[i] for i in truth], [columns[i] for i in predicted]
    svg = plots.svg(f'{where}: confusion', plots.confusion, shares, *names)
    return {'svg': svg, 'note': _NOTES.get(task, '')}


_NOTES = {
    'detection': 'Boxes with a score from 0.3 on, matched from an IoU of 0.5 on. Last row: what '
    'boxes without a truth were called.',
}
