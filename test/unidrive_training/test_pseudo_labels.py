# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Teachers label what is missing: thresholds, true labels first, the loader."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_heads import small_pyramid, whole
from small_teachers import (
    BOX_SCORE,
    MASK_CONFIDENCE,
    data,  # noqa: F401
    frames,
    labelled,  # noqa: F401
    runs,  # noqa: F401
)

from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import DETECTION, UNKNOWN
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_image, read_mask, read_split
from unidrive_training.data.pseudo_labels import add_pseudo_labels
from unidrive_training.data.sample import load_sample
from unidrive_training.data.settings import apply_setting, load_setting
from unidrive_training.engine import teachers
from unidrive_training.engine.checkpoint import load_trained_model
from unidrive_training.models.registry import HEADS


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
            expected = box.invert_mask(outputs[task][0].numpy()).copy()
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
