# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Tiny classifiers and images for them, for tests."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.classification.data import read_images
from unidrive_training.classification.trainer import ClassifierTrainer

SHIPPED = sorted((Path(__file__).parents[2] / 'config' / 'classification').glob('*.yaml'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Noise that is rather red in one class and rather blue in the other."""
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for split, count in (('train', 20), ('val', 10)):
        for channel, name in ((0, 'blue'), (2, 'red')):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                image[..., channel] = image[..., channel] // 2 + 128
                cv2.imwrite(str(root / split / name / f'{number}.png'), image)
    return root


def tiny(**settings) -> ClassificationConfig:
    """The shipped config for folders with a tiny backbone of random weights."""
    values = yaml.safe_load(next(path for path in SHIPPED if 'folder' in path.name).read_text())
    values |= {
        'backbone': {'name': 'resnet18', 'width': 8},
        'pretrained': None,
        'data': {'dataset': 'folder', 'image_size': 32},
        'epochs': 3,
        'batch_size': 8,
        'warmup': 4,
        'learning_rate': 1e-2,
        'bfloat16': False,
        'workers': 0,
    }
    return ClassificationConfig.model_validate(values | settings)


def trainer(config, folder, out, **options) -> ClassifierTrainer:
    return ClassifierTrainer(config, *read_images(config.data, folder), out, 'cpu', **options)
