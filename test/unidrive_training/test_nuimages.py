# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""nuImages, in exactly its schema, into the BDD100K layout."""

import base64
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from unidrive_perception.labels import DETECTION
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import read_image, read_mask, read_split

HEIGHT, WIDTH = 90, 160
CATEGORIES = [
    'flat.driveable_surface',
    'vehicle.ego',
    'vehicle.car',
    'vehicle.bicycle',
    'vehicle.trailer',
    'human.pedestrian.adult',
    'movable_object.trafficcone',
    'static_object.bicycle_rack',
]
ATTRIBUTES = ['cycle.with_rider', 'cycle.without_rider', 'vehicle.moving']


def encoded(box):
    """A filled rectangle as nuImages has it: pycocotools' run lengths in base64."""
    x1, y1, x2, y2 = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[y1:y2, x1:x2] = 1
    runs = rle.encode(mask)
    return {'size': runs['size'], 'counts': base64.b64encode(runs['counts']).decode()}


class Release:
    """The tables of one release, and its pictures."""

    def __init__(self, root, version):
        self.root, self.version = root, version
        self.tables = {
            name: []
            for name in (
                *('attribute', 'calibrated_sensor', 'category', 'ego_pose', 'log', 'object_ann'),
                *('sample', 'sample_data', 'sensor', 'surface_ann'),
            )
        }
        self.tables['category'] = [
            {'token': f'c{i}', 'name': name, 'description': ''}
            for i, name in enumerate(CATEGORIES)
        ]
        self.tables['attribute'] = [
            {'token': f'a{i}', 'name': name, 'description': ''}
            for i, name in enumerate(ATTRIBUTES)
        ]

    def frame(self, token, camera='CAM_FRONT', key=True):
        folder = 'samples' if key else 'sweeps'
        name = f'{folder}/{camera}/n013-2018-08-01+0800__{camera}__{token}.jpg'
        self.tables['sample_data'].append(
            {
                'token': token,
                'sample_token': f's{token}',
                'ego_pose_token': 'e',
                'calibrated_sensor_token': 'k',
                'filename': name,
                'fileformat': 'jpg',
                'width': WIDTH,
                'height': HEIGHT,
                'timestamp': 1533114019612449,
                'is_key_frame': key,
                'next': '',
                'prev': '',
            }
        )
        if key:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = sum(token.encode()) % 256
            cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), grey, np.uint8))

    def surface(self, frame, category, box):
        self._annotate('surface_ann', frame, category, encoded(box))

    def object(self, frame, category, box, attributes=(), mask=True):
        self._annotate(
            'object_ann',
            frame,
            category,
            encoded(box) if mask else None,
            bbox=list(box),
            attribute_tokens=[f'a{ATTRIBUTES.index(a)}' for a in attributes],
        )

    def _annotate(self, table, frame, category, mask, **more):
        rows = self.tables[table]
        rows.append(
            {
                'token': f'{len(rows):04d}',
                'sample_data_token': frame,
                'category_token': f'c{CATEGORIES.index(category)}',
                'mask': mask,
                **more,
            }
        )

    def write(self):
        folder = self.root / self.version
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            (folder / f'{name}.json').write_text(json.dumps(rows, indent=0))


@pytest.fixture
def source(tmp_path):
    """train: one frame with everything, one without any annotation; val: one; test: one."""
    root = tmp_path / 'nuimages'
    train = Release(root, 'v1.0-train')
    train.frame('full')
    train.frame('empty', camera='CAM_BACK')
    train.frame('sweep', key=False)
    train.surface('full', 'flat.driveable_surface', (0, 40, 160, 90))
    train.surface('full', 'vehicle.ego', (0, 80, 160, 90))
    train.object('full', 'vehicle.car', (10, 30, 40, 60), ['vehicle.moving'])
    train.object('full', 'vehicle.bicycle', (50, 30, 60, 60), ['cycle.with_rider'])
    train.object('full', 'vehicle.bicycle', (70, 30, 80, 60), ['cycle.without_rider'])
    train.object('full', 'vehicle.trailer', (90, 30, 99, 60))
    train.object('full', 'human.pedestrian.adult', (100, 30, 110, 60), mask=False)
    train.object('full', 'movable_object.trafficcone', (120, 50, 130, 60))
    train.object('full', 'static_object.bicycle_rack', (140, 50, 150, 60))
    val = Release(root, 'v1.0-val')
    val.frame('v')
    val.object('v', 'vehicle.car', (10, 30, 40, 60))
    test = Release(root, 'v1.0-test')
    test.frame('test')
    for release in (train, val, test):
        release.write()
    return root


def convert(source, out):
    return main(['convert', 'nuimages', str(source), str(out)])


