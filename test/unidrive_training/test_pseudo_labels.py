# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Teachers label what is missing: thresholds, true labels first, kills, processes, the loader."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_heads import small_pyramid, whole
from tiny_training import tiny_config

from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import DETECTION, UNKNOWN
from unidrive_training.cli import main
from unidrive_training.config import TrainingConfig
from unidrive_training.data.bdd100k import Bdd100kWriter, read_image, read_mask, read_split
from unidrive_training.data.pseudo_labels import add_pseudo_labels
from unidrive_training.data.sample import load_sample
from unidrive_training.data.settings import apply_setting, load_setting
from unidrive_training.engine import teachers
from unidrive_training.engine.checkpoint import load_trained_model, save_checkpoint
from unidrive_training.engine.pseudo_label_files import PseudoLabelFiles
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.registry import HEADS

BOX_SCORE, MASK_CONFIDENCE = 0.5, 0.3
COMMAND = ['-m', 'unidrive_training.cli', 'pseudo-label']
ONE_THREAD = os.environ | {'OMP_NUM_THREADS': '1'}


def save_teacher(folder, name, tasks, input_size, seed=0):
    """An untrained teacher in a run folder; it is sure of a box now and then."""
    values = tiny_config(folder, 1).model_dump(mode='json') | {'name': name}
    values['model']['heads'] = {task: values['model']['heads'][task] for task in tasks}
    values['phases'][-1]['input_size'] = input_size
    torch.manual_seed(seed)
    model = MultiTaskModel(TrainingConfig.model_validate(values).model)
    if 'detection' in tasks:
        for stage in model.heads['detection'].stages:
            torch.nn.init.normal_(stage.class_logits.weight, std=0.25)
            torch.nn.init.normal_(stage.class_logits.bias, mean=-2.6)
    folder.mkdir()
    state = {'config': values, 'average': model.state_dict(), 'iteration': 1, 'seconds': 1.0}
    save_checkpoint(folder, state | {'annotated': DETECTION.names}, 1)
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A teacher of boxes and one of both masks, which see images of other sizes."""
    root = tmp_path_factory.mktemp('teachers')
    return {
        'boxes': save_teacher(root / 'boxes', 'box_teacher', ['detection'], (64, 128)),
        'masks': save_teacher(root / 'masks', 'pixels', ['semantic', 'drivable'], (96, 160)),
    }


@pytest.fixture(scope='module')
def data(scenes, tmp_path_factory):
    """14 images: 4 with semantic masks, 3 with boxes, 2 with all, the rest without labels."""
    root = tmp_path_factory.mktemp('partly') / 'data'
    with Bdd100kWriter(root, 'train') as writer:
        for i, record in enumerate(read_split(scenes, 'train')[:14]):
            labels = {}
            if i < 4 or i >= 12:
                labels['semantic'] = read_mask(record.semantic)
            if i >= 12:
                labels['drivable'] = read_mask(record.drivable)
            if 4 <= i < 7 or i >= 12:
                labels |= {'boxes': record.boxes.boxes, 'class_ids': record.boxes.class_ids}
            writer.add(f'{i:02}', record.image, **labels)
    odd = cv2.resize(cv2.imread(str(root / 'images/100k/train/09.jpg')), (150, 200))
    cv2.imwrite(str(root / 'images/100k/train/09.jpg'), odd)
    return root


def arguments(data, out, runs, *more):
    given = [str(data), str(out), '--teacher', f'detection={runs["boxes"]}']
    for task in ('semantic', 'drivable'):
        given += ['--teacher', f'{task}={runs["masks"]}']
    return [*given, '--device', 'cpu', '--workers', '0', *more]


@pytest.fixture(scope='module')
def labelled(data, runs, tmp_path_factory):
    """What the teachers make of the data, in one process, undisturbed."""
    out, threads = tmp_path_factory.mktemp('pseudo') / 'labels', torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(['pseudo-label', *arguments(data, out, runs)]) == 0
    finally:
        torch.set_num_threads(threads)
    return out


def contents(folder):
    """Path → bytes of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def frames(folder):
    return json.loads((folder / 'labels/det_20/det_train.json').read_text())['frames']


