# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The shipped config, so small that tests can train it."""

from pathlib import Path

from unidrive_training.config import TrainingConfig
from unidrive_training.typed import read_yaml

SHIPPED = Path(__file__).parents[2] / 'config' / 'training' / 'nano.yaml'
_DETECTION = {
    'proposals': 24,
    'stages': 2,
    'dynamic_channels': 8,
    'feedforward': 64,
    'canonical_size': 64,
    'denoising': 12,
}
_MASKS = {
    'channels': 32,
    'mask_channels': 32,
    'pixel_channels': 32,
    'groups': 8,
    'layers': 2,
    'feedforward': 64,
}
_PHASES = (
    {'input_size': [64, 128], 'learning_rate': 4e-3},
    {'input_size': [96, 160], 'learning_rate': 3e-3},
)


def tiny_config(data: Path, iterations: int, **settings) -> TrainingConfig:
    """``nano.yaml`` with the same switches and less of everything, on one dataset.

    Both phases get half of the iterations; a single one belongs to the last, at 160×96.
    """
    values = read_yaml(SHIPPED)
    model = values['model']
    model['backbone']['width'], model['fpn']['channels'] = 16, 32
    for task, smaller in (('detection', _DETECTION), ('semantic', _MASKS), ('drivable', _MASKS)):
        model['heads'][task] |= smaller
    halves = (iterations // 2, iterations - iterations // 2)
    for phase, half, smaller in zip(values['phases'], halves, _PHASES, strict=True):
        phase |= smaller | {'iterations': half, 'batch_size': 6, 'warmup': 10}
    values |= {
        'phases': [phase for phase in values['phases'] if phase['iterations']],
        'data': [{'root': str(data)}],
        'ema_decay': 0.95,
        'workers': 0,
        'log_every': 1,
    }
    return TrainingConfig.model_validate(values | settings)
