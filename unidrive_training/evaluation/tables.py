# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores as text: per task a line for each protocol, then a row for each class."""

from __future__ import annotations

import math

from unidrive_perception.labels import BDD100K_LABELS

# Protocol → the metrics of its line, as they are called there.
_SUMMARY = {
    'detection': {
        'COCO, classes with truth': {
            'ap': 'AP',
            'ap50': 'AP50',
            'ap75': 'AP75',
            'ap_small': 'small',
            'ap_medium': 'medium',
            'ap_large': 'large',
            'ar_100': 'AR100',
        }
    },
    'semantic': {
        'BDD100K toolkit, classes with truth': {
            'mean_iou': 'mIoU',
            'pixel_accuracy': 'pAcc',
            'mean_accuracy': 'mAcc',
            'mean_precision': 'mPrecision',
            'frequency_weighted_iou': 'fIoU',
        }
    },
    'drivable': {
        'BDD100K toolkit, background ignored': {
            'bdd_mean_iou': 'mIoU',
            'bdd_pixel_accuracy': 'pAcc',
            'bdd_frequency_weighted_iou': 'fIoU',
        },
        'plain, background a class like others': {
            'mean_iou': 'mIoU',
            'pixel_accuracy': 'pAcc',
            'mean_accuracy': 'mAcc',
            'mean_precision': 'mPrecision',
            'frequency_weighted_iou': 'fIoU',
        },
        'any road against background': {'drivable_iou': 'IoU'},
    },
}
_COLUMNS = {
    'detection': {'truths': 'truths', 'ap_per_class': 'AP', 'ap50_per_class': 'AP50'},
    'semantic': {'iou': 'IoU', 'accuracy': 'accuracy', 'precision': 'precision'},
    'drivable': {'iou': 'IoU', 'accuracy': 'accuracy', 'precision': 'precision'},
}


def score_table(dataset: str, task: str, scores: dict) -> str:
    """The scores of one task on one dataset."""
    lines = [f'{dataset} · {task} · {scores["images"]} images']
    for protocol, metrics in _SUMMARY[task].items():
        values = (f'{name} {_text(scores[key])}' for key, name in metrics.items())
        lines.append(f'  {", ".join(values)}  ({protocol})')
    return '\n'.join([*lines, *_rows(task, scores)])


def _rows(task: str, scores: dict) -> list[str]:
    columns = _COLUMNS[task]
    classes = [name for name in BDD100K_LABELS[task].names if name in scores[next(iter(columns))]]
    width = max(map(len, classes), default=0)
    rows = [f'    {"":<{width}}  ' + '  '.join(f'{name:>9}' for name in columns.values())]
    for name in classes:
        values = '  '.join(f'{_text(scores[key][name]):>9}' for key in columns)
        rows.append(f'    {name:<{width}}  {values}')
    return rows if classes else []


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return '–' if math.isnan(value) else f'{value:.3f}'