@pytest.mark.parametrize('name', ['maskformer', 'semantic_fpn'])
@pytest.mark.parametrize('stride', [1, 2])
def test_confidence_is_the_score_of_the_class_and_leaves_the_class_map_alone(name, stride):
    torch.manual_seed(0)
    options = {'queries': 20, 'layers': 1} if name == 'maskformer' else {}
    spec = {'name': name, 'output_stride': stride, **options}
    pyramid = small_pyramid()
    channels = pyramid[0].shape[1]
    head = HEADS.build(spec, in_channels=channels, classes=5).eval()
    with torch.no_grad():
        classes, confidence = head.predict_with_confidence(pyramid, whole(2))
        assert torch.equal(classes, head.predict(pyramid, whole(2)))
        if name == 'maskformer':
            expected = head.scores(pyramid, stride).amax(1).clamp(max=1)
        else:
            logits = torch.nn.functional.interpolate(
                head(pyramid), scale_factor=4 / stride, mode='bilinear', align_corners=False
            )
            expected = logits.softmax(1).amax(1)
    assert confidence.shape == classes.shape and confidence.dtype == torch.float32
    torch.testing.assert_close(confidence, expected)


def test_confidence_of_a_whole_model(runs):
    model, *_ = load_trained_model(runs['masks'])
    images = torch.randint(0, 256, (2, 96, 160, 3), dtype=torch.uint8)
    sizes = torch.tensor([[96, 160], [64, 90]])
    for given in (None, sizes):
        plain, sure = model.predict(images, given), model.predict(images, given, confidence=True)
        assert sure.keys() - plain.keys() == {'semantic_confidence', 'drivable_confidence'}
        assert all(torch.equal(plain[name], sure[name]) for name in plain)
    padding = sure['semantic'] == UNKNOWN
    assert padding.any() and (sure['semantic_confidence'][padding] == 0).all()
    assert (sure['semantic_confidence'][~padding] > 0).all()


def test_masks_hold_what_the_teacher_is_sure_of(data, runs, labelled):
    model, config, _ = load_trained_model(runs['masks'])
    index = json.loads((labelled / 'pseudo_labels.json').read_text())
    doubted = 0
    for record in read_split(data, 'train')[4:12]:
        image = read_image(record.image)
        box = Letterbox(image.shape[:2], config.input_size)
        outputs = model.predict(torch.from_numpy(box.apply_image(image))[None], confidence=True)
        for task, folder in (('semantic', 'sem_seg'), ('drivable', 'drivable')):
            mask = read_mask(labelled / 'labels' / folder / 'masks/train' / f'{record.name}.png')
            assert mask.shape == image.shape[:2]
            confidence = box.invert_mask(outputs[f'{task}_confidence'][0].numpy())
            expected = box.invert_mask(outputs[task][0].numpy())
            expected[confidence < MASK_CONFIDENCE] = UNKNOWN
            assert np.mean(mask != expected) < 1e-3
            facts = index['images'][record.name][task]
            assert facts['kept'] == pytest.approx(np.mean(mask != UNKNOWN), abs=1e-4)
            assert facts['confidence'] == pytest.approx(confidence.mean(), abs=1e-3)
            doubted += 0 < facts['kept'] < 1
    assert doubted, 'the threshold decides nothing here'


def test_boxes_hold_what_the_teacher_is_sure_of(data, runs, labelled):
    model, config, _ = load_trained_model(runs['boxes'])
    found = {frame['name']: frame['labels'] for frame in frames(labelled)}
    kept = left_out = 0
    for record in read_split(data, 'train')[:4]:
        image = read_image(record.image)
        box = Letterbox(image.shape[:2], config.input_size)
        outputs = model.predict(torch.from_numpy(box.apply_image(image))[None])
        scores = outputs['scores'][0].numpy()
        boxes = box.invert_boxes(outputs['boxes'][0].numpy())
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        labels = found[record.image.name]
        assert len(labels) == np.sum(inside & (scores >= BOX_SCORE))
        best = int(np.argmax(np.where(inside, scores, 0)))
        label = max(labels, key=lambda label: label['attributes']['score'])
        assert list(label['box2d'].values()) == pytest.approx(boxes[best].tolist(), abs=0.01)
        assert label['category'] == DETECTION.names[int(outputs['class_ids'][0, best])]
        assert label['attributes'] == {
            'pseudo': True,
            'score': pytest.approx(float(scores[best]), abs=1e-4),
            'teacher': 'box_teacher',
        }
        kept, left_out = kept + len(labels), left_out + np.sum(scores < BOX_SCORE)
    assert kept and left_out, 'the threshold decides nothing here'


