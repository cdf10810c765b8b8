# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``metrics.json`` and ``details.json``: what a run measured, for programs and the result page.

Undefined scores (NaN) are null there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json
from unidrive_training.evaluation.evaluate import Evaluation
from unidrive_training.typed import read_json

METRICS, DETAILS = 'metrics.json', 'details.json'
VERSION = 1
_MODEL = ('seed', 'iterations', 'seconds')  # facts by which a model is known, with its name


def write_metrics(
    folder: Path,
    name: str,
    datasets: Mapping[str, Evaluation],
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write both files of the folder, each in one step.

    ``metrics.json``: {version, name, facts, scores: {dataset: {task: {metric: value}}},
    history: [{iteration, scores}]}; ``details.json``: {dataset: {task: details}}, see
    :class:`Evaluation`.
    """
    metrics = {
        'version': VERSION,
        'name': name,
        'facts': dict(facts),
        'scores': {dataset: evaluation.scores for dataset, evaluation in datasets.items()},
        'history': list(history),
    }
    details = {dataset: evaluation.details for dataset, evaluation in datasets.items()}
    write_json(folder / DETAILS, details, indent=None)
    write_json(folder / METRICS, metrics)  # last: where it is, both are


def add_metrics(
    folder: Path, name: str, datasets: Mapping[str, Evaluation], facts: Mapping[str, Any]
) -> None:
    """As :func:`write_metrics`, where the folder's scores of other datasets and tasks stay.

    Facts and history that are there stay, too. UserError when they are of another model.
    """
    if not check_model(folder, name, facts):
        write_metrics(folder, name, datasets, facts)
        return
    there = read_metrics(folder)
    details = read_details(folder) if (folder / DETAILS).exists() else {}
    both = {
        dataset: Evaluation(dict(tasks), dict(details.get(dataset, {})))
        for dataset, tasks in there['scores'].items()
    }
    for dataset, evaluation in datasets.items():
        old = both.setdefault(dataset, Evaluation({}, {}))
        old.scores.update(evaluation.scores)
        old.details.update(evaluation.details)
    write_metrics(folder, name, both, {**facts, **there['facts']}, there['history'])


def check_model(folder: Path, name: str, facts: Mapping[str, Any]) -> bool:
    """Whether the folder has scores; UserError when they are of another model than this."""
    if not (folder / METRICS).exists():
        return False
    metrics = read_metrics(folder)
    there, here = {**metrics['facts'], 'name': metrics['name']}, {**facts, 'name': name}
    for key in ('name', *_MODEL):
        then, now = there.get(key), here.get(key)
        if None not in (then, now) and then != now:
            raise UserError(
                f'{folder} has scores of another model ({key} {then}, of this one {now}); '
                'give a folder of its own'
            )
    return True


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``metrics.json``; UserError when there is none to read."""
    metrics = _read(folder / METRICS)
    if metrics.get('version') != VERSION:
        raise UserError(
            f'{folder / METRICS}: version {metrics.get("version")} is not {VERSION}; '
            'delete it, and write it anew with `unidrive evaluate --out`'
        )
    return metrics


def read_details(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``details.json``; UserError when there is none to read."""
    return _read(folder / DETAILS)


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, 'give a folder of `unidrive train` or `evaluate --out`')
