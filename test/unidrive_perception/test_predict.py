# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive predict``: the right results under the right names, and nothing half-written."""

from __future__ import annotations

import argparse
import json
import shutil

import cv2
import numpy as np
import pytest
from sample_bags import TOPIC, write_image_bag, write_images, write_video
from tiny_bundle import LABELS, street, tiny_bundle, write_tiny_bundle

from unidrive_perception import predict
from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import image_message, make_header
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Predictor
from unidrive_perception.sources import SourceError


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


def run(*args):
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    return predict.run(parser.parse_args([str(arg) for arg in args]))


def write_streets(folder, names, height=120, width=200):
    """Write pictures that differ: the street moves sideways."""
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.roll(street(height, width), 5 * i, axis=1)
        path.write_bytes(rgb_to_compressed(picture, 'png').tobytes())
    return folder


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()}


def boxes(out):
    return json.loads((out / 'labels/det_20/det_predict.json').read_text())


def read_rgb(path):
    return cv2.imread(str(path))[..., ::-1]


def test_images(tmp_path, model, capsys):
    folder = write_streets(tmp_path / 'in', ['a.png', 'b.png'])
    out = tmp_path / 'out'
    assert run(folder, out, '--model', model, '--json', '--masks', '--format', 'png') == 0
    masks = {
        f'labels/{kind}/masks/predict/{name}.png'
        for kind in ('sem_seg', 'drivable')
        for name in 'ab'
    }
    assert files(out) == {
        'overlays/a.png', 'overlays/b.png', 'labels/det_20/det_predict.json', *masks,
    }  # fmt: skip
    predictor = Predictor(tiny_bundle(tmp_path / 'bundle'))
    document = boxes(out)
    assert [c['name'] for c in document['config']['categories']] == ['red', 'green', 'blue']
    for name, frame in zip('ab', document['frames'], strict=True):
        picture = read_rgb(folder / f'{name}.png')
        expected = predictor.predict(picture)
        np.testing.assert_array_equal(
            read_rgb(out / f'overlays/{name}.png'), draw_overlay(picture, expected, LABELS)
        )
        for kind, mask in (('sem_seg', expected.semantic), ('drivable', expected.drivable)):
            path = out / f'labels/{kind}/masks/predict/{name}.png'
            written = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(written, mask)
        assert frame['name'] == f'{name}.png'
        assert [row['category'] for row in frame['labels']] == ['red', 'blue']
        corners = [list(row['box2d'].values()) for row in frame['labels']]
        np.testing.assert_allclose(corners, expected.boxes, atol=1e-3)
        scores = [row['score'] for row in frame['labels']]
        np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    told = capsys.readouterr().out
    assert 'objects: 2 red, 2 blue' in told
    assert '2 images, 0 bad' in told


def test_names_are_unique_and_tell_the_folder(tmp_path, model):
    write_streets(tmp_path / 'in', ['a.png', 'a.bmp', 'deep/er/a.png', 'B.PNG'])
    (tmp_path / 'in' / 'notes.txt').write_text('no image')
    run(tmp_path / 'in', tmp_path / 'one', '--model', model)
    assert files(tmp_path / 'one') == {
        f'overlays/{name}.jpg' for name in ('a', 'a_2', 'deep/er/a', 'B')
    }
    write_streets(tmp_path / 'other', ['a.png'])
    still = tmp_path / 'in' / 'a.png'
    run(tmp_path / 'in', tmp_path / 'other', still, still, tmp_path / 'more', '--model', model)
    assert files(tmp_path / 'more') == {
        *(f'overlays/in/{name}.jpg' for name in ('a', 'a_2', 'deep/er/a', 'B')),
        *('overlays/other/a.jpg', 'overlays/a.jpg', 'overlays/a_2.jpg'),
    }


def test_folder_of_a_dataset(tmp_path, model):
    """What lies in labels are masks, not images."""
    write_streets(tmp_path / 'in', ['images/100k/val/a.png', 'labels/sem_seg/masks/val/a.png'])
    run(tmp_path / 'in', tmp_path / 'out', '--model', model)
    assert files(tmp_path / 'out') == {'overlays/100k/val/a.jpg'}