def test_the_index_names_teachers_and_thresholds(labelled):
    index = json.loads((labelled / 'pseudo_labels.json').read_text())
    assert {task: t['teacher'] for task, t in index['teachers'].items()} == {
        'detection': 'box_teacher',
        'semantic': 'pixels',
        'drivable': 'pixels',
    }
    assert index['teachers']['detection']['threshold'] == BOX_SCORE
    assert len(index['teachers']['semantic']['weights_sha256']) == 64
    assert len(index['images']) == 12 and index['unreadable'] == []
    assert not (labelled / '.work').exists()


def test_true_labels_win(data, labelled, tmp_path):
    before = {record.name: record for record in read_split(data, 'train')}
    assert {Path(frame['name']).stem for frame in frames(labelled)} == {
        name for name, record in before.items() if record.boxes is None
    }
    # Even where a pseudo-label is there, because the true one came later.
    folder = tmp_path / 'labels'
    shutil.copytree(labelled, folder)
    shutil.copy(
        folder / 'labels/sem_seg/masks/train/05.png', folder / 'labels/sem_seg/masks/train/00.png'
    )
    for record in add_pseudo_labels(list(before.values()), folder):
        true = before[record.name]
        assert set(record.tasks()) == {'detection', 'semantic', 'drivable'}
        assert record.pseudo == set(record.tasks()) - set(true.tasks())
        for label in ('boxes', 'semantic', 'drivable'):
            value = getattr(true, label)
            assert value is None or getattr(record, label) is value
        sample = load_sample(record)
        assert sample.semantic.shape == sample.drivable.shape == sample.image.shape[:2]
    assert not any(record.pseudo for record in before.values()), 'the records given are changed'


def kill_midway(command, out):
    """SIGKILL after the first image; returns the folder of what is done then."""
    images = out / '.work' / 'images'
    for _ in range(5):  # on a busy machine the run may be faster than the eye
        process = subprocess.Popen(command, env=ONE_THREAD)
        while process.poll() is None and not list(images.glob('*.json')):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            return images
        shutil.rmtree(out)
    raise AssertionError('it ended before it could be killed')


def test_a_killed_run_goes_on_with_another_number_of_processes(data, runs, labelled, tmp_path):
    out = tmp_path / 'labels'
    command = [sys.executable, *COMMAND, *arguments(data, out, runs)]
    images = kill_midway(command, out)
    with pytest.raises(UserError, match='unfinished; run the same `unidrive pseudo-label` again'):
        add_pseudo_labels(read_split(data, 'train'), out)
    done = {path.stem for path in images.glob('*.json')}
    assert 0 < len(done) < 12
    masks = [path for path in out.rglob('*.png') if path.stem in done]
    written = {path: path.stat().st_mtime_ns for path in masks}
    again = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    again += ['--standalone', *command[1:]]
    subprocess.run(again, check=True, timeout=300, env=ONE_THREAD)
    assert {path: path.stat().st_mtime_ns for path in masks} == written
    assert contents(out) == contents(labelled)


def test_a_finished_folder_says_so(data, runs, labelled, capsys):
    before = contents(labelled)
    (labelled / '.work').mkdir()  # as a kill in the last moment leaves it
    assert main(['pseudo-label', *arguments(data, labelled, runs)]) == 0
    assert 'all pseudo-labels are there already' in capsys.readouterr().out
    assert contents(labelled) == before and not (labelled / '.work').exists()


def part_of(data, root, names):
    """A folder with some of the images and all labels."""
    images = root / 'images' / '100k' / 'train'
    images.mkdir(parents=True)
    (root / 'labels').symlink_to(data / 'labels')
    for name in names:
        shutil.copy(data / f'images/100k/train/{name}.jpg', images)
    return images


