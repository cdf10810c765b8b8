# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Experiments with real child processes, interrupted and killed."""

import json
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from drive_bags import FRONT, write_drive
from sample_bags import write_images
from small_experiment import (
    SCENES,
    TASKS,
    run,
    run_file,  # noqa: F401
    states_of,
    steps_of,
    wait_for,
)

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import load_config
from unidrive_training.data.bdd100k import read_split
from unidrive_training.engine.run_lock import hold
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.experiment import runner
from unidrive_training.experiment.checks import check_arguments
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.ledger import Ledger
from unidrive_training.experiment.runner import run_steps


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
    _, error = running.communicate(timeout=120)  # which waits for whoever has its pipes
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
    monkeypatch.setattr(runner, 'hold', partial(hold, patience=0.1))
    out = tmp_path / 'out'
    experiment, steps = steps_of(run_file(), out)
    with hold(out, ''), pytest.raises(UserError, match='another `unidrive run` is at work'):
        run_steps(experiment, out, steps, 1)


def test_the_time_of_a_step_is_that_of_all_its_starts(run_file, tmp_path, monkeypatch):
    """A training knows its own; the start that ended early here did no step of it."""
    out = tmp_path / 'out'
    experiment, steps = steps_of(run_file(), out)
    chosen = {step.name: step for step in steps[:3]}  # scenes, frames, pretrain
    interrupted = set()

    def child(step, processes, lock):
        time.sleep(0.3)
        if step.name not in interrupted:
            interrupted.add(step.name)
            return 1, 'no more room'
        step.output.mkdir()
        write_metrics(step.output, 'a', {}, {'seconds': 60.0})
        return 0, None

    monkeypatch.setattr(runner, 'run_child', child)
    for _ in chosen:
        with pytest.raises(UserError, match='no more room'):
            run_steps(experiment, out, list(chosen.values()), 1)
    run_steps(experiment, out, list(chosen.values()), 1)
    ledger = Ledger(experiment, out, steps)
    seconds = {name: ledger.seconds(name) for name in chosen}
    assert 0.3 <= seconds['data/scenes'] < 0.6 <= seconds['data/drive'] < 0.9  # frames go on
    assert seconds['pretrain'] == 60


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