def test_video(tmp_path, model):
    (tmp_path / 'in').mkdir()
    video = write_video(tmp_path / 'in' / 'clip.avi', count=6, fps=20)
    run(video, tmp_path / 'out', '--model', model, '--json', '--masks')
    capture = cv2.VideoCapture(str(tmp_path / 'out/overlays/clip.mp4'))
    assert capture.get(cv2.CAP_PROP_FPS) == 20
    assert (capture.get(3), capture.get(4), capture.get(7)) == (160, 96, 6)
    frames = boxes(tmp_path / 'out')['frames']
    assert [frame['name'] for frame in frames] == [f'clip/clip-{i:07d}.jpg' for i in range(1, 7)]
    assert [(f['videoName'], f['frameIndex'], f['timestamp']) for f in frames] == [
        ('clip', i, 50 * i) for i in range(6)
    ]
    assert len(files(tmp_path / 'out/labels/drivable/masks/predict/clip')) == 6
    run(tmp_path / 'in', tmp_path / 'again', '--model', model)
    assert files(tmp_path / 'again') == {'overlays/clip.mp4'}


def test_bag_with_two_cameras(tmp_path, model):
    with BagWriter(tmp_path / 'drive') as writer:
        make = BagFactory(writer.typestore)
        for i in range(4):
            for topic, size in (('/left/image', (60, 100)), ('/right/image', (120, 200))):
                header = make_header(make, i * 500_000_000 + 1, 'camera')
                message = image_message(make, header, street(*size))
                writer.write(topic, message, i * 500_000_000 + 1)
    topics = ('--topic', '/left/image', '--topic', '/right/image')
    run(tmp_path / 'drive', tmp_path / 'out', '--model', model, *topics, '--json')
    for side, width in (('left', 100), ('right', 200)):
        capture = cv2.VideoCapture(str(tmp_path / f'out/overlays/drive-{side}-image.mp4'))
        assert (capture.get(3), capture.get(7)) == (width, 4)
        assert 1.9 < capture.get(cv2.CAP_PROP_FPS) < 2.1
    assert len(boxes(tmp_path / 'out')['frames']) == 8


def test_a_bag_whose_image_size_changes(tmp_path, model):
    pictures = [street(96, 160), street(48, 80), street(96, 160)]
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    assert run(source, tmp_path / 'out', '--model', model, '--masks') == 0
    capture = cv2.VideoCapture(str(tmp_path / 'out/overlays/drive.mp4'))
    assert (capture.get(3), capture.get(4), capture.get(7)) == (160, 96, 3)
    masks = sorted((tmp_path / 'out/labels/drivable/masks/predict').rglob('*.png'))
    assert [cv2.imread(str(m), -1).shape for m in masks] == [(96, 160), (48, 80), (96, 160)]


def test_tracks(tmp_path, model):
    pictures = [np.roll(street(360, 640), 4 * i, axis=1) for i in range(6)]
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    run(source, tmp_path / 'out', '--model', model, '--json', '--track', '--no-overlay')
    frames = boxes(tmp_path / 'out')['frames']
    assert files(tmp_path / 'out') == {'labels/det_20/det_predict.json'}
    for frame in frames[2:]:
        ids = {row['category']: row['id'] for row in frame['labels']}
        assert ids == {'red': '1', 'blue': '2'}


def test_score_threshold(tmp_path, model):
    folder = write_streets(tmp_path / 'in', ['a.png'])
    args = ('--model', model, '--json', '--no-overlay')
    run(folder, tmp_path / 'all', *args, '--score-threshold', 0.1)
    run(folder, tmp_path / 'none', *args, '--score-threshold', 0.95)
    counts = [len(boxes(tmp_path / n)['frames'][0]['labels']) for n in ('all', 'none')]
    assert counts == [3, 0]


def test_bad_images(tmp_path, model, capsys):
    folder = write_streets(tmp_path / 'in', [f'{i}.png' for i in range(3)])
    (folder / '1.png').write_bytes((folder / '1.png').read_bytes()[:-50])
    assert run(folder, tmp_path / 'out', '--model', model, '--json') == 0
    told = capsys.readouterr().out
    assert f'bad image {folder / "1.png"}: the compressed image' in told
    assert '2 images, 1 bad' in told
    assert files(tmp_path / 'out/overlays') == {'0.jpg', '2.jpg'}
    assert [frame['name'] for frame in boxes(tmp_path / 'out')['frames']] == ['0.png', '2.png']
    (tmp_path / 'empty.jpg').write_bytes(b'')
    assert run(tmp_path / 'empty.jpg', tmp_path / 'no', '--model', model, '--json') == 1
    assert 'no image could be read (1 bad)' in capsys.readouterr().out
    assert boxes(tmp_path / 'no')['frames'] == []


