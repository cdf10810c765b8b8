# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``metrics.json`` and ``details.json``: what a run measured, for programs and the result page.

Undefined scores (NaN) are null there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json
from unidrive_training.evaluation.evaluate import Evaluation

METRICS, DETAILS = 'metrics.json', 'details.json'
VERSION = 1


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


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``metrics.json``; UserError when there is none to read."""
    metrics = _read(folder / METRICS)
    if metrics.get('version') != VERSION:
        raise UserError(
            f'{folder / METRICS}: version {metrics.get("version")} is not {VERSION}; '
            'write it anew with `unidrive evaluate --out`'
        )
    return metrics


def read_details(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``details.json``; UserError when there is none to read."""
    return _read(folder / DETAILS)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            f'{path}: {error.strerror}; give a folder of `unidrive train` or `evaluate --out`'
        ) from error
    except ValueError as error:
        raise UserError(f'{path} is no JSON ({error}); write it anew') from error
    if not isinstance(content, dict):
        raise UserError(f'{path}: must hold an object, got {type(content).__name__}')
    return content
