# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The papers' recipes on BDD100K, at full scale: what the configs and run files say."""

import math
import re
from pathlib import Path

import pytest

from unidrive_training.config import load_config, with_base
from unidrive_training.data.settings import load_setting
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.steps import plan

REPO = Path(__file__).parents[2]
FOLDER = REPO / 'config' / 'training'
RUN_FILES = sorted(FOLDER.glob('bdd100k_*.yaml'))
CONFIGS = [
    path
    for path in sorted(FOLDER.glob('*.yaml'))
    if path.stem != 'nano' and 'student' not in with_base(path)
]
TASKS = ('detection', 'semantic', 'drivable')


def steps_of(path):
    return {step.name: step for step in plan(load_experiment(path, []), Path('out'))}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_the_recipe_of_the_papers(path):
    config = load_config(path)
    for phase in config.phases:
        adapts = phase.tuning == 'adapt'
        fresh = phase.tuning == 'prompt-blocks'  # heads and prompts learn at the higher rate
        assert phase.learning_rate == (2.5e-4 if adapts or fresh else 2.5e-5)
        assert (phase.batch_size, phase.input_size) == (16, (736, 1280))
        assert phase.decay == ('constant' if adapts else 'steps')
        assert phase.warmup_factor == 0.01
        short = adapts and len(config.model.heads) == 1  # an epoch of 7000 images
        assert phase.warmup == (100 if short else 1000)
    assert math.fsum(phase.epochs for phase in config.phases) == 36
    assert config.phases[-1].milestones == pytest.approx((0.778, 0.926), abs=1e-3)
    assert (config.weight_decay, config.clip_norm, config.ema_decay) == (1e-4, 1.0, 0)
    assert tuple(config.loss_weights.model_dump().values()) == (1.0, 0.7, 0.7)
    assert config.model.sync_batchnorm and config.schedule == 'joint'
    changes = config.augmentation.model_dump()
    assert changes.pop('short_sides') == (720, 600) and changes.pop('scale') == (1, 1)
    assert not any(changes.values())


@pytest.mark.parametrize('path', RUN_FILES, ids=lambda path: path.stem)
def test_a_run_file_has_all_steps_on_one_setting(path):
    steps = steps_of(path)
    teachers = [f'teachers/{task}' for task in TASKS]
    assert list(steps)[:5] == [*teachers, 'pseudo_labels/bdd', 'student']
    assert list(steps)[5:7] == ['evaluation', 'bundle']
    setting = load_setting(path.stem.split('_', 2)[-1].replace('adapter_', '').replace('_', '-'))
    for name in (*teachers, 'student'):
        (source,) = steps[name].config.data
        assert (str(source.root), source.setting) == ('data/bdd100k', setting.name)
        assert (source.pseudo is not None) == (name == 'student')
        assert (
            steps[name].config.validation == (source.root,) and steps[name].config.evaluate_every
        )
    labels = ' '.join(steps['pseudo_labels/bdd'].arguments)
    assert f'--setting {setting.name}' in labels
    assert '--box-score 0.5 --mask-confidence 0.3' in labels


def test_the_students_are_of_two_kinds():
    assert len(RUN_FILES) == 6
    for path in RUN_FILES:
        student = steps_of(path)['student'].config
        spoken = 'lv_adapter' in path.stem
        assert student.model.backbone['name'] == ('clip_rn50' if spoken else 'resnet50')
        assert (student.model.language is not None) == spoken
        assert [phase.tuning for phase in student.phases] == ['adapt', 'finetune']
        assert [phase.epochs for phase in student.phases] == [1, 35]


def test_nuimages_has_two_tasks(monkeypatch):
    monkeypatch.setenv('NUIMAGES', '/data/nuimages')
    path = FOLDER / 'nuimages_lv_adapter.yaml'
    steps = {step.name: step for step in plan(load_experiment(path, []), Path('out'))}
    assert list(steps) == ['data/nuimages', 'student', 'evaluation', 'bundle', 'report']
    assert steps['data/nuimages'].arguments[:3] == ('convert', 'nuimages', '/data/nuimages')
    student = steps['student'].config
    assert list(student.model.heads) == ['detection', 'semantic'] and student.model.language
    assert student.data[0].tasks == ('detection', 'semantic')
    baseline = ['student.base=' + str(FOLDER / 'self_training_resnet50.yaml')]
    student = plan(load_experiment(path, baseline), Path('out'))[1].config
    assert list(student.model.heads) == ['detection', 'semantic'] and not student.model.language
    assert [phase.tuning for phase in student.phases] == ['finetune']


def test_epochs_are_of_the_labelled_images():
    steps = steps_of(FOLDER / 'bdd100k_resnet50_disjoint_normal.yaml')
    labelled = load_setting('disjoint-normal').labelled
    iterations = {
        task: steps[f'teachers/{task}'].config.phases[0].length(labelled[task]) for task in TASKS
    }
    assert iterations == {'detection': 22_500, 'semantic': 15_750, 'drivable': 45_000}
    phases = steps['student'].config.phases
    assert [phase.length(sum(labelled.values())) for phase in phases] == [2313, 80_938]


def test_the_document_names_configs_that_are_there():
    text = (REPO / 'docs' / 'models.md').read_text()
    section = text[text.index('## The papers') :]
    cells = [line.rstrip(' |').rpartition('|')[2] for line in section.splitlines() if '|' in line]
    named = {name for cell in cells for name in re.findall(r'`(\w+)`', cell)}
    named &= {name for name in named if '_' in name}
    assert len(named) > 15
    paths = [FOLDER / f'{name}.yaml' for name in named]
    assert not [path.name for path in paths if not path.is_file()]
    for command in re.findall(r'config/(?:training|classification)/[a-z]\w+\.yaml', section):
        assert (REPO / command).is_file(), command
