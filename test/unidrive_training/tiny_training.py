# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A model and a config so small that tests can train them."""

from pathlib import Path

from unidrive_training.config import TrainingConfig

MASK_HEAD = {
    'name': 'maskformer',
    'queries': 24,
    'channels': 32,
    'mask_channels': 32,
    'pixel_channels': 32,
    'groups': 8,
    'layers': 2,
    'attention_heads': 4,
    'feedforward': 64,
    'dropout': 0.0,
    'loss_stride': 4,
    'output_stride': 2,
}
MODEL = {
    'backbone': {'name': 'resnet18', 'width': 16},
    'fpn': {'channels': 32},
    'heads': {
        'detection': {
            'name': 'sparse_rcnn',
            'proposals': 24,
            'stages': 2,
            'dynamic_channels': 8,
            'attention_heads': 4,
            'feedforward': 64,
            'canonical_size': 64,
            'sampling_ratio': 1,
            'proposal_init': 'dataset',
        },
        'semantic': MASK_HEAD,
        'drivable': MASK_HEAD | {'queries': 8},
    },
}


def tiny_config(data: Path, iterations: int, **settings) -> TrainingConfig:
    """A config on one dataset at 160×96."""
    phase = {
        'input_size': [96, 160],
        'iterations': iterations,
        'batch_size': 6,
        'learning_rate': 2e-3,
        'warmup': 10,
    }
    values = {
        'name': 'tiny',
        'model': MODEL,
        'data': [{'root': str(data)}],
        'phases': [phase],
        'ema_decay': 0.95,
        'bfloat16': False,
        'workers': 0,
        'log_every': 1,
    }
    return TrainingConfig.model_validate(values | settings)
