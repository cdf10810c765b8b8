# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Data that several training tests share."""

import sys
from pathlib import Path

import pytest

from unidrive_training.scenes.dataset import SceneSet, write_dataset

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope='session')
def scenes(tmp_path_factory) -> Path:
    """A small generated dataset: 48 training and 12 held-out frames of different streets."""
    root = tmp_path_factory.mktemp('data') / 'scenes'
    size = {'image_size': (180, 320), 'stride': 10}
    write_dataset(root, 'train', SceneSet(drives=8, frames=6, seed=3, **size))
    write_dataset(root, 'val', SceneSet(drives=4, frames=3, seed=3, validation=True, **size))
    return root


@pytest.fixture(scope='session')
def oracles() -> Path:
    """Reference numbers of the official implementations."""
    folder = Path(__file__).resolve().parents[3] / 'shared' / 'oracles'
    if not folder.is_dir():
        pytest.skip('no reference numbers: ../shared/oracles is missing')
    return folder
