# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One run file, a list of commands, and what is done already is not done again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from drive_bags import FRONT, write_drive
from sample_bags import write_images
from tiny_training import tiny_config

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import load_config
from unidrive_training.data.bdd100k import read_split
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.experiment import runner
from unidrive_training.experiment.checks import check, check_arguments
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.ledger import Ledger
from unidrive_training.experiment.runner import run_steps
from unidrive_training.experiment.steps import option_arguments, plan

SCENES = {'drives': 2, 'frames': 2, 'stride': 10, 'val_drives': 1, 'size': '320x180'}
TASKS = ('detection', 'semantic', 'drivable')


@pytest.fixture
def run_file(tmp_path):
    """Writes a small experiment with every kind of step; ``changes`` replace keys of the top."""
    base = tiny_config(tmp_path, 2).model_dump(mode='json', exclude={'data', 'name'})
    (tmp_path / 'tiny.yaml').write_text(yaml.safe_dump(base))
    frames = tmp_path / 'frames'
    frames.mkdir()
    training = {'base': 'tiny.yaml', 'data': ['scenes']}
    taught = training | {'backbone_from': 'pretrain'}

    def write(**changes):
        values = {
            'name': 'small',
            'seed': 5,
            'data': {
                'scenes': {'scenes': SCENES, 'weight': 2},
                'drive': {'frames': [str(frames)]},
            },
            'pretrain': training,
            'teachers': dict.fromkeys(TASKS, taught),
            'pseudo_labels': {'data': ['drive'], 'box_score': 0.4},
            'student': taught | {'data': {'scenes': 3, 'drive': 1}},
            'evaluation': {'data': ['scenes']},
        } | changes
        path = tmp_path / 'small.yaml'
        path.write_text(yaml.safe_dump(values, sort_keys=False))  # with aliases
        return path

    return write


def steps_of(path, out, *overrides):
    """Experiment and steps, checked."""
    experiment = load_experiment(path, list(overrides))
    steps = plan(experiment, out)
    check(experiment, steps)
    return experiment, steps


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
        ('teachers={}', r'pseudo_labels needs teachers'),
        ('student.model.backbone.width=32', r'student\.backbone_from: the backbone of pretrain'),
        ('pretrain.model.heads.semantic.name=yolo', r"pretrain: head: unknown name 'yolo'"),
        ('student.phases.0.batch_size=1', r'student: batch_size 1 is smaller than the 2'),
        ('data.scenes.root=x', r'data\.scenes: give exactly one of root, convert, scenes, frames'),
        ('data.drive.rat=3', r'data/drive: unrecognized arguments: --rat 3; see `unidrive frames'),
        ('data.scenes.scenes.drives=two', r'data/scenes: argument --drives: invalid int value'),
        ('data.scenes.scenes.drive=2', r'data/scenes: unrecognized arguments: --drive 2'),
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


def test_settings_may_stand_behind_options(run_file, tmp_path, capsys):
    command = ['run', str(run_file()), str(tmp_path / 'out'), 'pretrain.seed=8', '--processes']
    assert main([*command, '2', 'student.seed=9', '--dry-run', 'name=other']) == 0
    configs = tmp_path / 'out' / 'configs'
    assert load_config(configs / 'pretrain.yaml').seed == 8
    student = load_config(configs / 'student.yaml')
    assert (student.seed, student.name) == (9, 'other_student')
    with pytest.raises(SystemExit):
        main([*command, '2', '--dry', '--moon=1', 'seed=1'])
    assert 'unrecognized arguments: --moon=1\n' in capsys.readouterr().err


def test_options_as_a_command_line_has_them():
    options = {'val_drives': 2, 'keep': {'semantic': 0.5, 'drivable': 1}, 'topic': ['/a', '/b']}
    expected = '--val-drives 2 --keep semantic=0.5 --keep drivable=1 --topic /a --topic /b'
    assert option_arguments(options) == expected.split()
    assert option_arguments({'quiet': True, 'loud': False}) == ['--quiet']


def pretend(path, out, *overrides):
    """A ledger in which every step is done."""
    experiment, steps = steps_of(path, out, *overrides)
    ledger = Ledger(experiment, out, steps)
    for step in steps:
        step.output.mkdir(parents=True)
        ledger.begin(step)
        ledger.finish(step, 0)
    return experiment, steps


