# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a checkpoint is one of the config that goes on from it."""

import pytest
from tiny_training import tiny_config

from unidrive_perception.errors import UserError
from unidrive_training.engine.checkpoint import open_run, save_checkpoint


@pytest.fixture
def old_run(tmp_path):
    """Of a UniDrive that did not know three of today's settings; and the config of today."""
    (tmp_path / 'run').mkdir()
    config = tiny_config(tmp_path, 2, augmentation={'flip': 0.5})
    then = config.model_dump(mode='json')
    del then['accumulate'], then['augmentation']['hue'], then['data'][0]['pseudo']
    save_checkpoint(tmp_path / 'run', {'config': then}, 1)
    return tmp_path / 'run', config


def test_a_setting_that_was_not_known_is_at_its_default(old_run):
    assert open_run(*old_run) is not None


@pytest.mark.parametrize(
    ('key', 'value', 'change'),
    [
        ('accumulate', 2, 'accumulate was absent, is 2'),
        ('seed', 1, 'seed was 0, is 1'),
        ('task_epochs', {'semantic': 2}, r'task_epochs\.semantic was absent, is 2'),
    ],
)
def test_another_config_is_refused(old_run, key, value, change):
    folder, config = old_run
    config = config.model_copy(update={key: value})
    with pytest.raises(UserError, match=rf'another config \({change}'):
        open_run(folder, config)
    assert open_run(folder, config, free=[key]) is not None
