# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The BDD100K layout: what is written is read back, and what real files hold is understood."""

import json

import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.data.bdd100k import Bdd100kWriter, read_image, read_mask, read_split

IMAGE = np.full((36, 64, 3), 90, np.uint8)
MASK = np.tile(np.arange(64, dtype=np.uint8) % 19, (36, 1))
BOXES = np.array([[1.5, 2, 30, 20], [10, 10, 12.25, 30]], np.float32)


def test_every_combination_of_missing_labels_is_read_back(tmp_path):
    combinations = [(b, s, d) for b in (0, 1) for s in (0, 1) for d in (0, 1)]
    with Bdd100kWriter(tmp_path, 'train') as writer:
        for i, (has_boxes, has_semantic, has_drivable) in enumerate(combinations):
            writer.add(
                f'{i:02d}',
                IMAGE,
                boxes=BOXES if has_boxes else None,
                class_ids=np.array([2, 9]) if has_boxes else None,
                semantic=MASK if has_semantic else None,
                drivable=MASK % 3 if has_drivable else None,
            )
    records = read_split(tmp_path, 'train')
    found = [
        (r.boxes is not None, r.semantic is not None, r.drivable is not None) for r in records
    ]
    assert found == [tuple(map(bool, c)) for c in combinations]
    full = records[-1]
    np.testing.assert_array_equal(full.boxes.boxes, BOXES)
    np.testing.assert_array_equal(full.boxes.class_ids, [2, 9])
    np.testing.assert_array_equal(read_mask(full.semantic), MASK)
    np.testing.assert_array_equal(read_mask(full.drivable), MASK % 3)
    assert full.boxes.annotated.all() and not full.boxes.crowd.any()


def test_an_image_without_objects_is_labelled_and_empty(tmp_path):
    with Bdd100kWriter(tmp_path, 'val') as writer:
        writer.add('a', IMAGE, boxes=np.zeros((0, 4)), class_ids=np.zeros(0, int))
    (record,) = read_split(tmp_path, 'val')
    assert record.boxes is not None and record.boxes.boxes.shape == (0, 4)


def test_unannotated_categories_survive_the_round_trip(tmp_path):
    with Bdd100kWriter(tmp_path, 'val', annotated=['car', 'rider']) as writer:
        writer.add('a', IMAGE, boxes=BOXES, class_ids=np.array([2, 1]))
    (record,) = read_split(tmp_path, 'val')
    names = [n for n, a in zip(DETECTION.names, record.boxes.annotated, strict=True) if a]
    assert names == ['rider', 'car']


def test_official_category_names_are_mapped(tmp_path):
    with Bdd100kWriter(tmp_path, 'train') as writer:
        writer.add('a', IMAGE)
    box = {'x1': 0, 'y1': 1, 'x2': 2, 'y2': 3}
    categories = ['bike', 'motor', 'person', 'van', 'other vehicle', 'trailer', 'lane/road curb']
    labels = [{'id': str(i), 'category': c, 'box2d': box} for i, c in enumerate(categories)]
    labels.append({'id': '9', 'category': 'car', 'attributes': {'crowd': True}, 'box2d': box})
    path = tmp_path / 'labels' / 'det_20' / 'det_train.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{'name': 'a.jpg', 'labels': labels}, {'name': 'b.jpg'}]))
    boxes = read_split(tmp_path, 'train')[0].boxes
    names = [DETECTION.names[i] for i in boxes.class_ids]
    assert names == ['bicycle', 'motorcycle', 'pedestrian', 'car', 'car', 'truck', 'car']
    assert boxes.crowd.tolist() == [False] * 4 + [True] * 3


def test_the_real_sample_is_read(shared_data):
    records = {r.name: r for r in read_split(shared_data / 'bdd100k_sample', 'train')}
    assert len(records) == 4
    labelled = [r for r in records.values() if r.boxes is not None]
    assert sum(len(r.boxes.boxes) for r in labelled) == 13
    assert read_image(labelled[0].image).shape == (720, 1280, 3)


@pytest.mark.parametrize(
    ('content', 'message'),
    [('{', 'not a BDD100K detection file'), ('[{"labels": []}]', "KeyError('name')")],
)
def test_a_broken_label_file_is_named(tmp_path, content, message):
    with Bdd100kWriter(tmp_path, 'train') as writer:
        writer.add('a', IMAGE)
    path = tmp_path / 'labels' / 'det_20' / 'det_train.json'
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r'det_train\.json') as error:
        read_split(tmp_path, 'train')
    assert message in str(error.value)


def test_labels_without_images_are_one_line_once(tmp_path, capsys, monkeypatch):
    for split in ('train', 'val'):
        with Bdd100kWriter(tmp_path, split) as writer:
            for name in 'abc':
                writer.add(name, IMAGE, boxes=BOXES, class_ids=np.array([2, 9]), semantic=MASK)
        for name in 'ac':
            (tmp_path / 'images' / '100k' / split / f'{name}.jpg').unlink()
    monkeypatch.setenv('RANK', '1')
    read_split(tmp_path, 'train')
    assert capsys.readouterr().err == ''
    monkeypatch.setenv('RANK', '0')
    line = 'warning: {}: labels of {} without an image: 2 det_20, 2 sem_seg; the first a\n'
    for split, error in (('train', line), ('train', ''), ('val', line)):
        assert [record.name for record in read_split(tmp_path, split)] == ['b']
        assert capsys.readouterr().err == error.format(tmp_path, split)


def test_errors_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(UserError, match='unidrive scenes'):
        read_split(tmp_path, 'train')
    (tmp_path / 'x.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'x\.png'):
        read_image(tmp_path / 'x.png')
    with Bdd100kWriter(tmp_path, 'val') as writer:
        writer.add('a', IMAGE, boxes=BOXES, class_ids=np.array([2, 1]))
    with pytest.raises(UserError, match='exists'):
        Bdd100kWriter(tmp_path, 'val')
    with pytest.raises(UserError, match='one-channel'):
        read_mask(tmp_path / 'images' / '100k' / 'val' / 'a.jpg')
