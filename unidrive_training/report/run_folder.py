# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is in a run folder, whatever of it is missing or broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unidrive_perception.errors import UserError
from unidrive_training.evaluation.metrics_file import (
    DETAILS,
    METRICS,
    read_details,
    read_metrics,
)
from unidrive_training.typed import read_yaml

_CONFIG, _ENVIRONMENT, _LOG = 'config.yaml', 'environment.json', 'tensorboard'

ByTask = dict[str, dict[str, dict[str, Any]]]
"""dataset → task → what is known of it."""


@dataclass
class RunFolder:
    """The files of a run as mappings, empty where one is missing; ``notes`` say what is."""

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    details: ByTask = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the run is called in its files, else its folder's name."""
        named = (values.get('name') for values in (self.metrics, self.config))
        return str(next(filter(None, named), self.path.resolve().name))

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of how the result came about, but for unknowns (None)."""
        facts = self.environment | _mapping(self.metrics.get('facts'))
        return {key: value for key, value in facts.items() if value is not None}

    @property
    def scores(self) -> ByTask:
        """``dataset → task → {metric: value}``."""
        return _by_task(self.metrics.get('scores'))

    @property
    def log(self) -> Path:
        """Folder of the TensorBoard log."""
        return self.path / _LOG

    @property
    def config_text(self) -> str:
        """The resolved config as YAML."""
        return yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)


def read_run(folder: Path) -> RunFolder:
    """Everything but the TensorBoard log; UserError only where there is nothing of a run."""
    parts = (METRICS, DETAILS, _CONFIG, _ENVIRONMENT, _LOG)
    if not any((folder / name).exists() for name in parts):
        raise UserError(
            f'{folder}: no run folder, it has none of {", ".join(parts)}; '
            'give the folder that `unidrive train` wrote'
        )
    run = RunFolder(folder)
    lost = 'no precision-recall, confusion matrices and worst images'
    run.metrics = _read(run, METRICS, 'no scores', lambda _: read_metrics(folder))
    run.details = _by_task(_read(run, DETAILS, lost, lambda _: read_details(folder)))
    run.config = _read(run, _CONFIG, 'no config', read_yaml)
    run.environment = _read(run, _ENVIRONMENT, 'fewer facts', read_yaml)  # JSON is YAML
    return run


def _read(run: RunFolder, name: str, lost: str, read: Callable[[Path], dict]) -> dict[str, Any]:
    path = run.path / name
    if not path.exists():
        run.notes.append(f'{name} is missing: {lost}.')
        return {}
    try:
        return read(path)
    except (UserError, OSError, ValueError) as error:  # what is not UTF-8 is a ValueError
        run.notes.append(f'{name} cannot be read: {lost} ({error}).')
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _by_task(datasets: Any) -> ByTask:
    """What is not of this form is left out."""
    return {
        dataset: {task: _mapping(values) for task, values in tasks.items()}
        for dataset, tasks in _mapping(datasets).items()
        if isinstance(tasks, dict)
    }
