# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One run file is a list of commands; what is wrong with it is said before they begin."""

import re

import pytest
import yaml
from small_experiment import (
    SCENES,
    TASKS,
    run_file,  # noqa: F401
    steps_of,
)

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import load_config
from unidrive_training.experiment.checks import check_arguments
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.steps import option_arguments


def test_an_experiment_is_a_list_of_commands(run_file, tmp_path):
    out = tmp_path / 'out'
    _, steps = steps_of(run_file(), out)
    assert [step.name for step in steps] == [
        *('data/scenes', 'data/drive', 'pretrain'),
        *(f'teachers/{task}' for task in TASKS),
        *('pseudo_labels/drive', 'student', 'evaluation', 'bundle', 'report'),
    ]
    commands = {step.name: ' '.join(step.arguments) for step in steps}
    assert commands['data/scenes'] == (
        f'scenes {out}/data/scenes --drives 2 --frames 2 --stride 10 --val-drives 1 --size 320x180'
    )
    assert commands['teachers/semantic'] == (
        f'train {out}/configs/teachers/semantic.yaml {out}/teachers/semantic'
    )
    assert commands['pseudo_labels/drive'].startswith(
        f'pseudo-label {out}/data/drive {out}/pseudo_labels/drive '
        f'--teacher detection={out}/teachers/detection '
    )
    assert commands['pseudo_labels/drive'].endswith('--box-score 0.4 --mask-confidence 0.3')
    needs = {step.name: set(step.needs) for step in steps}
    assert needs['student'] == {'data/scenes', 'data/drive', 'pretrain', 'pseudo_labels/drive'}
    assert not out.exists()


def test_every_command_knows_its_arguments(run_file, tmp_path):
    limited = {'scenes': SCENES, 'tasks': ['semantic', 'detection'], 'setting': 'full'}
    values = yaml.safe_load(run_file().read_text())
    values['data']['scenes'] = limited
    values['teachers'].pop('drivable')
    values['pseudo_labels']['data'].append('scenes')
    _, steps = steps_of(run_file(**values), tmp_path / 'out')
    assert {step.arguments[0] for step in steps} == {
        *('scenes', 'frames', 'train', 'pseudo-label', 'evaluate', 'export', 'report')
    }
    for step in steps:
        check_arguments(step)


def test_training_configs_are_complete(run_file, tmp_path):
    out = tmp_path / 'out'
    path = run_file()
    _, steps = steps_of(path, out, 'pretrain.seed=9', 'student.phases.1.iterations=7')
    configs = {step.name: step.config for step in steps if step.config}
    assert {name: config.seed for name, config in configs.items()} == {
        'pretrain': 9,
        **{f'teachers/{task}': 5 for task in TASKS},
        'student': 5,
    }
    for task in TASKS:
        config = configs[f'teachers/{task}']
        assert list(config.model.heads) == [task]
        assert config.data[0].tasks == (task,)
        assert config.pretrained.backbone.format == 'unidrive'
        assert config.pretrained.backbone.file == out / 'pretrain'
    assert configs['pretrain'].pretrained.backbone is None
    student = configs['student']
    assert student.name == 'small_student'
    assert [phase.iterations for phase in student.phases] == [1, 7]
    sources = {source.root.name: source for source in student.data}
    assert (sources['scenes'].weight, sources['drive'].weight) == (3, 1)
    assert sources['scenes'].pseudo is None
    assert sources['drive'].pseudo == out / 'pseudo_labels' / 'drive'


def test_only_the_joint_schedule_learns_from_pseudo_labels(run_file, tmp_path):
    _, steps = steps_of(run_file(), tmp_path / 'out', 'student.schedule=zeroing')
    names = [step.name for step in steps]
    assert 'data/drive' not in names and 'pseudo_labels/drive' not in names
    student = steps[names.index('student')].config
    assert [source.root.name for source in student.data] == ['scenes']


