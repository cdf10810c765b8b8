# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs side by side: their scores, how these differ, and the settings that differ."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.evaluation.metrics_file import METRICS
from unidrive_training.report.run_folder import RunFolder, read_run
from unidrive_training.report.scores import COUNT, SPLIT, single_values
from unidrive_training.typed import flat

FACTS = (
    'epochs',
    'iterations',
    'seconds',
    'images_per_second',
    'parameters',
    'trained_parameters',
)
BY_CONFIG = 'config'


@dataclass(frozen=True)
class Column:
    """One run, or the runs of one group."""

    name: str
    runs: list[RunFolder]


@dataclass(frozen=True)
class Cell:
    """Mean over the runs that have the value, and their sample standard deviation (ddof 1).

    ``mean`` is NaN without a run, ``deviation`` with fewer than two.
    """

    mean: float
    deviation: float
    runs: int

    @staticmethod
    def of(values: Iterable[Any]) -> Cell:
        """Of those values that are numbers, and not NaN."""
        numbers = [value for value in values if isinstance(value, int | float)]
        there = [value for value in numbers if not math.isnan(value)]
        mean = statistics.fmean(there) if there else math.nan
        deviation = statistics.stdev(there) if len(there) > 1 else math.nan
        return Cell(mean, deviation, len(there))


@dataclass(frozen=True)
class Row:
    """One metric over the columns; ``dataset`` and ``task`` are empty for a fact of training."""

    dataset: str
    task: str
    metric: str
    cells: list[Cell]

    @property
    def is_score(self) -> bool:
        """Whether more is better."""
        return bool(self.task) and self.metric != COUNT

    @property
    def best(self) -> set[int]:
        """Columns with the highest mean; none where there is nothing to choose from."""
        means = [cell.mean for cell in self.cells if cell.runs]
        if not self.is_score or len(set(means)) < 2:
            return set()
        return {i for i, cell in enumerate(self.cells) if cell.runs and cell.mean == max(means)}

    def difference(self, column: int) -> float:
        """To the first column; NaN where either has no value, and for what is no score."""
        return self.cells[column].mean - self.cells[0].mean if self.is_score else math.nan


@dataclass(frozen=True)
class Comparison:
    """``settings``: config key → what each column has, for those keys in which they differ."""

    columns: list[Column]
    rows: list[Row]
    settings: dict[str, list[str]]
    warnings: list[str] = field(default_factory=list)


def compare(folders: Sequence[Path], group: str | None = None) -> Comparison:
    """Read the runs and put them side by side.

    ``group``: ``config`` puts runs of the same config name into one column; anything else is a
    regular expression for the part of a run's name that tells seeds apart, which is left out.
    """
    runs = dict(zip(_names(folders), map(_read, folders), strict=True))
    columns = _columns(runs, group)
    rows = _score_rows(columns) + _fact_rows(columns)
    return Comparison(columns, rows, _settings(columns), _warnings(columns, rows))


def _read(folder: Path) -> RunFolder:
    run = read_run(folder)
    if not run.scores:
        why = next((note for note in run.notes if note.startswith(METRICS)), 'it has no scores')
        raise UserError(
            f'{folder}: {why.rstrip(".")}; score it by '
            f'`unidrive evaluate {folder} DATA --out {folder}`'
        )
    return run


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell them apart."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UserError(f'{twice} is given twice; give each run once')
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ['/'.join(path.parts[-depth:]) for path in paths]


def _columns(runs: Mapping[str, RunFolder], group: str | None) -> list[Column]:
    groups: dict[str, list[RunFolder]] = {}
    for name, run in runs.items():
        groups.setdefault(_group_of(name, run, group), []).append(run)
    return [Column(name, members) for name, members in groups.items()]


