# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Training a classifier: scores, resuming, files of the run, errors."""

import re
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from small_classifier import SHIPPED, folder, tiny, trainer  # noqa: F401

from unidrive_perception.errors import UserError
from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.classification.trainer import ClassifierTrainer, Scores, learning_rate
from unidrive_training.cli import main
from unidrive_training.engine import run_lock
from unidrive_training.engine.checkpoint import read_checkpoint
from unidrive_training.engine.run_lock import only_one
from unidrive_training.evaluation.metrics_file import read_metrics
from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.typed import parse, read_json, read_yaml


@pytest.mark.parametrize('tuning', ['prompt-blocks', 'head'])
def test_a_frozen_backbone_is_the_same_after_training(folder, tmp_path, tuning):
    prompts = {} if tuning == 'prompt-blocks' else None
    run = trainer(tiny(tuning=tuning, prompts=prompts, epochs=1), folder, tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.run()
    learned = ('head.', 'backbone.prompts.')
    for name, value in run.model.state_dict().items():
        same = torch.equal(value, before[name])
        if not name.startswith(learned):  # weights, and the statistics of batch norms
            assert same, name
        elif name.endswith(('head.weight', 'beta', 'running_mean')):
            assert not same, name


def command(config, folder, out) -> list[str]:
    path = out.with_suffix('.yaml')
    path.write_text(yaml.safe_dump(config.model_dump(mode='json')))
    return ['classify', str(path), str(out), '--data', str(folder), '--device', 'cpu']


def test_it_learns_to_tell_two_classes(folder, tmp_path, capsys, monkeypatch):
    arguments = command(tiny(epochs=6), folder, tmp_path / 'run')
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert 'prompt blocks' in printed and 'random weights' in printed
    last = printed.strip().splitlines()[-1]
    assert float(last.split()[1].rstrip(',')) >= 0.9, last
    monkeypatch.setattr(ClassifierTrainer, 'evaluate', None)
    assert main(arguments) == 0  # trained: its scores again
    again = capsys.readouterr().out.strip()
    assert again == f'{tmp_path / "run"} is trained already: {last.split(" in ")[0]}'


def test_a_run_keeps_what_it_measured_and_compares(folder, tmp_path, capsys):
    runs = [tmp_path / 'first', tmp_path / 'second']
    for seed, run in enumerate(runs):
        assert main(command(tiny(epochs=1, seed=seed), folder, run)) == 0
        printed = capsys.readouterr().out.strip().splitlines()[-1]
        metrics = read_metrics(run)
        row = metrics['scores'][folder.name]['classification']
        assert f'top-1 {row["top1"]:.4f}, mean over classes' in printed
        assert row['images'] == 20 and row['split'] == 'val'
        assert set(row['accuracy_per_class']) == {'blue', 'red'}
        facts = metrics['facts']
        assert (facts['seed'], facts['epochs'], facts['iterations']) == (seed, 1, 5)
        assert 0 < facts['trained_parameters'] < facts['parameters'] and facts['seconds'] > 0
        assert facts['versions']['torch'] and facts['machine']['cpu']
        config = parse(ClassificationConfig, read_yaml(run / 'config.yaml'), 'run')
        assert config.seed == read_json(run / 'environment.json', '')['seed'] == seed
        assert not list(run.glob('*.part'))
    assert main(['compare', *map(str, runs)]) == 0
    table = capsys.readouterr().out
    assert f'{folder.name} · classification' in table and 'warning' not in table
    for shown in ('top1', 'mean class accuracy', 'trained parameters', 'epochs', 'seed'):
        assert re.search(rf'^ +{shown} +\S+ +\S+', table, re.MULTILINE), shown
    assert main(['report', str(runs[0])]) == 0
    page = (runs[0] / 'report.html').read_text()
    assert 'classification: scores of the classes' in page and 'cannot be shown' not in page


def test_one_run_at_a_time_in_a_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_lock, 'only_one', partial(only_one, patience=0))
    arguments = command(tiny(epochs=1), folder, tmp_path / 'run')
    with only_one(tmp_path / 'run'):
        assert main(arguments) == 2
    assert 'is at work here' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_a_run_goes_on_only_where_its_files_can_be_read(folder, tmp_path, capsys):
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'environment.json').write_text('{"seed"')
    assert main(command(tiny(epochs=1), folder, run)) == 2
    error = capsys.readouterr().err
    assert 'environment.json is no JSON' in error and error.count('\n') == 1


class _Killed(Exception):
    pass


@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path, monkeypatch, optimizer):
    config = tiny(optimizer=optimizer)
    whole = trainer(config, folder, tmp_path / 'whole')
    scores = whole.run()
    train_epoch = ClassifierTrainer._train_epoch

    def killed(self):
        if self.epoch == 2:
            raise _Killed
        return train_epoch(self)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(ClassifierTrainer, '_train_epoch', killed)
        trainer(config, folder, tmp_path / 'cut').run()
    resumed = trainer(config, folder, tmp_path / 'cut')
    assert resumed.epoch == 2
    assert resumed.run() == scores
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    other = config.model_copy(update={'seed': 1})
    with pytest.raises(UserError, match=r'another config \(seed was 0, is 1\)'):
        trainer(other, folder, tmp_path / 'cut')


def test_a_pretrained_backbone_is_loaded(folder, tmp_path, capsys):
    torch.manual_seed(7)
    backbone = ImageClassifier({'name': 'resnet18', 'width': 8}, None, 2).backbone
    torch.save(backbone.state_dict(), tmp_path / 'backbone.pth')
    file = {'file': str(tmp_path / 'backbone.pth'), 'format': 'torchvision'}
    run = trainer(tiny(pretrained=file, epochs=1), folder, tmp_path / 'run')
    run.run()
    kept = read_checkpoint(tmp_path / 'run')['model']
    for name, value in backbone.state_dict().items():
        assert torch.equal(kept[f'backbone.{name}'], value)
    assert 'backbone.pth' in capsys.readouterr().out


def test_scores_weigh_images_or_classes():
    scores = Scores.of(np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]]))
    assert scores.top1 == pytest.approx(9 / 12)
    assert scores.mean_class == pytest.approx((0.8 + 0.5) / 2)
    np.testing.assert_allclose(scores.per_class, [0.8, 0.5, np.nan])


def test_the_rate_rises_and_falls():
    config = tiny(warmup=4, learning_rate=1.0)
    rates = [learning_rate(config, i, 20) for i in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] < 0.02


@pytest.mark.parametrize(
    'settings, message',
    [
        (['tuning=prompts'], "tuning: Input should be 'finetune'.*got 'prompts'"),
        (['tuning=head'], 'prompts=null'),
        (['tuning=adapt'], 'trains no classifier'),
        (['prompts=null'], 'needs prompt blocks'),
        (['tuning=scratch'], 'pretrained=null'),
        (['prompts.size=3'], 'prompts.size: no such setting'),
        (['pretrained.file=absent.pth'], 'absent.pth: No such file'),
        (['pretrained=null', 'prompts.places=[4]'], 'places 0 to 3'),
        (['pretrained=null', 'backbone.name=resnet'], "unknown name 'resnet'; known"),
    ],
)
def test_settings_that_cannot_work_are_said(folder, tmp_path, capsys, settings, message):
    path = next(path for path in SHIPPED if 'folder' in path.name)
    arguments = ['classify', str(path), str(tmp_path / 'run'), '--data', str(folder)]
    for setting in settings:
        arguments += ['--set', setting]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