def test_what_is_there_is_not_overwritten(tmp_path, model):
    folder = write_streets(tmp_path / 'in', ['a.png'])
    out = tmp_path / 'in' / 'out'
    run(folder, out, '--model', model)
    with pytest.raises(UserError, match='is not empty: give a new folder, or --overwrite'):
        run(folder, out, '--model', model)
    (out / 'overlays' / 'a.jpg').write_bytes(b'old')
    (out / 'notes.txt').write_text('mine')
    assert run(folder, out, '--model', model, '--overwrite') == 0
    assert files(out) == {'overlays/a.jpg', 'notes.txt'}, 'the results are no images to predict'
    assert cv2.imread(str(out / 'overlays/a.jpg')).shape == (120, 200, 3)
    with pytest.raises(UserError, match='is a file'):
        run(folder, folder / 'a.png', '--model', model)


def test_nothing_half_written_remains(tmp_path, model, monkeypatch):
    source = write_image_bag(tmp_path / 'drive', pictures=[street(96, 160)] * 3)
    seen = []

    def fails(self, rgb):
        seen.append(rgb)
        if len(seen) == 5:  # two of them are to warm up
            raise KeyboardInterrupt
        return original(self, rgb)

    original = Predictor.predict
    monkeypatch.setattr(Predictor, 'predict', fails)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / 'out', '--model', model, '--json', '--masks')
    assert len(files(tmp_path / 'out')) == 2 * 2, 'masks of two images, whole; no json, no video'
    assert all(name.endswith('.png') and '.part' not in name for name in files(tmp_path / 'out'))


def test_errors_before_any_work(tmp_path, model):
    folder = write_streets(tmp_path / 'in', ['a.png'])
    out = tmp_path / 'out'
    with pytest.raises(SourceError, match='there is no bag, video, image or folder'):
        run(folder, tmp_path / 'gone', out, '--model', model)
    with pytest.raises(UserError, match='nothing is written: add --json or --masks'):
        run(folder, out, '--model', model, '--no-overlay')
    with pytest.raises(UserError, match='--fps must be greater than 0, not -1'):
        run(folder, out, '--model', model, '--fps', -1)
    with pytest.raises(UserError, match='--topic /x is for bags'):
        run(folder, out, '--model', model, '--topic', '/x')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match='holds no bag, no images and no videos'):
        run(tmp_path / 'empty', out, '--model', model)
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(SourceError, match='is no bag'):
        run(tmp_path / 'notes.txt', out, '--model', model)
    bag = write_image_bag(tmp_path / 'drive', count=1)
    with pytest.raises(UserError, match='has a timing of its own'):
        run(bag, out, '--model', model, '--fps', 5)
    with pytest.raises(SourceError, match='no images on /rear'):
        run(bag, out, '--model', model, '--topic', '/rear')
    assert run(bag, out, '--model', model, '--topic', TOPIC) == 0
    shutil.rmtree(out)


def test_the_json_is_read_by_our_reader_of_bdd100k(tmp_path, model):
    scalabel = pytest.importorskip('unidrive_training.data.scalabel')
    folder = write_images(tmp_path / 'in', ['0.png', '1.png'])
    run(folder, tmp_path / 'out', '--model', model, '--json')
    file = scalabel.FrameFile(tmp_path / 'out/labels/det_20/det_predict.json')
    assert [frame['name'] for frame in file] == ['0.png', '1.png']
    assert file.config['categories'][0] == {'name': 'red'}


def test_real_images(tmp_path, model, shared_data):
    folder = shared_data / 'stills' / 'bdd100k_from_yolop'
    assert run(folder, tmp_path / 'out', '--model', model) == 0
    pictures = list((tmp_path / 'out' / 'overlays').iterdir())
    assert len(pictures) == 6
    assert all(cv2.imread(str(p)).shape == (720, 1280, 3) for p in pictures)