def test_a_student_may_start_from_all_weights(run_file, tmp_path):
    given = ('student.backbone_from=null', 'student.weights_from=pretrain')
    _, steps = steps_of(run_file(), tmp_path / 'out', *given)
    student = next(step for step in steps if step.name == 'student')
    assert student.arguments[-2:] == ('--init', str(tmp_path / 'out' / 'pretrain'))
    assert 'pretrain' in student.needs and student.config.pretrained.backbone is None
    with pytest.raises(UserError, match=r'student\.weights_from: the backbone of pretrain'):
        steps_of(run_file(), tmp_path / 'out', *given, 'student.model.backbone.width=32')


def test_what_starts_from_scratch_nevertheless_is_said(run_file, tmp_path, capsys):
    given = ['teachers.semantic.backbone_from=null', 'teachers.semantic.weights_from=pretrain']
    path, out = run_file(), tmp_path / 'out'
    steps_of(path, out, *given)
    assert capsys.readouterr().out == ''  # other heads are not missed
    given.append('teachers.semantic.model.adapter={name: pre_scalar}')
    steps_of(path, out, *given)
    told = 'teachers/semantic: adapter from scratch, as pretrain has nothing that fits\n'
    assert capsys.readouterr().out == told
    steps_of(path, out, *given, 'teachers.semantic.model.fpn.channels=64')
    told = capsys.readouterr().out
    assert re.match(
        r'teachers/semantic: fpn, adapter, heads\.semantic \(6 of 72 weights\) from', told
    )
    assert told.count('\n') == 1


def test_a_run_file_may_build_on_another(run_file, tmp_path):
    """From another folder: bases of trainings stay beside the file that names them."""
    run_file()
    (tmp_path / 'more').mkdir()
    path = tmp_path / 'more' / 'longer.yaml'
    path.write_text('base: ../small.yaml\nname: longer\npretrain: null\n')
    with pytest.raises(UserError, match=r'backbone_from: there is no pretrain'):
        load_experiment(path, [])
    teachers = ''.join(f'  {task}: {{backbone_from: null}}\n' for task in TASKS)
    path.write_text(
        'base: ../small.yaml\nname: longer\npretrain: null\nstudent: {backbone_from: null}\n'
        f'teachers:\n{teachers}'
    )
    experiment, steps = steps_of(path, tmp_path / 'out', 'teachers.drivable=null')
    assert experiment.name == 'longer'
    assert [s.name for s in steps if s.config] == [
        'teachers/detection',
        'teachers/semantic',
        'student',
    ]
    assert steps[-4].config.pretrained.backbone is None


def test_folders_may_be_named_by_variables(run_file, tmp_path, monkeypatch):
    path = run_file(data={'scenes': {'root': '${STREETS}/a'}, 'drive': {'frames': ['${STREETS}']}})
    monkeypatch.delenv('STREETS', raising=False)
    with pytest.raises(UserError, match='environment variable STREETS, which is not set'):
        load_experiment(path, [])
    monkeypatch.setenv('STREETS', str(tmp_path))
    with pytest.raises(UserError, match=f'{tmp_path}/a: no such folder'):
        steps_of(path, tmp_path / 'out')
    (tmp_path / 'a').mkdir()
    _, steps = steps_of(path, tmp_path / 'out')
    assert steps[0].name == 'data/drive'  # the other is there already