def states_of(path, out, *overrides):
    experiment, steps = steps_of(path, out, *overrides)
    return {name: state.name for name, state in Ledger(experiment, out, steps).states.items()}


def test_what_is_done_is_not_done_again(run_file, tmp_path):
    pretend(run_file(), tmp_path / 'out')
    assert set(states_of(run_file(), tmp_path / 'out').values()) == {'DONE'}
    (tmp_path / 'out').rename(tmp_path / 'moved')
    assert set(states_of(run_file(), tmp_path / 'moved').values()) == {'DONE'}


@pytest.mark.parametrize(
    ('override', 'change'),
    [
        ('student.phases.0.iterations=3', r'student\.phases\.0\.iterations was 1, is 3'),
        ('data.scenes.scenes.drives=3', r'data\.scenes\.scenes\.drives was 2, is 3'),
        ('data.scenes.scenes.fps=5', r'data\.scenes\.scenes\.fps was absent, is 5'),
        ('seed=6', r'pretrain\.seed was 5, is 6'),
        ('pseudo_labels.box_score=0.9', r'pseudo_labels\.box_score was 0\.4, is 0\.9'),
        ('evaluation.split=train', r'evaluation\.split was val, is train'),
    ],
)
def test_a_changed_step_is_refused(run_file, tmp_path, override, change):
    pretend(run_file(), tmp_path / 'out')
    with pytest.raises(
        UserError, match=rf'made with another setting \({change}\); give a new OUT'
    ):
        states_of(run_file(), tmp_path / 'out', override)


def test_a_step_that_is_deleted_is_done_again_and_what_builds_on_it(run_file, tmp_path):
    path, out = run_file(), tmp_path / 'out'
    experiment, steps = pretend(path, out)
    shutil.rmtree(out / 'teachers' / 'semantic')
    mark = out / '.done' / 'teachers' / 'semantic.json'
    with pytest.raises(UserError, match=f'teachers/semantic was made and is gone.*delete {mark}'):
        states_of(path, out)
    mark.unlink()
    longer = 'teachers.semantic.phases.0.iterations=4'
    states = states_of(path, out, longer)
    new = [name for name, state in states.items() if state == 'NEW']
    outdated = {name for name, state in states.items() if state == 'OUTDATED'}
    assert new == ['teachers/semantic']
    assert outdated == {'pseudo_labels/drive', 'student', 'evaluation', 'bundle', 'report'}

    # Interrupted right after it: the rest is still outdated.
    experiment, steps = steps_of(path, out, longer)
    ledger = Ledger(experiment, out, steps)
    teacher = next(step for step in steps if step.name == 'teachers/semantic')
    ledger.begin(teacher)
    assert states_of(path, out, longer)['teachers/semantic'] == 'BEGUN'
    teacher.output.mkdir()
    ledger.finish(teacher, 1)
    states = states_of(path, out, longer)
    assert states['teachers/semantic'] == 'DONE'
    assert {name for name, state in states.items() if state == 'OUTDATED'} == outdated


def test_a_setting_that_a_newer_unidrive_knows_is_at_its_default(run_file, tmp_path):
    path, out = run_file(), tmp_path / 'out'
    pretend(path, out)
    mark = out / '.done' / 'student.json'
    then = json.loads(mark.read_text())
    del then['definition']['student.accumulate'], then['definition']['student.data.0.tasks']
    mark.write_text(json.dumps(then))
    assert states_of(path, out)['student'] == 'DONE'
    with pytest.raises(UserError, match=r'student\.accumulate was absent, is 2'):
        states_of(path, out, 'student.accumulate=2')


@pytest.fixture
def trained_by_hand(run_file, tmp_path):
    """Run file and OUT, in which the data are made and ``pretrain`` was done by its command."""
    path, out = run_file(), tmp_path / 'out'
    experiment, steps = steps_of(path, out)
    ledger = Ledger(experiment, out, steps)
    for step in steps[:2]:
        step.output.mkdir(parents=True)
        ledger.begin(step)
        ledger.finish(step, 1)
    config = steps[2].config.model_dump(mode='json') | {'workers': 7}
    folder = steps[2].output
    folder.mkdir()
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    (folder / 'checkpoint_0000002.pt').touch()
    (folder / 'report.html').touch()
    write_metrics(folder, 'a', {}, {'iterations': 2, 'seconds': 60.0, 'images_per_second': 1.0})
    return path, out


