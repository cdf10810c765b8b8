# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive evaluate`` with the shipped bundle on a few generated frames."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION, LabelTable
from unidrive_perception.predictor import Predictor
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_split
from unidrive_training.environment import _commit, environment
from unidrive_training.evaluation import cli as evaluation_cli
from unidrive_training.evaluation.dataset_names import name_datasets
from unidrive_training.evaluation.evaluate import Evaluation, evaluate
from unidrive_training.evaluation.metrics_file import read_details, read_metrics, write_metrics
from unidrive_training.evaluation.read_ahead import read_examples
from unidrive_training.evaluation.worst import write_worst_pictures
from unidrive_training.report.scores import single_values, title
from unidrive_training.scenes.dataset import SceneSet, write_dataset

FRAMES = 3  # odd: processes have shares of different size


@pytest.fixture(scope='module')
def few(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'few'
    scenes = SceneSet(drives=1, frames=FRAMES, seed=3, image_size=(180, 320), stride=10)
    write_dataset(root, 'val', scenes)
    return root


@pytest.fixture(scope='module')
def bundle(repo_root):
    return repo_root / 'config' / 'bundles' / 'nano'


@pytest.fixture(scope='module')
def written(few, bundle, tmp_path_factory):
    """The folder that the command writes, alone."""
    out = tmp_path_factory.mktemp('alone')
    command = ['evaluate', str(bundle), str(few), '--device', 'cpu', '--out', str(out)]
    assert main([*command, '--json', str(out / 'scores.json')]) == 0
    return out


def test_two_processes_write_what_one_writes(few, bundle, written, tmp_path):
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    command += ['-m', 'unidrive_training.cli', 'evaluate', str(bundle), str(few), '--device=cpu']
    command += ['--out', str(tmp_path), '--json', str(tmp_path / 'scores.json')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('few · detection') == 1
    files = sorted(path.relative_to(written) for path in written.rglob('*') if path.is_file())
    assert len(files) == 3 + 3 * FRAMES
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob('*') if p.is_file())
    for file in files:
        alone, together = ((folder / file).read_bytes() for folder in (written, tmp_path))
        if file.name == 'metrics.json':  # somebody may commit in the meantime
            alone, together = (json.loads(content) for content in (alone, together))
            del alone['facts']['commit'], together['facts']['commit']
        assert together == alone, file


def test_the_command_writes_scores_details_and_pictures(written, few):
    metrics, details = read_metrics(written), read_details(written)['few']
    scores = metrics['scores']['few']
    assert json.loads((written / 'scores.json').read_text()) == {'few': scores}
    assert metrics['name'] == metrics['facts']['config'] == 'nano'
    assert {'iterations', 'seconds', 'versions', 'machine', 'commit'} <= metrics['facts'].keys()
    for task in ('detection', 'semantic', 'drivable'):
        assert scores[task]['images'] == FRAMES
        worst = details[task]['worst']
        assert [image['score'] for image in worst] == sorted(image['score'] for image in worst)
        for image in worst:
            picture = cv2.imread(str(written / 'worst' / 'few' / task / f'{image["image"]}.jpg'))
            assert picture.shape == (180, 2 * 320 + 4, 3)
    assert scores['detection']['ap50'] > 0.2 and scores['semantic']['pixel_accuracy'] > 0.8
    assert scores['drivable']['bdd_mean_iou'] != scores['drivable']['mean_iou']
    confusion = np.array(details['detection']['confusion'])
    truths = scores['detection']['truths']
    assert dict(zip(DETECTION.names, confusion.sum(1)[:-1], strict=True)) == {
        name: truths.get(name, 0) for name in DETECTION.names
    }
    masks = np.array(details['drivable']['confusion'])
    assert masks.shape == (3, 4)
    assert masks.trace() / masks.sum() == pytest.approx(scores['drivable']['pixel_accuracy'])


def test_another_evaluation_of_the_model_replaces_only_what_it_scored(
    few, bundle, written, tmp_path, capsys
):
    out, other = tmp_path / 'out', tmp_path / 'other'
    shutil.copytree(written, out)
    before, drivable = read_metrics(out), out / 'worst' / 'few' / 'drivable'
    (drivable / 'old.jpg').touch()
    other.mkdir()
    masks = copy_of(few, other)
    for file in sorted((few / 'labels/drivable/masks/val').iterdir())[:2]:
        shutil.copy(file, masks)
    command = ['evaluate', *map(str, (bundle, few, other)), '--device', 'cpu', '--out', str(out)]
    assert main([*command, '--tasks', 'drivable']) == 0
    metrics, details = read_metrics(out), read_details(out)
    assert metrics['scores']['few'] == before['scores']['few']
    assert metrics['facts'] == before['facts']
    assert metrics['scores']['other']['drivable']['images'] == 2
    splits = [scores['split'] for tasks in metrics['scores'].values() for scores in tasks.values()]
    assert splits == ['val'] * 4
    assert details['few'] == read_details(written)['few'] and list(details['other']) == [
        'drivable'
    ]
    pictures = {path.name for path in drivable.iterdir()}
    assert pictures == {path.name for path in (written / 'worst/few/drivable').iterdir()}
    assert len(list((out / 'worst' / 'few' / 'detection').iterdir())) == FRAMES
    printed = capsys.readouterr().out
    assert '(BDD100K toolkit, background ignored)' in printed and '(three classes, ' in printed
    for metric in single_values(metrics['scores']['few']['drivable']):
        assert title('drivable', metric).partition(',')[0] in printed


def test_scores_of_another_model_are_refused_before_the_evaluation(
    few, bundle, written, tmp_path, monkeypatch, capsys
):
    metrics = json.loads((written / 'metrics.json').read_text())
    metrics['facts']['iterations'] += 1
    (tmp_path / 'metrics.json').write_text(json.dumps(metrics))
    monkeypatch.setattr(evaluation_cli, 'evaluate', None)  # is not reached
    assert main(['evaluate', str(bundle), str(few), '--out', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f'{tmp_path} has scores of another model (iterations ' in error
    assert error.count('\n') == 1 and [path.name for path in tmp_path.iterdir()] == [
        'metrics.json'
    ]


def test_reading_ahead_changes_nothing_but_the_time(few, bundle):
    predictor = Predictor(Bundle.load(bundle), device='cpu', score_threshold=0.0)
    results = [evaluate(predictor, few, tasks=['detection'], workers=n) for n in (0, 3)]
    np.testing.assert_equal(*results)


def copy_of(few, folder):
    """Images of ``few``, and a folder for masks."""
    (folder / 'images').symlink_to(few / 'images')
    masks = folder / 'labels' / 'drivable' / 'masks' / 'val'
    masks.mkdir(parents=True)
    return masks


def test_a_mask_of_another_size_is_named(few, bundle, tmp_path, capsys):
    masks = copy_of(few, tmp_path)
    name = read_split(few, 'val')[0].name
    cv2.imwrite(str(masks / f'{name}.png'), np.zeros((10, 20), np.uint8))
    assert main(['evaluate', str(bundle), str(tmp_path), '--device', 'cpu']) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'{name}.png: the mask is 20×10, its image {name}' in error and '320×180' in error


def test_what_is_read_ahead_stops_with_the_reader(few):
    examples = read_examples(read_split(few, 'val'), ['semantic'], workers=2)
    assert next(examples).masks['semantic'].shape == (180, 320)
    examples.close()  # would wait for ever, if a thread did


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['{tmp}/none', '{few}'], 'no such bundle, run folder or checkpoint'),
        (['{bundle}', '{few}', '{tmp}'], 'no images in images/100k/val'),
        (['{bundle}', '{few}', '--split', 'train'], 'no images in images/100k/train'),
        (['{bundle}', '{few}', '--workers', '-1'], '--workers -1: give 0 or more'),
    ],
)
def test_mistakes_are_one_sentence_before_the_work(
    few, bundle, tmp_path, monkeypatch, capsys, arguments, sentence
):
    monkeypatch.setattr(evaluation_cli, 'evaluate', None)  # is not reached
    names = {'tmp': tmp_path, 'few': few, 'bundle': bundle}
    assert main(['evaluate', *(argument.format(**names) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count('\n') == 1


def test_a_task_that_nothing_is_labelled_for_is_named(few, bundle, tmp_path, capsys):
    copy_of(few, tmp_path)
    assert main(['evaluate', str(bundle), str(tmp_path), '--tasks', 'semantic']) == 2
    assert 'no image of val has a label of semantic' in capsys.readouterr().err


@pytest.mark.parametrize('place', ['no/such/dir/scores.json', 'file/scores.json', '.'])
def test_scores_that_cannot_be_written_are_refused_before_the_evaluation(
    tmp_path, monkeypatch, capsys, place
):
    monkeypatch.setattr(evaluation_cli, '_load', None)  # is not reached
    (tmp_path / 'file').touch()
    path = str(tmp_path / place)
    assert main(['evaluate', str(tmp_path), str(tmp_path), '--json', path]) == 2
    error = capsys.readouterr().err
    assert f'--json {tmp_path / place} cannot be written' in error and error.count('\n') == 1


def test_a_model_with_other_classes_is_refused(few, bundle):
    predictor = Predictor(Bundle.load(bundle), device='cpu')
    names = ('car', 'lorry')
    classes = tuple(replace(DETECTION.classes[i], name=name) for i, name in enumerate(names))
    predictor.labels = {'detection': LabelTable('detection', classes)}
    with pytest.raises(UserError, match=r'the detection classes of the model \(car, lorry\)'):
        evaluate(predictor, few)


def test_folders_of_the_same_name_are_told_apart(tmp_path):
    folders = [tmp_path / 'a/x', tmp_path / 'b/x', tmp_path / 'c/b/x', tmp_path / 'y/../a-x']
    named = name_datasets([*folders, folders[0]])
    assert list(named) == ['a-x-2', 'b-x', 'b-x-2', 'a-x']
    assert list(named.values()) == [*folders[:3], tmp_path / 'a-x']
    assert list(name_datasets([folders[0]])) == ['x']


def test_pictures_of_a_dataset_go_to_no_other_folder(tmp_path):
    (tmp_path / 'worst').mkdir()
    (tmp_path / 'kept').mkdir()
    for name in (str(tmp_path / 'kept'), '../kept', '..', '.', '', 'a\\b'):
        with pytest.raises(ValueError, match='no name of a dataset'):
            write_worst_pictures(tmp_path, name, Evaluation({}, {}), None, [])
    assert (tmp_path / 'kept').is_dir()


def test_metrics_are_read_as_they_were_written_but_for_nan(tmp_path):
    scores = {'detection': {'images': 1, 'ap': float('nan'), 'ap_per_class': {'car': 0.5}}}
    evaluation = Evaluation(scores, {'detection': {'worst': [], 'confusion': [[1, 2]]}})
    history = [{'iteration': 10, 'scores': {'few': scores}}]
    write_metrics(tmp_path, 'mine', {'few': evaluation}, {'seed': 1}, history)
    metrics = read_metrics(tmp_path)
    nulled = {'detection': {'images': 1, 'ap': None, 'ap_per_class': {'car': 0.5}}}
    assert metrics == {
        'version': 1,
        'name': 'mine',
        'facts': {'seed': 1},
        'scores': {'few': nulled},
        'history': [{'iteration': 10, 'scores': {'few': nulled}}],
    }
    assert read_details(tmp_path) == {'few': evaluation.details}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['details.json', 'metrics.json']


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [(None, 'No such file'), ('{', 'is no JSON'), ('[]', 'an object'), ('{}', 'version None')],
)
def test_metrics_that_cannot_be_read_are_named(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / 'metrics.json').write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_metrics(tmp_path)


def test_the_environment_names_versions_but_not_the_host(repo_root, tmp_path):
    facts = environment()
    assert facts['versions']['numpy'] == np.__version__ and facts['machine']['cpu']
    assert facts.keys() == {'versions', 'machine', 'commit'}
    assert facts['machine'].keys() == {'cpu', 'cores', 'gpus'}
    in_git = (repo_root / '.git').exists()
    assert (facts['commit'] is not None) == in_git
    assert _commit(tmp_path / 'file.py') is None
