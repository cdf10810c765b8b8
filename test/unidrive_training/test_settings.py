# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's settings: counts, disjointness, and lists that never change by accident."""

import json
import random
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import Record
from unidrive_training.data.box_labels import BoxLabels
from unidrive_training.data.settings import (
    Setting,
    apply_setting,
    choose,
    fingerprint,
    freeze,
    load_setting,
)

BOXES = BoxLabels(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, bool), np.ones(10))
NAMES = ('full', 'disjoint-normal', 'disjoint-balance')


def records(street, semantic, both):
    """Like BDD100K: images with boxes and drivable masks, with semantic masks, and with both."""
    everything = []
    for number in range(street + semantic - both):
        name = f'{number:08x}'
        record = Record(name, Path(f'{name}.jpg'))
        if number < street:
            record.boxes, record.drivable = BOXES, Path(f'drivable/{name}.png')
        if number >= street - both:
            record.semantic = Path(f'semantic/{name}.png')
        everything.append(record)
    return everything


def counts(kept):
    return dict(Counter(task for record in kept for task in record.tasks()))


@pytest.fixture(scope='module')
def bdd100k():
    return records(street=70_000, semantic=7_000, both=3_000)


@pytest.mark.parametrize(
    ('name', 'images', 'expected'),
    [
        ('full', 74_000, {'detection': 70_000, 'drivable': 70_000, 'semantic': 7_000}),
        ('disjoint-normal', 37_000, {'drivable': 20_000, 'detection': 10_000, 'semantic': 7_000}),
        ('disjoint-balance', 21_000, dict.fromkeys(('detection', 'drivable', 'semantic'), 7_000)),
    ],
)
def test_the_paper_s_settings_have_the_paper_s_numbers(bdd100k, name, images, expected):
    setting = load_setting(name)
    kept = apply_setting(setting, bdd100k)
    assert len(kept) == images and counts(kept) == expected
    if setting.disjoint:
        assert all(len(record.tasks()) == 1 for record in kept)
    by_name = {record.name: record for record in bdd100k}
    assert all(record.image == by_name[record.name].image for record in kept)
    assert len(bdd100k) == 74_000 and counts(bdd100k)['semantic'] == 7_000  # left as they were


# Names as 00000000.. of 700 + 70 images; the paper's settings at a hundredth of their size.
FINGERPRINTS = {
    'full': '3dedb9713659961b28ac42448629a44b391558eea37ceb3ada477bbcde4e22b6',
    'disjoint-normal': '518f24f1e3c0a7fab7b0c27976af64077b889d1803025a833fbaa3383cae9093',
    'disjoint-balance': '82b1e1c980fd01ccdbab161169d9fc28312da504b6da3465d61b54f38793a917',
}


@pytest.mark.parametrize('name', NAMES)
def test_the_recipe_never_changes(name):
    setting = load_setting(name)
    hundredth = {
        task: amount if isinstance(amount, float) else amount // 100
        for task, amount in setting.labelled.items()
    }
    small = setting.model_copy(update={'labelled': hundredth})
    images = records(street=700, semantic=70, both=30)
    assert fingerprint(freeze(small, images)) == FINGERPRINTS[name]
    random.Random(1).shuffle(images)
    assert fingerprint(freeze(small, images)) == FINGERPRINTS[name]


def test_the_chosen_names_are_these():
    setting = Setting(name='x', seed=3, labelled={'detection': 3, 'drivable': 2}, disjoint=True)
    chosen = choose(setting, records(street=10, semantic=0, both=0))
    numbers = {task: sorted(int(name, 16) for name in names) for task, names in chosen.items()}
    assert numbers == {'detection': [1, 2, 7], 'drivable': [3, 9]}


def test_a_smaller_setting_is_a_part_of_a_larger_one(bdd100k):
    normal, balance = (choose(load_setting(name), bdd100k) for name in NAMES[1:])
    assert balance['semantic'] == normal['semantic']
    assert balance['detection'] < normal['detection']
    assert len(balance['drivable'] & normal['drivable']) > 0.93 * 7_000


def test_the_seed_and_the_task_make_a_difference():
    images = records(street=1000, semantic=0, both=0)
    one, other = (
        choose(Setting(name='x', seed=seed, labelled={'detection': 0.5, 'drivable': 0.5}), images)
        for seed in (0, 1)
    )
    for a, b in ((one, other), (other, one)):
        assert 200 < len(a['detection'] & b['detection']) < 300
    assert 200 < len(one['detection'] & one['drivable']) < 300  # not the same images


