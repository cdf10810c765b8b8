# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Metrics as people call them: the one vocabulary of tables, pages and comparisons."""

from __future__ import annotations

TOOLKIT = 'BDD100K toolkit'
"""The reading of drivable area that leaves out pixels whose truth is background."""

THREE_CLASSES = 'three classes'
"""The reading of drivable area in which background is a class like the others."""

_NAMES = {
    'ap': 'AP',
    'ap50': 'AP50',
    'ap75': 'AP75',
    'ap_small': 'AP small',
    'ap_medium': 'AP medium',
    'ap_large': 'AP large',
    'ar_100': 'AR 100',
    'mean_iou': 'mIoU',
    'pixel_accuracy': 'pACC',
    'mean_accuracy': 'mACC',
    'mean_precision': 'mean precision',
    'frequency_weighted_iou': 'fwIoU',
    'iou': 'IoU',
    'drivable_iou': 'road IoU',
}


def metric_name(metric: str) -> str:
    """What a metric is called, whatever its reading, over all classes or of each."""
    key = metric.removeprefix('bdd_').removesuffix('_per_class')
    return _NAMES.get(key, key.replace('_', ' '))