@pytest.mark.parametrize(
    ('override', 'sentence'),
    [
        ('sead=1', r'sead: no such setting'),
        ('nonsense', r'nonsense: give KEY=VALUE'),
        ('student.phasse=1', r'student: phasse: no such setting'),
        ('teachers.semantic.phases.0.learning_rate=fast', r'phases\.0\.learning_rate'),
        ('teachers.depth={}', r'teachers\.depth'),
        (
            'student.data=[scenes, moon]',
            r'student\.data: no moon in data, which has scenes, drive',
        ),
        ('teachers.semantic.data=[drive]', r'teachers\.semantic\.data: drive has no labels'),
        ('evaluation.data=[drive]', r'evaluation\.data: drive has no labels'),
        ('pseudo_labels=null', r'student\.data: drive has no labels'),
        ('pretrain.backbone_from=pretrain', r'there is no pretrain before it'),
        ('pretrain.weights_from=pretrain', r'weights_from: there is no pretrain before it'),
        ('student.weights_from=pretrain', r'student: give weights_from or backbone_from, not'),
        ('teachers={}', r'pseudo_labels needs teachers'),
        ('student.model.backbone.width=32', r'student\.backbone_from: the backbone of pretrain'),
        ('pretrain.model.heads.semantic.name=yolo', r"pretrain: head: unknown name 'yolo'"),
        ('student.phases.0.batch_size=1', r'student: batch_size 1 is smaller than the 2'),
        ('data.scenes.root=x', r'data\.scenes: give exactly one of root, convert, scenes, frames'),
        (
            'data.drive.rat=3',
            r'data/drive: unrecognized arguments: --rat 3 \(did you mean --rate\?\); see `',
        ),
        ('data.scenes.scenes.drives=two', r'data/scenes: argument --drives: invalid int value'),
        (
            'data.scenes.scenes.drive=2',
            r'data/scenes: unrecognized arguments: --drive 2 .*--drives\?',
        ),
        ('data.scenes.frames=[nowhere.bag]', r'exactly one'),
        ('data.drive.frames=[nowhere.bag]', r'data\.drive: there is no nowhere\.bag'),
        ('data.drive.setting=moon', r'moon: no such setting'),
        ('student.base=none.yaml', r'there is no base none\.yaml'),
    ],
)
def test_what_is_wrong_is_said_before_anything_begins(
    run_file, tmp_path, capsys, override, sentence
):
    assert main(['run', str(run_file()), str(tmp_path / 'out'), override]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    with pytest.raises(UserError, match=sentence):
        raise UserError(error)
    assert not (tmp_path / 'out').exists()


def test_a_dry_run_only_writes_configs(run_file, tmp_path, capsys):
    out = tmp_path / 'out'
    command = ['run', str(run_file()), str(out), '--dry-run', '--processes', '2']
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert '[1/11] data/scenes: to do\n    unidrive scenes ' in printed
    launcher = 'torchrun --standalone --nproc-per-node 2 -m unidrive_training.cli'
    assert f'    {launcher} train {out}/configs/student.yaml {out}/student\n' in printed
    assert f'    unidrive export {out}/student {out}/bundle' in printed
    assert [path.name for path in out.iterdir()] == ['configs']
    _, steps = steps_of(run_file(), out)
    for step in steps:
        if step.config:
            assert load_config(step.arguments[1]) == step.config


def test_out_is_the_same_however_it_is_written(run_file, tmp_path, monkeypatch):
    """What was begun as runs/a goes on as /…/runs/a."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to(tmp_path)
    written = []
    for out in ('out', './link/out', str(tmp_path / 'out')):
        assert main(['run', str(run_file()), out, '--dry-run']) == 0
        written.append((tmp_path / 'out' / 'configs' / 'student.yaml').read_text())
    assert f'root: {tmp_path}/out/data/scenes' in written[0]
    assert written[1:] == written[:1] * 2


def test_settings_may_stand_behind_options(run_file, tmp_path, capsys):
    command = ['run', str(run_file()), str(tmp_path / 'out'), 'pretrain.seed=8', '--processes']
    assert main([*command, '2', 'student.seed=9', '--dry-run', 'name=other']) == 0
    configs = tmp_path / 'out' / 'configs'
    assert load_config(configs / 'pretrain.yaml').seed == 8
    student = load_config(configs / 'student.yaml')
    assert (student.seed, student.name) == (9, 'other_student')
    with pytest.raises(SystemExit):
        main([*command, '2', '--dry-run', '--moon=1', 'seed=1'])
    assert 'unrecognized arguments: --moon=1\n' in capsys.readouterr().err


def test_options_as_a_command_line_has_them():
    options = {'val_drives': 2, 'keep': {'semantic': 0.5, 'drivable': 1}, 'topic': ['/a', '/b']}
    expected = '--val-drives 2 --keep semantic=0.5 --keep drivable=1 --topic /a --topic /b'
    assert option_arguments(options) == expected.split()
    assert option_arguments({'quiet': True, 'loud': False}) == ['--quiet']
