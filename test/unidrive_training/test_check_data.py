# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""`unidrive check-data` names what does not fit, and nothing it meets can end it; broken files
are stopped at or skipped before training.
"""

import json
import os
import shutil
import struct
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.data.bdd100k import Bdd100kWriter, read_image, read_split
from unidrive_training.data.broken import drop_broken
from unidrive_training.data.headers import image_size, mask_header
from unidrive_training.data.sample import load_sample

BOX = {'x1': 1, 'y1': 2, 'x2': 30, 'y2': 20}


def chunk(kind, content):
    check = struct.pack('>I', zlib.crc32(kind + content))
    return struct.pack('>I', len(content)) + kind + content + check


def empty_png(width, height):
    """A header that promises so many grey pixels, and none of them."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    chunks = (b'IHDR', header), (b'IDAT', zlib.compress(b'0')), (b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*each) for each in chunks)


HUGE_PNG = empty_png(1 << 19, 1 << 19)
RNG = np.random.default_rng(0)


def picture():
    return cv2.resize(RNG.integers(0, 255, (9, 16, 3), np.uint8), (64, 36))


def write_split(root, split, count):
    """Clean: every image has the labels of every task."""
    mask = np.full((36, 64), 2, np.uint8)
    mask[20:] = 0
    mask[30:] = 255
    with Bdd100kWriter(root, split) as writer:
        for i in range(count):
            writer.add(
                f'{split}{i}',
                picture(),
                boxes=np.array([[1.0, 2, 30, 20]]),
                class_ids=np.array([2]),
                semantic=mask,
                drivable=mask,
            )


@pytest.fixture(scope='module')
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp('check') / 'clean'
    write_split(root, 'train', 8)
    write_split(root, 'val', 2)
    return root


@pytest.fixture
def tree(clean, tmp_path):
    """A copy of the clean folder to damage."""
    return shutil.copytree(clean, tmp_path / 'data')


def check(root, *options):
    """Exit status and {kind: its cases}, problems and notes together."""
    file = root.parent / 'found.json'
    status = main(['check-data', str(root), '--json', str(file), *options])
    document = json.loads(file.read_text())
    return status, document['problems'] | document['notes']


def test_a_clean_folder_is_clean(tree, capsys):
    assert check(tree) == (0, {})
    output = capsys.readouterr().out
    assert 'train: 8 images; labelled: detection 8, semantic 8, drivable 8' in output
    assert output.endswith('no problems\n')


def exif_turned(path):
    """The picture as a JPEG whose EXIF block says that it lies on its side."""
    jpeg = cv2.imencode('.jpg', picture())[1].tobytes()
    tiff = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b'Exif\0\0' + tiff
    path.write_bytes(jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + jpeg[2:])


