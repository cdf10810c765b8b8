# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""`unidrive crops`: long-tailed small images out of generated streets."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from unidrive_training.classification.config import DataConfig
from unidrive_training.classification.data import read_images, training_loader
from unidrive_training.classification.generated import _crop, _recognisable
from unidrive_training.cli import main

SMALL = '--classes rider,car,pedestrian --per-class 4 --imbalance 4 --val-per-class 2 --size 16'


def crops(folder, *arguments):
    assert main(['crops', str(folder), *SMALL.split(), *arguments]) == 0
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*.png')}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('generated') / 'crops'
    crops(folder)
    return folder


def test_the_training_images_have_a_long_tail_and_the_others_none(folder):
    def counts(split):
        return {p.name: len(list(p.glob('*.png'))) for p in (folder / split).iterdir()}

    assert counts('train') == {'rider': 4, 'car': 2, 'pedestrian': 1}
    assert counts('val') == {'rider': 2, 'car': 2, 'pedestrian': 2}
    assert not folder.with_name('.crops.part').exists()


def test_they_are_small_pictures_of_other_streets_in_each_split(folder):
    drives = {}
    for path in folder.rglob('*.png'):
        image = cv2.imread(str(path))
        assert image.shape == (16, 16, 3) and image.std() > 2, path
        drives.setdefault(path.parts[-3], set()).add(path.stem.partition('-')[0])
    assert len(drives['val']) >= 1 and not drives['train'] & drives['val']


def test_the_seed_decides_everything(folder, tmp_path):
    (tmp_path / '.again.part' / 'train').mkdir(parents=True)  # left by a run that was killed
    again = crops(tmp_path / 'again')
    assert again == {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*.png')
    }
    assert crops(tmp_path / 'other', '--seed', '1').keys().isdisjoint(again)


def test_the_classifier_reads_them(folder):
    train, test = read_images(DataConfig(dataset='crops'), folder)
    assert train.classes == test.classes == ['car', 'pedestrian', 'rider']
    assert np.bincount(train.class_ids).tolist() == [2, 1, 4]


def test_it_learns_them_in_the_views_of_cifar(tmp_path):
    for split in ('train', 'val'):
        (tmp_path / split / 'white').mkdir(parents=True)
        for number in range(6):
            path = tmp_path / split / 'white' / f'{number}.png'
            cv2.imwrite(str(path), np.full((16, 16, 3), 255, np.uint8))
    config = DataConfig(dataset='crops', image_size=32)
    train, _ = read_images(config, tmp_path)
    views, _ = next(iter(training_loader(train, config, 0, 0, batch_size=6, workers=0)))
    assert views.shape == (6, 3, 32, 32)
    assert (views[:, :, 4:-4, 4:-4] == 255).all()  # shifted by an eighth at the most
    black = (views == 0).flatten(1).float().mean(1)
    assert black.max() > 0 and len(set(black.tolist())) > 1


def test_what_another_object_covers_is_left_out():
    instances = np.zeros((60, 80), np.uint16)
    instances[10:50, 10:50] = 1
    instances[10:50, 20:50] = 2  # in front of the first
    boxes = np.array([[10, 10, 50, 50], [20, 10, 50, 50], [0, 0, 9, 9]], np.float32)
    instances[0:9, 0:9] = 3
    frame = SimpleNamespace(boxes=boxes, instances=instances)
    assert [_recognisable(frame, number, 32) for number in range(3)] == [False, True, False]


def test_a_crop_is_square_around_the_box_and_inside_the_image():
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:30, 40:50] = 255
    middle = _crop(image, np.array([40, 20, 50, 30]), 12)
    assert (middle[1:11, 1:11] == 255).all() and middle.mean() < 200
    corner = _crop(image, np.array([92, 0, 100, 10]), 12)
    assert corner.shape == (12, 12, 3)
    whole = _crop(image, np.array([0, 0, 100, 58]), 12)  # wider than the image is high
    assert whole.shape == (12, 12, 3) and whole.any()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--classes', 'car,tank'], "--classes has 'tank'; give each once of car, "),
        (['--classes', 'car,car'], "--classes has 'car'"),
        (['--imbalance', '9'], '--imbalance is 9; give 1 to --per-class (4)'),
        (['--per-class', '0'], '--per-class is 0; give 1 to 100000'),
        (['--size', '8'], '--size is 8; give 16 to 96'),
        (['--seed', '-1'], '--seed is -1; give 0 or more'),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, capsys, arguments, sentence):
    assert main(['crops', str(tmp_path / 'out'), *SMALL.split(), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f'unidrive: error: {sentence}')
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(folder, capsys):
    assert main(['crops', str(folder), *SMALL.split()]) == 2
    assert 'exists and is not an empty folder' in capsys.readouterr().err
