# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets into the BDD100K layout, on the real files where they are."""

import cv2
import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_mask, read_split
from unidrive_training.data.convert.camvid import derive_boxes
from unidrive_training.data.convert.kitti import read_label


def test_camvid_ids_boxes_and_drivable(shared_data, tmp_path):
    source = shared_data / 'camvid'
    assert main(['convert', 'camvid', str(source), str(tmp_path / 'out')]) == 0
    records = read_split(tmp_path / 'out', 'val')
    assert len(records) == 101
    record = records[0]
    original = read_mask(source / 'labels' / 'val' / f'{record.name}.png')
    semantic, drivable = read_mask(record.semantic), read_mask(record.drivable)
    mapping = [10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18, 255]
    for camvid_id, train_id in enumerate(mapping):
        assert (semantic[original == camvid_id] == train_id).all()
    assert (drivable[original == 3] == 0).all()
    assert set(np.unique(drivable[original < 11])) == {0, 2}
    cars = record.boxes.boxes[record.boxes.class_ids == 2]
    assert len(cars) > 0
    for x_min, y_min, x_max, y_max in cars.astype(int):
        assert (semantic[y_min:y_max, x_min:x_max] == 13).mean() >= 0.4


def test_derived_boxes_are_exact_or_absent():
    mask = np.zeros((100, 120), np.uint8)
    mask[20:40, 30:60] = 8
    mask[50:90, 100:110] = 9
    boxes, class_ids = derive_boxes(mask)
    assert boxes.tolist() == [[30, 20, 60, 40], [100, 50, 110, 90]]
    assert class_ids.tolist() == [2, 0]
    mask[80:82, 10:90] = mask[10:80, 10:12] = 8  # an L: little of its box is car
    assert derive_boxes(mask) == (None, None)


def test_idd_lite_gives_drivable_only_and_keeps_unlabelled_images(shared_data, tmp_path):
    source = shared_data / 'idd_lite'
    assert main(['convert', 'idd_lite', str(source), str(tmp_path / 'out')]) == 0
    record = read_split(tmp_path / 'out', 'val')[0]
    assert record.tasks() == ['drivable']
    sequence, frame = record.name.split('_')
    original = cv2.imread(str(source / 'gtFine/val' / sequence / f'{frame}_label.png'), -1)
    drivable = read_mask(record.drivable)
    assert (drivable[original == 0] == 0).all()
    assert (drivable[(original > 0) & (original < 255)] == 2).all()
    assert (drivable[original == 255] == 255).all()
    assert all(r.tasks() == [] for r in read_split(tmp_path / 'out', 'test'))


def test_kitti_boxes(shared_data, tmp_path):
    source = shared_data / 'kitti_object'
    assert main(['convert', 'kitti', str(source), str(tmp_path / 'out')]) == 0
    train, val = (read_split(tmp_path / 'out', split) for split in ('train', 'val'))
    assert (len(train), len(val)) == (17, 4)
    boxes, class_ids = read_label(source / 'label_2' / '000001.txt')
    assert class_ids.tolist() == [3, 2, 1]  # truck, car, rider
    assert boxes[0] == pytest.approx([599.41, 156.40, 629.75, 189.25])


def test_wrong_use_is_one_sentence(tmp_path, capsys):
    assert main(['convert', 'camvid', str(tmp_path / 'none'), str(tmp_path / 'out')]) == 2
    assert 'no such folder' in capsys.readouterr().err
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'x').touch()
    assert main(['convert', 'camvid', str(tmp_path), str(tmp_path / 'full')]) == 2
    assert 'not empty' in capsys.readouterr().err
    label = tmp_path / '000.txt'
    label.write_text('Car 0 0\n')
    with pytest.raises(UserError, match='8 fields'):
        read_label(label)