def test_boxes_by_class_and_what_is_ignored(source, tmp_path):
    assert convert(source, tmp_path / 'out') == 0
    empty, full = read_split(tmp_path / 'out', 'train')
    assert (empty.name.split('__')[1], full.name.split('__')[1]) == ('CAM_BACK', 'CAM_FRONT')
    labels = full.boxes
    found = [
        (DETECTION.names[c], box[0], crowd)
        for c, box, crowd in zip(labels.class_ids, labels.boxes, labels.crowd, strict=True)
    ]
    assert found == [
        ('car', 10, False),
        ('bicycle', 50, True),
        ('rider', 50, False),
        ('bicycle', 70, False),
        ('truck', 90, True),
        ('pedestrian', 100, False),
        ('bicycle', 140, True),
    ]
    assert labels.boxes[0].tolist() == [10, 30, 40, 60]
    unknown = [n for n, a in zip(DETECTION.names, labels.annotated, strict=True) if not a]
    assert unknown == ['train', 'traffic light', 'traffic sign']


def test_masks_say_only_what_is_annotated(source, tmp_path):
    assert convert(source, tmp_path / 'out') == 0
    _, full = read_split(tmp_path / 'out', 'train')
    semantic = np.full((HEIGHT, WIDTH), 255, np.uint8)
    semantic[40:80] = 0
    semantic[30:60, 10:40] = 13
    semantic[30:60, 50:60] = 255  # bicycle and rider in one mask
    semantic[30:60, 70:80] = 18
    semantic[30:60, 90:99] = 255
    semantic[50:60, 120:130] = semantic[50:60, 140:150] = 255
    np.testing.assert_array_equal(read_mask(full.semantic), semantic)
    drivable = np.full((HEIGHT, WIDTH), 2, np.uint8)
    drivable[40:80] = 0
    for x1, y1, x2 in (10, 30, 40), (50, 30, 60), (70, 30, 80), (90, 30, 99):
        drivable[y1:60, x1:x2] = 2
    drivable[50:60, 120:130] = drivable[50:60, 140:150] = 2
    np.testing.assert_array_equal(read_mask(full.drivable), drivable)
    assert read_image(full.image).shape == (HEIGHT, WIDTH, 3)


def test_what_is_not_annotated_is_not_labelled(source, tmp_path):
    assert convert(source, tmp_path / 'out') == 0
    empty, _ = read_split(tmp_path / 'out', 'train')
    assert empty.tasks() == ['detection'] and len(empty.boxes.boxes) == 0
    (val,) = read_split(tmp_path / 'out', 'val')
    assert val.tasks() == ['detection', 'semantic']  # no surface: drivable is not known
    (test,) = read_split(tmp_path / 'out', 'test')
    assert test.tasks() == []
    assert main(['check-data', str(tmp_path / 'out'), '--fast']) == 0


def test_the_mini_release_is_divided(tmp_path):
    mini = Release(tmp_path / 'nuimages', 'v1.0-mini')
    for i in range(10):
        mini.frame(f'{i:02d}')
        mini.object(f'{i:02d}', 'vehicle.car', (10, 30, 40, 60))
    mini.write()
    assert convert(tmp_path / 'nuimages', tmp_path / 'out') == 0
    val = [record.name[-2:] for record in read_split(tmp_path / 'out', 'val')]
    assert val == ['04', '09']
    assert len(read_split(tmp_path / 'out', 'train')) == 8


def damage(source, table, change):
    path = source / 'v1.0-train' / f'{table}.json'
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def lengthen(rows):
    runs = base64.b64decode(rows[0]['mask']['counts'])
    rows[0]['mask']['counts'] = base64.b64encode(runs * 2).decode()


@pytest.mark.parametrize(
    ('table', 'change', 'message'),
    [
        ('object_ann', lambda rows: rows[0].update(category_token='x'), "names 'x'"),
        ('object_ann', lambda rows: rows[0].pop('bbox'), 'object_ann.json: no nuImages table'),
        ('object_ann', lambda rows: rows[0]['mask'].update(counts='%'), 'annotation 0000 cannot'),
        ('object_ann', lambda rows: rows[0]['mask'].update(size=[9, 16]), 'of its image [90, 160'),
        ('surface_ann', lengthen, 'annotation 0000 cannot be read'),
        ('sample_data', lambda rows: rows[0].update(filename='samples/no.jpg'), 'unpack'),
    ],
)
def test_broken_tables_are_one_sentence_and_leave_nothing(
    source, tmp_path, capsys, table, change, message
):
    damage(source, table, change)
    assert convert(source, tmp_path / 'out') == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('unidrive: error: ') and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ['nuimages']


def test_a_folder_without_tables_is_told_what_belongs_there(tmp_path, capsys):
    (tmp_path / 'nuimages').mkdir()
    assert convert(tmp_path / 'nuimages', tmp_path / 'out') == 2
    assert 'v1.0-mini' in capsys.readouterr().err