def _group_of(name: str, run: RunFolder, group: str | None) -> str:
    if group is None:
        return name
    if group == BY_CONFIG:
        return str(run.facts.get('config') or run.name)
    try:
        return re.sub(group, '', name) or name
    except re.error as error:
        raise UserError(
            f'--group {group}: no regular expression ({error}); '
            f"give one for what differs between seeds, e.g. '_seed\\d+', or {BY_CONFIG}"
        ) from error


def _score_rows(columns: Sequence[Column]) -> list[Row]:
    """Every number of every dataset and task that any run has."""
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for run in (run for column in columns for run in column.runs):
        for dataset, tasks in run.scores.items():
            for task, scores in tasks.items():
                for metric, value in single_values(scores).items():
                    values.setdefault((dataset, task, metric), {})[id(run)] = value
    # Runs may name datasets in another order: what belongs together stays together.
    datasets = list(dict.fromkeys(key[0] for key in values))
    tasks = list(dict.fromkeys(key[1] for key in values))
    order = sorted(values, key=lambda key: (datasets.index(key[0]), tasks.index(key[1])))
    return [
        Row(*key, [Cell.of(values[key].get(id(run)) for run in c.runs) for c in columns])
        for key in order
    ]


def _fact_rows(columns: Sequence[Column]) -> list[Row]:
    rows = [
        Row('', '', fact, [Cell.of(run.facts.get(fact) for run in c.runs) for c in columns])
        for fact in FACTS
    ]
    return [row for row in rows if any(cell.runs for cell in row.cells)]


def _settings(columns: Sequence[Column]) -> dict[str, list[str]]:
    """A column whose config is not known differs in nothing."""
    configs = [[flat(run.config) for run in c.runs if run.config] for c in columns]
    settings = {}
    for key in dict.fromkeys(key for column in configs for values in column for key in values):
        texts = [', '.join(sorted({str(v.get(key, '–')) for v in column})) for column in configs]
        if len({text for text in texts if text}) > 1:
            settings[key] = [text or '?' for text in texts]
    return settings


def _warnings(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """What makes numbers side by side mislead."""
    warnings = []
    for row in rows:
        counts = {cell.mean for cell in row.cells if cell.runs}
        uneven = any(cell.deviation > 0 for cell in row.cells)
        if row.metric == COUNT and (len(counts) > 1 or uneven):
            warnings.append(
                f'{row.dataset} {row.task}: not scored on the same number of images, '
                'so its scores cannot be compared'
            )
        if row.metric == COUNT:
            warnings += _gaps(row, columns) + _splits(row, columns)
    scores = [row for row in rows if row.is_score]
    if len(columns) > 1 and not any(all(cell.runs for cell in row.cells) for row in scores):
        warnings.append('no score is common to all: they were evaluated on different datasets')
    runs = [run for column in columns for run in column.runs if not run.config]
    return warnings + [f'{run.path}: no config.yaml to compare the settings of' for run in runs]


def _gaps(row: Row, columns: Sequence[Column]) -> list[str]:
    """Runs that were not scored on what others were."""
    where, pairs = f'{row.dataset} {row.task}', list(zip(row.cells, columns, strict=True))
    without = ', '.join(column.name for cell, column in pairs if not cell.runs)
    return [
        *([f'{where}: not scored for {without}'] if without else []),
        *(
            f'{where}: only {cell.runs} of {len(column.runs)} runs of {column.name} have it'
            for cell, column in pairs
            if 0 < cell.runs < len(column.runs)
        ),
    ]


def _splits(row: Row, columns: Sequence[Column]) -> list[str]:
    """Scores on other images; older runs do not say of which split theirs are."""
    scores = (run.scores.get(row.dataset, {}).get(row.task, {}) for c in columns for run in c.runs)
    splits = sorted({str(found[SPLIT]) for found in scores if SPLIT in found})
    if len(splits) < 2:
        return []
    return [
        f'{row.dataset} {row.task}: scored on different splits ({", ".join(splits)}), '
        'so its scores cannot be compared'
    ]
