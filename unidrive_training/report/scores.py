# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics as people call them, and in the order in which they look for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unidrive_training.evaluation.metric_names import THREE_CLASSES, TOOLKIT, metric_name

COUNT = 'images'
"""The one number of a task that is no score."""

SPLIT = 'split'
"""Of which images a task's scores are."""

TRUTHS = 'truths'
"""The one mapping of a task that has no scores, but how much there is to find of each class."""

DRIVABLE_READINGS = (
    'Drivable area is read in two ways. Three classes: direct, alternative and background all '
    'count. BDD100K toolkit: pixels whose truth is background count nowhere, and the mean is '
    'over direct and alternative. Road IoU: direct and alternative as one, against background.'
)

HEADLINE = ('ap', 'ap50', 'ap75', 'mean_iou', 'bdd_mean_iou', 'drivable_iou', 'pixel_accuracy')
"""The metrics to look at first."""


def title(task: str, metric: str) -> str:
    """What a metric is called; of the drivable task, in which of the two readings."""
    if metric.startswith('bdd_'):
        return f'{metric_name(metric)}, {TOOLKIT}'
    if task == 'drivable' and metric not in (COUNT, 'drivable_iou'):
        return f'{metric_name(metric)}, {THREE_CLASSES}'
    return metric_name(metric)


def single_values(scores: Mapping[str, Any]) -> dict[str, float]:
    """``metric → number`` of one task, the usual ones first, then as they come; null is NaN."""
    values = {m: _number(v) for m, v in scores.items() if not isinstance(v, Mapping | list | str)}
    return {metric: values[metric] for metric in sorted(values, key=_rank)}


def class_values(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """``metric → {class: number}`` of one task."""
    return {
        metric: {name: _number(value) for name, value in row.items()}
        for metric, row in scores.items()
        if isinstance(row, Mapping)
    }


def show(value: float | None) -> str:
    """A score 0..1, or a count, as text."""
    if value is None or math.isnan(value):
        return '–'
    return f'{value:,}' if isinstance(value, int) else f'{value:.3f}'


def _number(value: float | None) -> float:
    return float('nan') if value is None else value


def _rank(metric: str) -> int:
    if metric == COUNT:
        return len(HEADLINE) + 1
    return HEADLINE.index(metric) if metric in HEADLINE else len(HEADLINE)