def test_a_training_done_by_hand_counts(trained_by_hand):
    path, out = trained_by_hand
    experiment, steps = steps_of(path, out)
    ledger = Ledger(experiment, out, steps)
    assert ledger.states['pretrain'].name == 'DONE' and ledger.seconds('pretrain') == 60
    assert ledger.states['teachers/semantic'].name == 'NEW'
    mark = out / '.done' / 'pretrain.json'
    assert not mark.exists()  # a dry run leaves nothing
    ledger.keep(steps[2])
    before = mark.read_text()
    ledger.keep(steps[2])
    assert mark.read_text() == before
    assert states_of(path, out)['pretrain'] == 'DONE'


@pytest.mark.parametrize(
    ('spoil', 'why'),
    [
        (lambda run: (run / 'config.yaml').unlink(), r'config\.yaml: No such file'),
        (lambda run: (run / 'metrics.json').unlink(), 'its training is not finished'),
        (lambda run: (run / 'report.html').unlink(), 'its training is not finished'),
        (lambda run: write_metrics(run, 'a', {}, {'iterations': 2}), 'training is not finished'),
        (lambda run: (run / 'checkpoint_0000003.pt').touch(), 'its training is not finished'),
        (lambda run: (run / '../.done/data/scenes.json').unlink(), 'scenes was there before'),
    ],
)
def test_what_is_not_the_step_by_hand_is_refused(trained_by_hand, spoil, why):
    path, out = trained_by_hand
    spoil(out / 'pretrain')
    with pytest.raises(UserError, match=f'{why}.*give a new OUT, or move it away'):
        states_of(path, out)


def test_a_training_by_hand_has_the_config_of_the_step(trained_by_hand):
    with pytest.raises(UserError, match=r'before this experiment .*another one: seed was 5, is 6'):
        states_of(*trained_by_hand, 'pretrain.seed=6')
    path, out = trained_by_hand
    mark = out / '.done' / 'data' / 'scenes.json'
    unfinished = json.loads(mark.read_text()) | {'seconds': None}
    mark.write_text(json.dumps(unfinished))
    with pytest.raises(UserError, match='data/scenes, which it builds on, was not'):
        states_of(path, out)


def test_what_somebody_else_made_is_not_touched(run_file, tmp_path):
    (tmp_path / 'out' / 'student').mkdir(parents=True)
    with pytest.raises(UserError, match='student was there before this experiment'):
        states_of(run_file(), tmp_path / 'out')


def run(path, out, *overrides):
    """The command in a process of its own."""
    command = [sys.executable, '-m', 'unidrive_training.cli', 'run', str(path), str(out)]
    return subprocess.Popen(
        [*command, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.02)


def test_data_are_made_once_and_never_by_halves(run_file, tmp_path, capfd):
    """Killed while streets are drawn, with real processes; then only what is missing is made."""
    out = tmp_path / 'out'
    path = run_file()
    experiment, steps = steps_of(path, out, 'data.scenes.scenes.frames=400')
    killed = run(path, out, 'data.scenes.scenes.frames=400')
    half = out / 'data' / '.scenes.part' / 'images' / '100k' / 'train'
    wait_for(lambda: half.is_dir() and any(half.iterdir()))
    killed.kill()
    killed.communicate()
    assert not (out / 'data' / 'scenes').exists()
    assert states_of(path, out, 'data.scenes.scenes.frames=400')['data/scenes'] == 'BEGUN'
    with pytest.raises(UserError, match=r'frames was 400, is 2\); give a new OUT, or delete'):
        states_of(path, out)
    (out / '.done' / 'data' / 'scenes.json').unlink()

    experiment, steps = steps_of(path, out)
    run_steps(experiment, out, steps[:1], 1)  # waits until the child of the killed run is gone
    made = out / 'data' / 'scenes' / 'images' / '100k'
    assert len(list((made / 'train').iterdir())) == 4
    assert not (out / 'data' / '.scenes.part').exists()
    before = made.stat().st_ctime_ns
    printed = capfd.readouterr().out
    assert f'    unidrive scenes {out}/data/scenes --drives 2' in printed
    assert 'done now' in printed
    run_steps(experiment, out, steps[:1], 1)
    assert made.stat().st_ctime_ns == before
    assert 'done before' in capfd.readouterr().out
    record = json.loads((out / 'experiment.json').read_text())
    assert record['seed'] == 5 and record['versions']['torch']
    assert record['steps'][0]['seconds'] > 0
    again = yaml.safe_dump(record['experiment'])
    (tmp_path / 'again.yaml').write_text(again)
    assert load_experiment(tmp_path / 'again.yaml', []) == experiment


def test_interrupting_ends_the_child_too(run_file, tmp_path):
    out = tmp_path / 'out'
    running = run(run_file(), out, 'data.scenes.scenes.frames=400')
    half = out / 'data' / '.scenes.part' / 'images' / '100k' / 'train'
    wait_for(lambda: half.is_dir() and any(half.iterdir()))
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=30)  # which waits for whoever has its pipes
    assert running.returncode == 130
    assert 'Traceback' not in error and error.endswith('unidrive: interrupted\n')
    wait_for(lambda: not any((out / 'data').iterdir()), seconds=10)
    time.sleep(0.5)
    assert not any((out / 'data').iterdir())  # nothing is left, nor drawn any more


