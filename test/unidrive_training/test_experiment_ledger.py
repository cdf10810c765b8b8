# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is done already is not done again, and what has changed since is refused."""

import json
import shutil

import pytest
import yaml
from small_experiment import (
    SCENES,
    pretend,
    run_file,  # noqa: F401
    states_of,
    steps_of,
)

from unidrive_perception.errors import UserError
from unidrive_training.evaluation.metrics_file import write_metrics
from unidrive_training.experiment.ledger import Ledger


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


def test_how_a_training_is_computed_may_change(run_file, tmp_path):
    values = yaml.safe_load(run_file().read_text())
    values['data']['more'] = {'scenes': SCENES}
    path, out = run_file(**values), tmp_path / 'out'
    pretend(path, out)
    changes = ['student.workers=8', 'teachers.semantic.checkpoint_every=3']
    assert set(states_of(path, out, *changes).values()) == {'DONE'}
    changes.append('student.validation=[more]')  # which has to be made
    states = states_of(path, out, *changes)
    assert states.pop('data/more') == 'NEW' and set(states.values()) == {'DONE'}

    # Marks of early versions have these settings, too.
    mark = out / '.done' / 'student.json'
    then = json.loads(mark.read_text())
    then['definition'] |= {'student.workers': 1, 'student.validation.0': 'OUT/data/old'}
    then['after']['data/old'] = 'some hash'
    mark.write_text(json.dumps(then))
    for given in ([], changes):
        assert states_of(path, out, *given)['student'] == 'DONE'
    with pytest.raises(UserError, match=r'student\.clip_norm was 5\.0, is 2\.0'):
        states_of(path, out, 'student.clip_norm=2')


def test_a_broken_mark_is_refused_with_what_follows(run_file, tmp_path):
    path, out = run_file(), tmp_path / 'out'
    pretend(path, out)
    mark = out / '.done' / 'pretrain.json'
    mark.write_text('{"hash"')
    follows = 'delete it: what builds on pretrain is then removed and done again'
    with pytest.raises(UserError, match=rf'{mark} is no JSON .*; put it back, or {follows}'):
        states_of(path, out)


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
