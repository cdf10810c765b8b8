# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How a training went: losses, speed and validation scores over the iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

from unidrive_training.report import plots
from unidrive_training.report.curves import Curve, Log, smooth
from unidrive_training.report.plots import COLORS, Line, Panel
from unidrive_training.report.run_folder import RunFolder
from unidrive_training.report.scores import COUNT, HEADLINE, single_values, title

_COLORS = {
    'total': '#7d868f',
    'detection': COLORS[0],
    'semantic': COLORS[1],
    'drivable': COLORS[2],
}
_PROGRESS = {
    'learning_rate': 'learning rate',
    'gradient_norm': 'gradient norm',
    'speed/images_per_second': 'images per second',
    'speed/data_seconds': 'seconds waiting for data',
    'memory/gb': 'memory, GB',
}
_SMOOTHED = 'Faint: as logged. Full: mean over a fiftieth of the run. Dotted: a phase begins.'


def curve_sections(log: Log, run: RunFolder) -> list[dict[str, Any]]:
    """``{title, note, svg}`` of each group of curves that there is something for."""
    # After a kill between the last checkpoint and its scores, these are in the metrics only.
    validation = max(_history(run), _validation(log), key=_last)
    groups = [
        ('Loss', f'{_SMOOTHED} {_total_note(log, run)}', _loss_panels(log)),
        ('Progress', _SMOOTHED, _progress_panels(log)),
        ('Validation', 'Over the iterations; higher is better.', _validation_panels(validation)),
    ]
    marks = _phase_begins(log)
    sections = []
    for name, note, panels in groups:
        if panels:
            for panel in panels:
                panel.marks = marks
            svg = plots.svg(f'{name} over iterations', plots.panels, panels)
            sections.append({'title': name, 'note': note, 'svg': svg})
    return sections


def _total_note(log: Log, run: RunFolder) -> str:
    """What the total is made of."""
    weights = run.config.get('loss_weights')
    weights = weights if isinstance(weights, dict) else {}
    known = [task for task in weights if f'loss/{task}' in log.curves]
    listed = f' ({", ".join(f"{task} {weights[task]}" for task in known)})' if known else ''
    return f'The total is the sum of the tasks, each times its weight{listed}.'


def _loss_panels(log: Log) -> list[Panel]:
    """The total and the tasks together, then the terms of each task."""
    losses = log.below('loss')
    whole = {name: curve for name, curve in losses.items() if '/' not in name}
    panels = [_panel('weighted total, and tasks', whole)] if whole else []
    for task in dict.fromkeys(name.split('/')[0] for name in losses if '/' in name):
        terms = {
            n.removeprefix(f'{task}/'): c for n, c in losses.items() if n.startswith(f'{task}/')
        }
        panels.append(_panel(task, terms))
    return panels


def _progress_panels(log: Log) -> list[Panel]:
    """Of every other curve its own: those that every run has first."""
    shown = ('loss/', 'validation/')
    others = [tag for tag in log.curves if not tag.startswith(shown) and tag != 'phase']
    tags = [*(tag for tag in _PROGRESS if tag in others), *sorted(set(others) - set(_PROGRESS))]
    return [_panel(_PROGRESS.get(tag, tag), {tag: log.curves[tag]}) for tag in tags]


def _panel(name: str, curves: dict[str, Curve]) -> Panel:
    """Smoothed curves over what was logged; on a log axis where they span more than a decade."""
    lines = []
    for index, (label, curve) in enumerate(curves.items()):
        raw = np.asarray(curve.values)
        color = _COLORS.get(label, COLORS[index % len(COLORS)])
        lines.append(Line(label, curve.steps, smooth(raw), color, raw=raw))
    values = np.concatenate([line.y for line in lines])
    values = values[np.isfinite(values)]
    log = len(values) > 0 and values.min() > 0 and values.max() > 10 * values.min()
    return Panel(name, lines, log=log)


def _phase_begins(log: Log) -> list[int]:
    phase = log.curves.get('phase', Curve())
    pairs = zip(phase.values, phase.values[1:], phase.steps[1:], strict=False)
    return [step for before, after, step in pairs if before != after]


Scores = dict[tuple[str, str, str], Curve]
"""(dataset, task, metric) → its values over the iterations."""


def _validation(log: Log) -> Scores:
    found = {}
    for tag, curve in log.below('validation').items():
        if tag.count('/') >= 2:
            dataset, task, metric = tag.rsplit('/', 2)
            found[dataset, task, metric] = curve
    return found


def _history(run: RunFolder) -> Scores:
    """The same from ``metrics.json``, which a run has at its end."""
    found: Scores = {}
    for entry in run.metrics.get('history', []):
        for dataset, tasks in entry['scores'].items():
            for task, scores in tasks.items():
                for metric, value in single_values(scores).items():
                    curve = found.setdefault((dataset, task, metric), Curve())
                    curve.steps.append(entry['iteration'])
                    curve.values.append(value)
    return found


def _last(scores: Scores) -> int:
    """The last iteration that has scores."""
    return max((curve.steps[-1] for curve in scores.values()), default=-1)


def _validation_panels(scores: Scores) -> list[Panel]:
    """One panel for each task and metric, in it a line for each dataset."""
    keys = [key for key in scores if key[2] != COUNT]
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in keys))
    panels = []
    for task in dict.fromkeys(task for _, task, _ in keys):
        metrics = single_values({metric: 0.0 for _, of, metric in keys if of == task})
        for metric in [metric for metric in metrics if metric in HEADLINE] or metrics:
            there = [d for d in datasets if (d, task, metric) in scores]
            lines = [
                Line(d, c.steps, c.values, COLORS[datasets.index(d) % len(COLORS)])
                for d, c in ((d, scores[d, task, metric]) for d in there)
            ]
            panels.append(Panel(f'{task}: {title(task, metric)}', lines))
    return panels
