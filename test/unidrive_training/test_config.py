# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Configs are typed: what is wrong is said before any work starts."""

import re

import pytest
import torch

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import load_config, with_base
from unidrive_training.engine.cli import check_device
from unidrive_training.models.multitask import MultiTaskModel


def config_path(repo_root, name='nano'):
    return repo_root / 'config' / 'training' / f'{name}.yaml'


def test_every_shipped_config_builds_its_model(repo_root):
    paths = sorted((repo_root / 'config' / 'training').glob('*.yaml'))
    configs = [path for path in paths if 'student' not in with_base(path)]  # but run files
    assert configs
    for path in configs:
        config = load_config(path)
        with torch.device('meta'):  # test_tuning.py trains them
            model = MultiTaskModel(config.model)
        assert set(model.heads) == set(config.model.heads)


def test_overrides_reach_nested_settings(repo_root):
    overrides = ['phases.0.iterations=7', 'model.fpn.channels=48', 'augmentation.flip=0.0']
    config = load_config(config_path(repo_root), overrides)
    assert config.phases[0].iterations == 7
    assert config.model.fpn.channels == 48
    assert config.augmentation.flip == 0.0


def test_an_override_changes_one_place(repo_root):
    """nano.yaml says a head once and repeats it by an alias."""
    override = 'model.heads.semantic.loss_weights.pixel=1.5'
    heads = load_config(config_path(repo_root), [override]).model.heads
    assert heads['semantic']['loss_weights'] == {'pixel': 1.5}
    assert heads['drivable']['loss_weights'] == {'pixel': 2.0}


def test_null_takes_away(repo_root, tmp_path):
    """What a file sets, a base or not, and what it does not."""
    nano = config_path(repo_root)
    heads = ['model.heads.semantic=null', 'model.heads.drivable=null']
    assert list(load_config(nano, heads).model.heads) == ['detection']
    config = load_config(nano, ['ema_decay=null', 'phases.0=null', 'pretrained=null', 'seed=null'])
    assert (config.ema_decay, config.seed, len(config.phases)) == (0, 0, 1)
    detector = config_path(repo_root, 'teacher_detection')
    assert list(load_config(detector, heads).model.heads) == ['detection']
    with pytest.raises(UserError, match='name: missing'):
        load_config(nano, ['name=null'])
    (tmp_path / 'a.yaml').write_text(f'base: {nano}\nname: a\nmodel: {{heads: {{semantic: }}}}')
    assert set(load_config(tmp_path / 'a.yaml').model.heads) == {'detection', 'drivable'}


@pytest.mark.parametrize(
    ('override', 'named'),
    [
        ('sead=1', 'sead'),
        ('sead=null', 'sead: no such setting (got None); is it seed?'),
        ('model.heads.segmentation=null', 'model.heads.segmentation'),
        ('model.seed=3', 'model.seed: no such setting (got 3)$'),
        ('phases.0.learning_rate=fast', 'phases.0.learning_rate'),
        ('model.fpn.chanels=3', 'model.fpn.chanels'),
        ('nonsense', 'KEY=VALUE'),
        ('phases.9.iterations=1', 'phases.9.iterations'),
        ('seed.x=1', 'seed.x'),
        ('phases.0.input_size=[150, 256]', 'multiple of 32'),
        ('phases.0.iterations=0', 'phases.0.iterations'),
        ('model.heads.segmentation={}', 'model.heads.segmentation'),
        ('data=[{root: x, weight: 0}]', 'weight'),
        ('phases=[]', 'phases'),
    ],
)
def test_a_wrong_setting_is_named(repo_root, override, named):
    named = re.sub(r'[.?()]', r'\\\g<0>', named)
    with pytest.raises(UserError, match=named):
        load_config(config_path(repo_root), [override])


def test_a_file_for_another_command_is_said_to_be_one(repo_root, tmp_path, capsys):
    classifier = repo_root / 'config' / 'classification' / 'pro_tuning_resnet18_crops.yaml'
    nano, experiment = config_path(repo_root), config_path(repo_root, 'street_mini')
    for command, path, sentence in (
        ('run', nano, 'is a training config; give it to `unidrive train`'),
        ('train', experiment, 'is a run file; give it to `unidrive run`'),
        ('train', classifier, 'is the config of an image classifier; give it to'),
        ('classify', nano, 'is a training config; give it to `unidrive train`'),
    ):
        images = ['--data', str(tmp_path)] * (command == 'classify')
        assert main([command, str(path), str(tmp_path / 'out'), *images]) == 2
        assert f'unidrive: error: {path} {sentence}' in capsys.readouterr().err


def test_command_line_errors_are_one_sentence(repo_root, tmp_path, capsys):
    assert main(['train', str(tmp_path / 'none.yaml'), str(tmp_path / 'run')]) == 2
    assert 'none.yaml' in capsys.readouterr().err
    assert main(['train', str(config_path(repo_root)), str(tmp_path / 'run')]) == 2
    assert '--data' in capsys.readouterr().err
    broken = tmp_path / 'broken.yaml'
    broken.write_text('a: [')
    assert main(['train', str(broken), str(tmp_path / 'run')]) == 2
    error = capsys.readouterr().err
    assert 'broken.yaml' in error and error.count('\n') == 1
    assert main(['evaluate', str(tmp_path / 'nothing'), str(tmp_path)]) == 2
    assert 'nothing' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--device', 'tpu'], '--device tpu cannot be used here; give one of cpu'),
        (['--device', 'cuda:99'], '--device cuda:99 cannot be used here'),
        (['--data', 'folder:0'], '--data folder:0: share must be greater than 0'),
        (['--data', 'folder:-1'], '--data folder:-1: share must be greater than 0'),
        (['--data', 'folder:nan'], '--data folder:nan: share must be greater than 0'),
        (['--data', 'folder:2'], 'folder: no such folder'),
        (['--data', 'fol:der'], 'fol:der: no such folder'),
    ],
)
def test_train_says_what_is_wrong(repo_root, tmp_path, capsys, arguments, sentence):
    command = ['train', str(config_path(repo_root)), str(tmp_path / 'run'), '--device', 'cpu']
    assert main([*command, *arguments]) == 2
    assert f'unidrive: error: {sentence}' in capsys.readouterr().err


def test_a_gpu_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(UserError, match='--device cuda cannot be used here; give one of cpu'):
        check_device('cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    check_device('cuda')
    check_device('cuda:1')
    with pytest.raises(UserError, match='one of cpu, cuda, cuda:0, cuda:1'):
        check_device('cuda:2')