def test_hostile_files_are_all_named(tree, capsys):
    images, masks = tree / 'images/100k/train', tree / 'labels/sem_seg/masks/train'
    drivable = tree / 'labels/drivable/masks/train'
    jpeg, png = (images / 'train0.jpg').read_bytes(), (masks / 'train0.png').read_bytes()
    (images / 'train0.jpg').write_bytes(jpeg[: len(jpeg) // 2])
    (images / 'train1.jpg').write_bytes(b'')
    (images / 'train2.jpg').unlink()
    (images / 'train2.jpg').symlink_to('nowhere')
    (images / 'train3.jpg').unlink()
    os.mkfifo(images / 'train3.jpg')
    exif_turned(images / 'train4.jpg')
    (images / '._train5.jpg').write_bytes(b'\0\5\x16\7')
    (images / 'line\nbreak.jpg').write_bytes(jpeg)
    (images / os.fsdecode(b'\xff.jpg')).write_bytes(jpeg[:-9])
    (images / 'Thumbs.db').touch()
    (images / 'folder.jpg').mkdir()
    shutil.copy(images / 'train6.jpg', images / 'train6.png')
    (masks / 'train5.png').write_bytes(png[: len(png) // 2])
    (masks / 'train6.png').write_bytes(HUGE_PNG)
    (masks / 'train7.png').write_bytes(jpeg)
    cv2.imwrite(str(masks / 'stranger.png'), np.zeros((36, 64), np.uint8))
    cv2.imwrite(str(drivable / 'train5.png'), np.zeros((36, 64, 3), np.uint8))
    cv2.imwrite(str(drivable / 'train6.png'), np.zeros((36, 64), np.uint16))
    cv2.imwrite(str(drivable / 'train7.png'), np.full((36, 64), 33, np.uint8))
    status, found = check(tree)
    assert status == 1
    bad = [case.split(':')[0].rsplit('/')[-1] for case in found['undecodable image']]
    assert bad == ['._train5.jpg', 'train1.jpg', 'train2.jpg', 'train3.jpg', '\\udcff.jpg']
    assert 'Premature end' in found['damaged image'][0] and len(found['damaged image']) == 1
    assert [case.split(':')[0] for case in found['mask size']] == [
        'labels/sem_seg/masks/train/train4.png',
        'labels/drivable/masks/train/train4.png',
    ]
    assert '64×36, its image 36×64' in found['mask size'][0]
    assert found['one name, two images'] == ['images/100k/train/train6.png']
    assert found['unexpected file'] == [
        'images/100k/train/Thumbs.db',
        'images/100k/train/folder.jpg',
    ]
    unreadable = [case.split(':')[0].rsplit('/')[-1] for case in found['unreadable mask']]
    assert unreadable == ['train5.png', 'train6.png', 'train7.png']
    assert found['label without image'] == ['train/semantic: stranger']
    assert len(found['colours instead of ids']) == len(found['mask not 8-bit']) == 1
    assert found['mask id'] == ['labels/drivable/masks/train/train7.png: 33']
    assert '\nbreak' not in capsys.readouterr().out


def write_boxes(root, text, split='train'):
    (root / f'labels/det_20/det_{split}.json').write_text(text)


def frame(name, *boxes, category='car'):
    labels = [{'category': category, 'box2d': BOX | change} for change in boxes]
    return {'name': f'{name}.jpg', 'labels': labels}


def test_hostile_boxes_are_all_named(tree):
    nan, huge = float('nan'), 10**400
    frames = [
        frame('train0', {'x2': 90}, {'x2': 64.9}, {'x1': -500, 'x2': -400}),
        frame('train1', {'x1': nan}, {'y2': 'wide'}, {'x2': None}, {'x1': True}, {'x1': huge}),
        frame('train2', {'x1': 31}, {'y1': 20}),
        frame('train3', {}, category='unicorn'),
        frame('train3', {}),
        {'name': 'train4.jpg'},
        {'name': 'train5.jpg', 'labels': None},
        {'name': 'train6.jpg', 'labels': [7, {}, {'category': 'car'}, {'category': 'lane'}]},
        {'name': 'train7.jpg', 'labels': {'category': 'car'}},
        {'name': 5},
        'train7.jpg',
        None,
        frame('gone', {}),
    ]
    config = {'categories': [{'name': 'car'}, {'name': ['list']}, 'dog']}
    write_boxes(tree, json.dumps({'frames': frames, 'config': config}))
    status, found = check(tree, '--fast')
    counts = {kind: len(cases) for kind, cases in found.items()}
    assert status == 1
    assert counts == {
        'label without image': 1,
        'bad frame': 4,
        'frame named twice': 1,
        'bad label': 3,
        'unknown category': 3,
        'box not a number': 5,
        'reversed box': 1,
        'empty box': 1,
        'box outside': 2,
        'frame without labels': 2,
    }
    assert 'train0.jpg: label 0 (car) by 26.0 of 64×36 pixels' in found['box outside'][0]


@pytest.mark.parametrize(
    'text',
    ['', '{', 'null', '"text"', '{"config": {}}', '[' * 100_000, '\ufeff[]', '[{"name": "a'],
)
def test_a_label_file_that_is_no_json_is_named(tree, text):
    write_boxes(tree, text)
    status, found = check(tree, '--fast', '--split', 'train')
    assert status == 1 and len(found) == 1
    assert 'train/det_20' in found['unreadable label file'][0]


def test_copies_and_namesakes(tree):
    images = tree / 'images'
    (images / '10k/train').mkdir(parents=True)
    shutil.copy(images / '100k/train/train0.jpg', images / '100k/val/other.jpg')
    shutil.copy(images / '100k/train/train1.jpg', images / '100k/train/again.jpg')
    shutil.copy(images / '100k/train/train2.jpg', images / '10k/train/train2.jpg')
    cv2.imwrite(str(images / '10k/train/train3.jpg'), picture())
    cv2.imwrite(str(images / '100k/val/train4.jpg'), picture())
    status, found = check(tree, '--fast')
    del found['image without any label']
    assert status == 1
    assert found == {
        'one name, two images': ['train: train3 differs in 100k and 10k'],
        'duplicate image': ['100k/train/again = 100k/train/train1'],
        'image in two splits': ['100k/train/train0 = 100k/val/other'],
        'image in 100k and 10k': ['100k/train/train2 = 10k/train/train2'],
        'name in two splits': ['train4: train, val'],
    }


def move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


LAYOUTS = {
    'one deeper': ([('images', 'bdd100k/images'), ('labels', 'bdd100k/labels')], 'give '),
    'in pieces': ([('labels', 'det/bdd100k/labels')], 'in pieces'),
    'bare 100k': ([('images/100k', '100k')], 'move 100k/train to images/100k/train'),
    'older boxes': (
        [('labels/det_20/det_train.json', 'labels/bdd100k_labels_images_train.json')],
        'move it to labels/det_20/det_train.json',
    ),
    'release 2020': (
        [('labels/det_20/det_val.json', 'labels/det_20/det_v2_val_release.json')],
        'move it to labels/det_20/det_val.json',
    ),
    'boxes of 2018': ([('labels/det_20/det_train.json', 'labels/100k/train/a.json')], 'per image'),
    'maps of 2018': ([('labels/drivable/masks', 'drivable_maps/labels')], '0 background'),
    'seg of 2018': ([('labels/sem_seg/masks', 'seg/labels')], 'move seg/images/SPLIT'),
    'inner folder': ([('images/100k/train', 'images/100k/train/trainA')], 'trainA to images'),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_other_layouts_are_told_what_to_do(tree, layout, capsys):
    moves, advice = LAYOUTS[layout]
    for source, target in moves:
        move(tree / source, tree.parent / 'aside')
        move(tree.parent / 'aside', tree / target)
    status, found = check(tree, '--fast')
    assert status == 1
    assert any(advice in line for line in found['another layout'])
    assert 'problem: another layout' in capsys.readouterr().out


def test_masks_of_older_releases_are_known_by_what_is_in_them(tree):
    for path in (tree / 'labels/drivable/masks/train').iterdir():
        mask = np.zeros((36, 64), np.uint8)
        mask[20:] = 1
        cv2.imwrite(str(path), mask)
    (tree / 'labels/sem_seg/masks').rename(tree / 'labels/sem_seg/colormaps')
    status, found = check(tree)
    assert status == 1
    assert found['older drivable ids'] == ['train: 8 of 8 masks']
    assert found['only colormaps'] == [f'labels/sem_seg/colormaps/{s}' for s in ('train', 'val')]


def test_wrong_use_and_an_empty_folder(tmp_path, capsys):
    assert main(['check-data', str(tmp_path / 'none')]) == 2
    assert 'no such folder' in capsys.readouterr().err
    (tmp_path / 'data').mkdir()
    status, found = check(tmp_path / 'data')
    assert status == 1 and list(found) == ['no images']


def test_the_real_sample(shared_data, tmp_path):
    root = tmp_path / 'sample'
    shutil.copytree(shared_data / 'bdd100k_sample', root)
    status, found = check(root)
    assert status == 1
    assert found == {
        'label without image': ['val/detection: all 2, the split has no images'],
        'only colormaps': ['labels/sem_seg/colormaps/train'],
        'image without any label': ['train: 00a7ef03-00000000', 'train: 00a9cd6b-b39be004'],
    }


def damaged(tree):
    (tree / 'images/100k/train/train0.jpg').write_bytes(b'no image')
    cv2.imwrite(str(tree / 'labels/sem_seg/masks/train/train1.png'), np.zeros((9, 9), np.uint8))
    (tree / 'labels/drivable/masks/train/train2.png').write_bytes(b'')
    frames = [frame('train3', {}, {'x1': float('inf')}), frame('train4', {'x1': 31})]
    write_boxes(tree, json.dumps(frames))


def test_broken_records_stop(tree):
    records = read_split(tree, 'train')
    assert drop_broken(records, 'train') is records
    damaged(tree)
    with pytest.raises(UserError) as error:
        drop_broken(read_split(tree, 'train'), 'train', 'stop')
    message = str(error.value)
    assert 'train0.jpg: no image' in message and '5 broken' in message and '\n' not in message


def test_broken_records_are_skipped_and_counted(tree, capsys):
    damaged(tree)
    kept = {r.name: r for r in drop_broken(read_split(tree, 'train'), 'train', 'skip')}
    assert sorted(kept) == [f'train{i}' for i in range(1, 8)]
    assert kept['train1'].tasks() == ['drivable'] and kept['train2'].tasks() == ['semantic']
    assert kept['train3'].boxes.boxes.tolist() == [[1, 2, 30, 20]]
    assert kept['train4'].boxes.boxes.shape == (0, 4)
    assert kept['train5'].tasks() == ['semantic', 'drivable']
    assert '5 broken images, masks and boxes in 8 images of train (1 images left out)' in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize('header', [image_size, mask_header])
@pytest.mark.filterwarnings('error')
def test_what_decoded_would_need_too_much_memory_is_broken(tmp_path, header):
    path = tmp_path / 'a.png'
    path.write_bytes(empty_png(20_000, 10_000))
    header(path)
    path.write_bytes(empty_png(20_000, 10_001))
    with pytest.raises(UserError, match='20000×10001 pixels, where 1 to 200 million are usable'):
        header(path)


def test_the_header_tells_the_size_of_a_turned_picture(tmp_path):
    exif_turned(tmp_path / 'turned.jpg')
    assert image_size(tmp_path / 'turned.jpg') == (64, 36)
    assert cv2.imread(str(tmp_path / 'turned.jpg')).shape == (64, 36, 3)


class FirstRecord(Dataset):
    """Item 0: the first training image below a folder, with its labels."""

    def __init__(self, root):
        self.record = read_split(root, 'train')[0]

    def __len__(self):
        return 1

    def __getitem__(self, index):
        load_sample(self.record)


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('images/100k/train/train0.jpg', b'no image', 'cannot be read as an image'),
        ('images/100k/train/train0.jpg', HUGE_PNG, 'cannot be read as an image'),
        ('labels/sem_seg/masks/train/train0.png', b'', 'cannot be read as a label mask'),
        ('labels/drivable/masks/train/train0.png', HUGE_PNG, 'cannot be read as a label mask'),
    ],
    ids=range(4),
)
def test_a_broken_file_is_one_line(tree, file, content, message):
    (tree / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        load_sample(read_split(tree, 'train')[0])
    assert str(error.value).startswith(f'{tree / file}: {message}') and '\n' not in str(
        error.value
    )


def test_a_broken_file_is_one_line_from_a_worker_too(tree, monkeypatch, capsys):
    image = tree / 'images/100k/train/train0.jpg'
    image.write_bytes(b'no image')
    command = SimpleNamespace(
        add_arguments=lambda parser: None,
        run=lambda args: list(DataLoader(FirstRecord(tree), batch_size=None, num_workers=1)),
    )
    monkeypatch.setitem(sys.modules, 'unidrive_training.data.check.cli', command)
    assert main(['check-data']) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'unidrive: error: {image}: cannot be read as an image')
    assert error.count('\n') == 1


def test_a_name_that_is_no_text_is_no_crash(tmp_path):
    path = tmp_path / os.fsdecode(b'\xff.png')
    path.write_bytes(cv2.imencode('.png', picture())[1].tobytes())
    with pytest.raises(UserError):
        read_image(path)
