# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores as text: per task a line for each protocol, then a row for each class."""

from __future__ import annotations

import math

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.evaluation.metric_names import THREE_CLASSES, TOOLKIT, metric_name

_PLAIN = (
    'mean_iou',
    'pixel_accuracy',
    'mean_accuracy',
    'mean_precision',
    'frequency_weighted_iou',
)
# Protocol → the metrics of its line.
_SUMMARY = {
    'detection': {
        'COCO, classes with truth': (
            *('ap', 'ap50', 'ap75'),
            *('ap_small', 'ap_medium', 'ap_large', 'ar_100'),
        )
    },
    'semantic': {f'{TOOLKIT}, classes with truth': _PLAIN},
    'drivable': {
        f'{TOOLKIT}, background ignored': (
            'bdd_mean_iou',
            'bdd_pixel_accuracy',
            'bdd_frequency_weighted_iou',
        ),
        f'{THREE_CLASSES}, background one of them': _PLAIN,
        'any road against background': ('drivable_iou',),
    },
}
_COLUMNS = {
    'detection': ('truths', 'ap_per_class', 'ap50_per_class'),
    'semantic': ('iou', 'accuracy', 'precision'),
    'drivable': ('iou', 'accuracy', 'precision'),
}


def score_table(dataset: str, task: str, scores: dict) -> str:
    """The scores of one task on one dataset."""
    lines = [f'{dataset} · {task} · {scores["images"]} images']
    for protocol, metrics in _SUMMARY[task].items():
        values = (f'{metric_name(metric)} {_text(scores[metric])}' for metric in metrics)
        lines.append(f'  {", ".join(values)}  ({protocol})')
    return '\n'.join([*lines, *_rows(task, scores)])


def _rows(task: str, scores: dict) -> list[str]:
    columns = _COLUMNS[task]
    classes = [name for name in BDD100K_LABELS[task].names if name in scores[columns[0]]]
    width = max(map(len, classes), default=0)
    headings = '  '.join(f'{metric_name(metric):>9}' for metric in columns)
    rows = [f'    {"":<{width}}  {headings}']
    for name in classes:
        values = '  '.join(f'{_text(scores[key][name]):>9}' for key in columns)
        rows.append(f'    {name:<{width}}  {values}')
    return rows if classes else []


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return '–' if math.isnan(value) else f'{value:.3f}'
