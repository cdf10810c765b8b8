# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Detection files are read piece by piece, and a folder like BDD100K, a hundredth of its size."""

import importlib.util
import json
import pickle
import sys
import tracemalloc

import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.data import scalabel
from unidrive_training.data.bdd100k import image_files, read_split
from unidrive_training.data.box_labels import read_boxes
from unidrive_training.data.scalabel import FrameFile

CAR = {'category': 'car', 'box2d': {'x1': 1, 'y1': 2.5, 'x2': 3e1, 'y2': 40}}
FRAMES = [
    {'name': 'a.jpg', 'labels': [CAR]},
    {'name': 'folder/b.c.jpg', 'attributes': {'text': 'é "[{]}" \\'}, 'labels': []},
    {'name': 'd.jpg'},
]
CATEGORIES = {'categories': [{'name': 'car'}, {'name': 'person'}]}
FORMS = {
    'list': FRAMES,
    'frames': {'frames': FRAMES, 'config': CATEGORIES},
    'config first': {'version': 12, 'config': CATEGORIES, 'groups': [[1], {}], 'frames': FRAMES},
    'config null': {'frames': FRAMES, 'config': None},
    'empty list': [],
    'empty frames': {'frames': []},
}


@pytest.mark.parametrize('chunk', [1, 2, 7, 1 << 22])
@pytest.mark.parametrize('indent', [None, 3])
@pytest.mark.parametrize('form', FORMS)
def test_frames_come_one_by_one_as_json_gives_them(tmp_path, monkeypatch, form, indent, chunk):
    monkeypatch.setattr(scalabel, '_CHUNK', chunk)
    document = FORMS[form]
    path = tmp_path / 'det.json'
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False), encoding='utf-8')
    file = FrameFile(path)
    assert list(file) == (document if isinstance(document, list) else document['frames'])
    assert file.config == (None if isinstance(document, list) else document.get('config'))


@pytest.mark.parametrize('chunk', [3, 1 << 22])
@pytest.mark.parametrize(
    'text',
    [
        *(
            '',
            '{',
            '[',
            '[1',
            '[1,',
            '[1,]',
            '[1 2]',
            '[1]]',
            '[{"name": "a.jpg"}] x',
            '12',
            '"a"',
        ),
        *('{}', '{"config": 1}', '{"frames": [],}', '{"frames" []}', '{3: 4}', '{"frames": 7}'),
        *(
            '[{"name": 3}]',
            '[[]]',
            '[{"name": "a", "labels": [3]}]',
            '{"frames": [], "config": 3}',
        ),
        '[{"name": "a", "labels": [{"category": "car", "box2d": {"x1": 1}}]}]',
        '[{"name": "a", "labels": [{"category": ["car"], "box2d": {"x1": 1}}]}]',
    ],
)
def test_anything_else_is_an_error_of_one_line(tmp_path, monkeypatch, text, chunk):
    monkeypatch.setattr(scalabel, '_CHUNK', chunk)
    path = tmp_path / 'det.json'
    path.write_text(text)
    with pytest.raises(UserError, match=r'det\.json: not a BDD100K detection file') as error:
        read_boxes(path)
    assert '\n' not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / 'det.json'
    path.write_bytes(b'[\xff\xfe')
    with pytest.raises(UserError, match=r'det\.json'):
        read_boxes(path)


def test_boxes_of_both_forms_and_who_is_annotated(tmp_path):
    path = tmp_path / 'det.json'
    path.write_text(json.dumps(FORMS['list']))
    one = read_boxes(path)
    path.write_text(json.dumps(FORMS['frames']))
    other = read_boxes(path)
    assert list(one) == list(other) == ['a', 'b.c', 'd']
    for boxes in (one['a'], other['a']):
        np.testing.assert_array_equal(boxes.boxes, np.array([[1, 2.5, 30, 40]], np.float32))
    assert one['d'].annotated.all() and one['d'].boxes.shape == (0, 4)
    assert np.flatnonzero(other['d'].annotated).tolist() == [0, 2]


def test_memory_is_that_of_the_boxes_not_of_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(scalabel, '_CHUNK', 1 << 16)
    path = tmp_path / 'det.json'
    frame = {'name': 'x', 'labels': [CAR] * 20}
    path.write_text(json.dumps([frame | {'name': f'{i}.jpg'} for i in range(1000)], indent=4))
    assert path.stat().st_size > 4_000_000
    tracemalloc.start()
    boxes = read_boxes(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(boxes) == 1000 and peak < 2_500_000  # json.load needs 20 MB


def test_an_image_in_both_sets_is_read_once(tmp_path):
    for image_set, names in (
        ('100k', ('a.jpg', 'b.JPG', 'notes.txt')),
        ('10k', ('b.png', 'c.jpg')),
    ):
        folder = tmp_path / 'images' / image_set / 'train'
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    found = image_files(tmp_path, 'train')
    assert {name: str(path.relative_to(tmp_path / 'images')) for name, path in found.items()} == {
        'a': '100k/train/a.jpg',
        'b': '100k/train/b.JPG',
        'c': '10k/train/c.jpg',
    }
    records = read_split(tmp_path, 'train')
    assert [record.name for record in records] == ['a', 'b', 'c']
    assert pickle.loads(pickle.dumps(records)) == records


def test_a_hundredth_of_bdd100k(tmp_path, repo_root, capsys):
    """The benchmark of the whole size, with small pictures."""
    spec = importlib.util.spec_from_file_location(
        'bdd100k_dry_run', repo_root / 'benchmarks' / 'bdd100k_dry_run.py'
    )
    dry_run = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = dry_run
    spec.loader.exec_module(dry_run)
    dry_run.make_tree(tmp_path, 0.01, image_size=(90, 160))
    one, other = (dry_run.measure_index(tmp_path, form) for form in ('list', 'frames'))
    assert one == other
    for name in dry_run.SETTINGS:
        dry_run.measure_setting(tmp_path, name, 0.01)
    dry_run.measure_batches(tmp_path, 0.01, workers=1)
    printed = capsys.readouterr().out
    for line in (
        'JSON as frames (3 MB): 740 images, 12721 boxes',
        'full: 740 images; detection 700, semantic 70, drivable 700; at most 3',
        'disjoint-normal: 370 images; detection 100, semantic 70, drivable 200; at most 1',
        'disjoint-balance: 210 images; detection 70, semantic 70, drivable 70; at most 1',
        'training data: 740 images',
        'first batch (16, 736, 1280, 3)',
    ):
        assert line in printed