def test_fractions_and_tasks_that_are_not_named():
    setting = Setting(name='x', labelled={'semantic': 0.1, 'detection': 1.0})
    kept = apply_setting(setting, records(street=40, semantic=30, both=10))
    assert counts(kept) == {'detection': 40, 'semantic': 3}
    assert apply_setting(Setting(name='x', labelled={'semantic': 0.0}), kept) == []


def test_a_frozen_setting_is_read_back(tmp_path):
    images = records(street=40, semantic=30, both=10)
    setting = Setting(name='x', labelled={'semantic': 7, 'detection': 0.25}, disjoint=True)
    frozen = freeze(setting, images)
    path = tmp_path / 'x.json'
    path.write_text(frozen.model_dump_json())
    again = load_setting(path)
    assert again == frozen
    assert apply_setting(again, images) == apply_setting(setting, images)
    # More data changes what a recipe chooses, but not what a frozen list says.
    more = images + [Record(f'more{i}', Path(f'more{i}.jpg'), boxes=BOXES) for i in range(40)]
    assert apply_setting(again, more) == apply_setting(setting, images)
    assert counts(apply_setting(setting, more))['detection'] == 20
    with pytest.raises(UserError, match=r'x: 7 of its 7 semantic images are not labelled here'):
        apply_setting(again, images[:30])


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'semantic': 31}, '31 images, and 30 of the 30 labelled ones are free; give a smaller'),
        ({'detection': 35, 'drivable': 20}, '5 of the 40 labelled ones are free.*name this one'),
    ],
)
def test_too_few_images_are_an_error_with_the_numbers(setting, message):
    setting = Setting(name='x', disjoint=True, labelled=setting)
    with pytest.raises(UserError, match=message):
        apply_setting(setting, records(street=40, semantic=30, both=10))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{name: x, labelled: {lanes: 3}}', 'lanes'),
        ('{name: x, labelled: {semantic: 1.5}}', 'less than or equal to 1'),
        ('{name: x, labelled: {semantic: -3}}', 'greater than or equal to 0'),
        ('{name: x, labelled: {semantic: true}}', 'semantic'),
        ('{name: x, labelled: {semantic: 2}, images: {semantic: [a, a]}}', 'images names'),
        (
            '{name: x, disjoint: true, labelled: {semantic: 1, detection: 1}, '
            'images: {semantic: [a], detection: [a]}}',
            '1 images have two tasks',
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, message):
    path = tmp_path / 'x.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_setting(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_unknown_names_and_broken_files(tmp_path):
    with pytest.raises(UserError, match='disjoint-balance, disjoint-normal, full'):
        load_setting('disjoint')
    with pytest.raises(UserError, match='No such file'):
        load_setting(tmp_path / 'absent.json')
    path = tmp_path / 'x.json'
    for text in ('{', '[]'):
        path.write_text(text)
        with pytest.raises(UserError, match=r'x\.json'):
            load_setting(path)


def test_the_command_prints_and_freezes(tmp_path, capsys):
    for image_set, split, names in (('100k', 'train', 'abcd'), ('10k', 'val', 'ad')):
        for name in names:
            path = tmp_path / 'images' / image_set / split / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    masks = tmp_path / 'labels' / 'drivable' / 'masks' / 'train'
    masks.mkdir(parents=True)
    for name in 'abd':
        (masks / f'{name}.png').touch()
    out = tmp_path / 'lists' / 'mine.json'
    assert main(['setting', 'full', str(tmp_path), '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert 'drivable       3 of      3 labelled images' in printed
    assert '3 of 4 images' in printed and '2 of them are also validation images' in printed
    assert json.loads(out.read_text())['images']['drivable'] == ['a', 'b', 'd']
    assert main(['setting', str(out), str(tmp_path)]) == 0
    marks = [line for line in capsys.readouterr().out.splitlines() if 'fingerprint' in line]
    assert marks[0] in printed
    assert main(['setting', 'disjoint-normal', str(tmp_path)]) == 2
    assert main(['setting', 'full', str(tmp_path), '--out', str(tmp_path / 'x.txt')]) == 2
    assert sorted(path.name for path in out.parent.iterdir()) == ['mine.json']