def test_frames_go_on(run_file, tmp_path):
    path, out = run_file(), tmp_path / 'out'
    experiment, steps = steps_of(path, out)
    (drive,) = [step for step in steps if step.name == 'data/drive']
    write_images(tmp_path / 'frames', ['0.png', '1.png'])
    Ledger(experiment, out, steps).begin(drive)
    assert main(list(drive.arguments)) == 0
    before = {file: file.stat().st_ctime_ns for file in drive.output.rglob('*.jpg')}
    write_images(tmp_path / 'frames', ['0.png', '1.png', '2.png'])
    run_steps(experiment, out, [drive], 1)
    now = {file: file.stat().st_ctime_ns for file in drive.output.rglob('*.jpg')}
    assert len(before) == 2 and len(now) == 3 and before.items() < now.items()


def test_a_copied_folder_is_reported_again(tmp_path):
    """Links may have become folders in it."""
    (tmp_path / 'student' / 'tensorboard').mkdir(parents=True)
    (tmp_path / 'tensorboard' / 'old').mkdir(parents=True)
    for _ in range(2):
        runner._gather(tmp_path)
        assert (tmp_path / 'tensorboard').readlink() == Path('student/tensorboard')
    assert (tmp_path / 'student' / 'tensorboard').is_dir()


def test_two_runs_do_not_share_a_folder(run_file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, '_PATIENCE', 0.1)
    out = tmp_path / 'out'
    experiment, steps = steps_of(run_file(), out)
    out.mkdir()
    with runner._lock(out), pytest.raises(UserError, match='another `unidrive run` is at work'):
        run_steps(experiment, out, steps, 1)


def test_a_failing_step_ends_the_run_with_its_sentence(run_file, tmp_path, capfd):
    (tmp_path / 'kitti').mkdir()
    values = yaml.safe_load(run_file().read_text())
    values['data']['kitti'] = {'convert': 'kitti', 'source': str(tmp_path / 'kitti')}
    values['data'] = dict(sorted(values['data'].items(), key=lambda item: item[0] != 'kitti'))
    values['student']['data']['kitti'] = 1
    out = tmp_path / 'out'
    assert main(['run', str(run_file(**values)), str(out)]) == 2
    captured = capfd.readouterr()
    first = captured.out.splitlines()[1].strip()
    assert captured.err.startswith(
        f'unidrive: error: data/kitti: {tmp_path}/kitti/label_2 holds no label files; give the '
        'folder with image_2/ and label_2/; when that is mended, start the same `unidrive run` '
        f'again (the step alone: {first})'
    )
    assert captured.err.count('\n') == 1
    assert not (out / 'data' / 'kitti').exists()