def test_what_is_new_joins_a_finished_folder(data, runs, labelled, tmp_path, monkeypatch, capsys):
    """One image at a time, so that the result is that of all at once, to the last bit."""
    one = ('--batch-size', '1')
    whole, grown, root = tmp_path / 'whole', tmp_path / 'grown', tmp_path / 'data'
    images = part_of(data, root, ['00', '05', '07', '13'])
    (images / '03.jpg').write_bytes(b'half')
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    masks = {path: path.stat().st_mtime_ns for path in grown.rglob('*.png')}
    for name in ('03', '06', '12'):  # one that can be read now, a new one, one with all labels
        shutil.copy(data / f'images/100k/train/{name}.jpg', images)
    capsys.readouterr()
    with pytest.raises(
        UserError, match=r'1 of 7 images have neither .* 06 \(drivable, semantic\)'
    ):
        add_pseudo_labels(read_split(root, 'train'), grown)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PseudoLabelFiles, '_replace', dying_before_the_index(grown, Killed))
        main(['pseudo-label', *arguments(root, grown, runs, *one)])
    with pytest.raises(UserError, match='unfinished; run the same'):
        add_pseudo_labels(read_split(root, 'train'), grown)
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    printed = capsys.readouterr().out
    assert printed.count('7 images, to label: detection 1, semantic 1, drivable 2') == 2
    assert '; 2 are done already' in printed
    assert all(path.stat().st_mtime_ns == then for path, then in masks.items())
    assert main(['pseudo-label', *arguments(root, whole, runs, *one)]) == 0
    assert contents(grown) == contents(whole)
    assert all(
        len(record.tasks()) == 3 for record in add_pseudo_labels(read_split(root, 'train'), grown)
    )
    assert main(['pseudo-label', *arguments(root, grown, runs, *one)]) == 0
    assert 'all pseudo-labels are there already' in capsys.readouterr().out


class Killed(Exception):
    pass


def dying_before_the_index(folder, error):
    replace = PseudoLabelFiles._replace

    def write(files, path, content):
        if path == folder / 'pseudo_labels.json':
            raise error
        replace(files, path, content)

    return write


def test_pseudo_labels_of_other_data_or_another_setting(data, labelled, tmp_path):
    records = read_split(data, 'train')
    fewer = [record.only(['semantic', 'drivable']) for record in records]
    match = (
        r'5 of 14 images .* the first 04 \(detection\); run the same .* data, setting and tasks'
    )
    with pytest.raises(UserError, match=match):
        add_pseudo_labels(fewer, labelled)
    others = [replace(record, name=f'x{record.name}') for record in records]
    with pytest.raises(
        UserError, match=r'12 of 14 images .* the first x00 \(detection, drivable\)'
    ):
        add_pseudo_labels(others, labelled)