def test_the_small_street_experiment_is_ready_to_run(
    repo_root, shared_data, tmp_path, monkeypatch
):
    monkeypatch.setenv('UNIDRIVE_DATA', str(shared_data))
    path = repo_root / 'config' / 'training' / 'street_mini.yaml'
    experiment, steps = steps_of(path, tmp_path / 'out')
    for step in steps:
        check_arguments(step)
    scored = {n for s in experiment.trainings().values() for n in s.validation}
    assert scored == set(experiment.evaluation.data)
    assert all(s.validation for name, s in experiment.trainings().items() if name != 'pretrain')
    labelled = {n: e.tasks for n, e in experiment.data.items() if e.labelled and n != 'scenes'}
    assert all(len(tasks) == 1 for tasks in labelled.values())
    assert {task for tasks in labelled.values() for task in tasks} == set(TASKS)
    assert {s.model_extra['phases'][0]['input_size'][1] for s in experiment.trainings().values()}


def test_a_whole_experiment_survives_being_killed(run_file, tmp_path):
    """Every command for real, from a bag to a page; one task, as each command takes seconds."""
    bag = write_drive(tmp_path / 'bag', count=3)
    drive = {'frames': [str(bag)], 'topic': [FRONT], 'rate': 0}
    training = {'base': 'tiny.yaml', 'data': {'scenes': 1}, 'backbone_from': 'pretrain'}
    training |= {'validation': ['scenes']}
    student = training | {'data': {'scenes': 3, 'drive': 1}}
    student['model'] = {'heads': {'detection': None, 'drivable': None}}
    data = {'scenes': {'scenes': SCENES, 'weight': 2}, 'drive': drive}
    path = run_file(data=data, teachers={'semantic': training}, student=student)
    out, overrides = tmp_path / 'out', ['student.checkpoint_every=1']
    overrides.append('student.phases.1.iterations=12')
    killed = run(path, out, *overrides)
    wait_for(
        lambda: killed.poll() is not None or any((out / 'student').glob('checkpoint_*.pt')), 200
    )
    killed.kill()
    assert killed.communicate() and killed.returncode == -signal.SIGKILL
    going_on = run(path, out, *overrides)
    printed, error = going_on.communicate(timeout=200)
    assert going_on.returncode == 0, error
    assert '[6/9] student: goes on' in printed
    assert printed.count('done before') == 2 * 5  # in the list and in the tree
    table = printed[printed.index('report  ') :]
    assert re.search(r'^ +student +teachers/semantic$', table, re.MULTILINE)
    assert re.search(r'^scenes · semantic\n  mIoU +0\.\d+', table, re.MULTILINE)
    metrics = json.loads((out / 'metrics.json').read_text())
    assert set(metrics['scores']['scenes']) == {'semantic'}
    frames = read_split(out / 'data' / 'drive', 'train')
    assert len(frames) == 3 and not any(record.tasks() for record in frames)
    pseudo = json.loads((out / 'pseudo_labels' / 'drive' / 'pseudo_labels.json').read_text())
    assert set(pseudo['images']) == {record.name for record in frames}
    config = load_config(out / 'configs' / 'student.yaml')
    assert config == load_config(out / 'student' / 'config.yaml')
    assert config.data[1].pseudo == out / 'pseudo_labels' / 'drive'
    manifest = (out / 'bundle' / 'manifest.yaml').read_text()
    assert 'mean_iou' in manifest and str(tmp_path) not in manifest
    assert (out / 'report.html').exists()
    steps = json.loads((out / 'experiment.json').read_text())['steps']
    assert all(step['seconds'] is not None for step in steps)
    assert main(['run', str(path), str(out), *overrides]) == 0

    # As if other machines had done what takes long, by the commands of a dry run.
    marks = out / '.done'
    for name in ('teachers/semantic', 'pseudo_labels/drive', 'student', 'evaluation'):
        (marks / f'{name}.json').unlink()
    shutil.rmtree(out / 'evaluation')
    states = states_of(path, out, *overrides)
    done = [name for name, state in states.items() if state == 'DONE']
    assert done[2:] == ['pretrain', 'teachers/semantic', 'pseudo_labels/drive', 'student']
    assert states['evaluation'] == 'NEW'
    with pytest.raises(UserError, match=r'made otherwise: teachers\.semantic\.threshold was 0\.3'):
        states_of(path, out, *overrides, 'pseudo_labels.mask_confidence=0.2')