def refusal(capsys, *given):
    assert main(['pseudo-label', *map(str, given)]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    return error


def test_other_teachers_or_thresholds_are_refused(data, runs, labelled, tmp_path, capsys):
    before = contents(labelled)
    error = refusal(capsys, *arguments(data, labelled, runs, '--box-score', '0.6'))
    assert 'teachers.detection.threshold was 0.5, is 0.6' in error
    other = save_teacher(tmp_path / 'other', 'box_teacher', ['detection'], (64, 128), seed=1)
    error = refusal(capsys, *arguments(data, labelled, runs | {'boxes': other}))
    assert 'teachers.detection.weights_sha256 was' in error
    error = refusal(capsys, data, labelled, '--teacher', f'detection={runs["boxes"]}')
    assert 'teachers.drivable was {' in error and error.count('is absent') == 1
    assert contents(labelled) == before


@pytest.mark.parametrize(
    ('more', 'sentence'),
    [
        (['--box-score', '1.5'], '--box-score 1.5: give a number from 0 to 1'),
        (['--mask-confidence', 'nan'], '--mask-confidence nan: give'),
        (['--batch-size', '0'], '--batch-size 0: give at least 1'),
        (['--teacher', 'lanes=x'], '--teacher lanes=x: give TASK=RUN'),
        (['--teacher', 'semantic=x'], 'semantic has a teacher already'),
        (['--split', 'test'], 'no images in images/100k/test'),
    ],
)
def test_wrong_arguments(data, runs, tmp_path, capsys, more, sentence):
    assert sentence in refusal(capsys, *arguments(data, tmp_path / 'out', runs, *more))
    assert not (tmp_path / 'out').exists()


def test_a_teacher_without_that_head(data, runs, tmp_path, capsys):
    given = (data, tmp_path / 'out', '--teacher', f'detection={runs["masks"]}')
    assert 'this model has only semantic, drivable' in refusal(capsys, *given)


def test_labels_never_go_where_others_are(data, runs, tmp_path, capsys):
    assert 'is the data itself' in refusal(capsys, *arguments(data, data, runs))
    (tmp_path / 'labels').mkdir()
    assert 'holds other files' in refusal(capsys, *arguments(data, tmp_path, runs))
    assert list(tmp_path.iterdir()) == [tmp_path / 'labels']


def test_an_unreadable_image_is_skipped_and_named(data, runs, tmp_path, capsys):
    root, out = tmp_path / 'data', tmp_path / 'out'
    shutil.copytree(data / 'images', root / 'images')
    broken = root / 'images/100k/train/03.jpg'
    broken.write_bytes(broken.read_bytes()[:50])
    given = [root, out, '--teacher', f'drivable={runs["masks"]}', '--device', 'cpu']
    assert main(['pseudo-label', *map(str, given)]) == 0
    assert '1 images could not be read: 03' in capsys.readouterr().out
    assert json.loads((out / 'pseudo_labels.json').read_text())['unreadable'] == ['03']
    records = add_pseudo_labels(read_split(root, 'train'), out)
    assert [r.name for r in records if not r.tasks()] == ['03']
    assert {task for record in records for task in record.tasks()} == {'drivable'}


def test_labels_of_other_tasks_left_aside_are_made_anew(data, runs, tmp_path):
    out = tmp_path / 'out'
    given = [data, out, '--teacher', f'semantic={runs["masks"]}', '--tasks', 'drivable']
    assert main(['pseudo-label', *map(str, given), '--device', 'cpu', '--workers', '0']) == 0
    assert len(list((out / 'labels/sem_seg/masks/train').glob('*.png'))) == 14


def test_a_setting_leaves_labels_and_images_aside(data, runs, tmp_path):
    (tmp_path / 'few.yaml').write_text('{name: few, labelled: {semantic: 2, detection: 3}}')
    given = [data, tmp_path / 'out', '--teacher', f'semantic={runs["masks"]}']
    given += ['--setting', tmp_path / 'few.yaml', '--device', 'cpu', '--workers', '0']
    assert main(['pseudo-label', *map(str, given)]) == 0
    index = json.loads((tmp_path / 'out' / 'pseudo_labels.json').read_text())
    setting = load_setting(tmp_path / 'few.yaml')
    lacking = [
        record.name
        for record in apply_setting(setting, read_split(data, 'train'))
        if record.semantic is None
    ]
    assert list(index['images']) == lacking and index['setting'].startswith('few (sha256')


def test_only_classes_that_were_taught_are_labelled(data, runs, tmp_path, monkeypatch):
    def load(path):
        model, config, facts = load_trained_model(path)
        return model, config, facts | {'annotated': ['car', 'pedestrian']}

    monkeypatch.setattr(teachers, 'load_trained_model', load)
    given = [data, tmp_path / 'out', '--teacher', f'detection={runs["boxes"]}']
    given += ['--box-score', '0', '--device', 'cpu', '--workers', '0']
    assert main(['pseudo-label', *map(str, given)]) == 0
    labels = [label for frame in frames(tmp_path / 'out') for label in frame['labels']]
    assert labels and {label['category'] for label in labels} <= {'car', 'pedestrian'}
    records = add_pseudo_labels(read_split(data, 'train'), tmp_path / 'out')
    annotated = np.array(DETECTION.names)[records[0].boxes.annotated]
    assert set(annotated) == {'car', 'pedestrian'} and records[5].boxes.annotated.all()


def test_a_folder_that_holds_no_pseudo_labels_of_the_split(data, labelled, tmp_path):
    records = read_split(data, 'train')
    with pytest.raises(UserError, match='make them with `unidrive pseudo-label`'):
        add_pseudo_labels(records, tmp_path)
    with pytest.raises(UserError, match='pseudo-labels of train, not of val'):
        add_pseudo_labels(records, labelled, 'val')
