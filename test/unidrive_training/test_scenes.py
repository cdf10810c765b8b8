# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Generated scenes: exact truth, the same from one seed, coherent in time, readable on disk."""

import argparse
import json

import cv2
import numpy as np
import pytest

from unidrive_perception.bags.reader import open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION, DRIVABLE, SEMANTIC, UNKNOWN
from unidrive_training import cli
from unidrive_training.data.bdd100k import read_image, read_mask, read_split
from unidrive_training.scenes import Drive, render
from unidrive_training.scenes import cli as scenes_cli
from unidrive_training.scenes.canvas import DETECTION_OF
from unidrive_training.scenes.weather import KINDS, sample_weather

SIZE = (180, 320)
SEMANTIC_OF = {detection: semantic for semantic, detection in DETECTION_OF.items()}
ROAD = SEMANTIC.names.index('road')


@pytest.fixture(scope='module')
def some_frames():
    """Two frames of each of 30 drives."""
    return [(seed, i, Drive(seed, SIZE).frame(i)) for seed in range(30) for i in (3, 60)]


def test_same_seed_and_index_give_the_same_frame():
    first, second = Drive(5, SIZE), Drive(5, SIZE)
    first.frame(30)  # what was drawn before does not matter
    a, b = first.frame(12), second.frame(12)
    for name in ('image', 'boxes', 'class_ids', 'semantic', 'drivable', 'instances'):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert not np.array_equal(a.image, Drive(6, SIZE).frame(12).image)


def test_shapes_dtypes_and_ids(some_frames):
    for _, _, frame in some_frames:
        assert frame.image.shape == (*SIZE, 3) and frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert frame.boxes.shape == (len(frame.class_ids), 4) and frame.boxes.dtype == np.float32
        assert frame.semantic.shape == frame.drivable.shape == SIZE
        assert frame.semantic.dtype == frame.drivable.dtype == np.uint8
        assert set(np.unique(frame.semantic)) <= {*range(len(SEMANTIC)), UNKNOWN}
        assert set(np.unique(frame.drivable)) <= set(range(len(DRIVABLE)))
        assert set(frame.class_ids.tolist()) <= set(range(len(DETECTION)))


def test_a_box_is_the_extent_of_its_visible_pixels(some_frames):
    boxes = 0
    for _, _, frame in some_frames:
        for i, (box, class_id) in enumerate(zip(frame.boxes, frame.class_ids, strict=True)):
            rows, cols = np.nonzero(frame.instances == i + 1)
            extent = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
            assert tuple(box) == extent
            assert max(box[2] - box[0], box[3] - box[1]) >= 8
            assert set(frame.semantic[rows, cols]) == {SEMANTIC_OF[class_id]}
            boxes += 1
    assert boxes > 500


def test_every_class_occurs(some_frames):
    detections = np.concatenate([frame.class_ids for _, _, frame in some_frames])
    counts = np.bincount(detections, minlength=len(DETECTION))
    assert counts.min() >= 10, dict(zip(DETECTION.names, counts.tolist(), strict=True))
    pixels = sum(
        np.bincount(frame.semantic.ravel(), minlength=256)[: len(SEMANTIC)]
        for _, _, frame in some_frames
    )
    assert pixels.min() > 500, dict(zip(SEMANTIC.names, pixels.tolist(), strict=True))


def test_drivable_area_is_visible_road(some_frames):
    with_direct = 0
    for _, _, frame in some_frames:
        drivable = frame.drivable < 2
        assert (frame.semantic[drivable] == ROAD).all()
        assert drivable[frame.semantic == ROAD].mean() > 0.9
        with_direct += bool((frame.drivable == 0).mean() > 0.02)
    assert with_direct > 0.9 * len(some_frames)


def test_the_own_lane_lies_ahead(some_frames):
    """Direct area is what is right before the own car, wherever the camera looks."""
    inside = 0
    for _, _, frame in some_frames:
        column = frame.drivable[:, SIZE[1] // 2]
        road = column[column < 2]
        inside += bool(len(road) and road[-1] == 0)
    assert inside > 0.9 * len(some_frames)


@pytest.mark.parametrize('seed', [1, 4, 9, 17])
def test_consecutive_frames_are_coherent(seed):
    drive = Drive(seed, SIZE, fps=20.0)
    for index in (10, 40):
        a, b = drive.frame(index), drive.frame(index + 1)
        assert (a.semantic == b.semantic).mean() > 0.85
        assert not np.array_equal(a.image, b.image)
        large = (a.boxes[:, 2:] - a.boxes[:, :2]).min(1) > 12
        inner = large & (a.boxes[:, 0] > 20) & (a.boxes[:, 2] < SIZE[1] - 20)
        for box, class_id in zip(a.boxes[inner], a.class_ids[inner], strict=True):
            same = b.boxes[b.class_ids == class_id]
            assert len(same), f'{DETECTION.names[class_id]} vanished'
            centres = (same[:, :2] + same[:, 2:]) / 2 - (box[:2] + box[2:]) / 2
            assert np.abs(centres).max(1).min() < 25


def test_a_drive_goes_forward():
    drive = Drive(3, SIZE)
    assert drive.traffic.ego.speed > 1
    assert (drive.frame(0).semantic == drive.frame(50).semantic).mean() < 0.9


def weather_of_its_own(rng, kind):
    """A weather that takes nothing from the numbers that the street is made of."""
    return sample_weather(np.random.default_rng(8), kind)


@pytest.mark.parametrize('weather', [kind for kind in KINDS if kind != 'overcast'])
def test_weather_changes_the_picture_but_not_the_truth(weather, monkeypatch):
    monkeypatch.setattr(render, 'sample_weather', weather_of_its_own)
    frame = Drive(8, SIZE, street='city', weather=weather).frame(5)
    other = Drive(8, SIZE, street='city', weather='overcast').frame(5)
    assert (frame.semantic == ROAD).any() and len(frame.boxes)
    np.testing.assert_array_equal(frame.boxes, other.boxes)
    np.testing.assert_array_equal(frame.class_ids, other.class_ids)
    for truth in ('semantic', 'drivable'):  # the lit lamp of a bicycle is something to see
        assert (getattr(frame, truth) != getattr(other, truth)).mean() < 1e-4, truth
    assert frame.image.std() > 3
    assert np.abs(frame.image.astype(int) - other.image).mean() > 5
    if weather == 'night':
        assert frame.image.mean() < 0.85 * other.image.mean()


def test_image_size_is_honoured():
    frame = Drive(2, (200, 420)).frame(0)
    assert frame.image.shape == (200, 420, 3) and frame.semantic.shape == (200, 420)


def scenes(*arguments):
    return cli.main(['scenes', *map(str, arguments)])


def test_cli_writes_a_dataset_that_reads_back(tmp_path):
    out = tmp_path / 'set'
    sizes = ('--size', '320x180', '--drives', 2, '--frames', 3, '--val-drives', 1, '--stride', 4)
    assert scenes(out, *sizes, '--seed', 7) == 0
    train, val = read_split(out, 'train'), read_split(out, 'val')
    assert (len(train), len(val)) == (6, 3)
    assert not {r.name for r in train} & {r.name for r in val}
    record = train[4]
    frame = Drive(7_000_001, SIZE).frame(4)
    assert record.tasks() == ['detection', 'semantic', 'drivable']
    assert np.abs(read_image(record.image).astype(int) - frame.image).mean() < 8
    assert np.array_equal(read_mask(record.semantic), frame.semantic)
    assert np.array_equal(read_mask(record.drivable), frame.drivable)
    assert np.array_equal(record.boxes.boxes, frame.boxes)
    assert np.array_equal(record.boxes.class_ids, frame.class_ids)


def test_cli_leaves_labels_out(tmp_path):
    out = tmp_path / 'set'
    keep = ('--keep', 'detection=0.5', '--keep', 'semantic=0')
    assert scenes(out, '--size', '160x90', '--drives', 4, '--frames', 6, *keep) == 0
    records = read_split(out, 'train')
    labelled = [record.boxes is not None for record in records]
    assert 4 < sum(labelled) < 20
    assert all(record.semantic is None and record.drivable is not None for record in records)
    frames = json.loads((out / 'labels/det_20/det_train.json').read_text())['frames']
    assert len(frames) == sum(labelled)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_cli_writes_a_bag_with_the_truth(tmp_path, storage, transport):
    out = tmp_path / 'bag'
    options = ('--format', 'bag', '--storage', storage, '--image-transport', transport)
    assert scenes(out, '--size', '160x90', '--drives', 2, '--frames', 2, '--fps', 5, *options) == 0
    camera = '/camera/image_raw' + ('/compressed' if transport == 'compressed' else '')
    truth = ['/truth/detections', '/truth/semantic_mask', '/truth/drivable_mask']
    frame = Drive(0, (90, 160), fps=5).frame(1)
    with open_bag(out) as bag:
        assert sorted(bag.topics) == sorted([camera, *truth])
        by_topic = {topic: [] for topic in bag.topics}
        for message in bag.messages():
            by_topic[message.topic].append(bag.deserialize(message))
    assert {len(each) for each in by_topic.values()} == {4}
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in by_topic[camera]]
    for topic in truth:
        assert [(m.header.stamp.sec, m.header.stamp.nanosec) for m in by_topic[topic]] == stamps
    assert stamps == sorted(set(stamps))
    data = np.asarray(by_topic[camera][1].data)
    if transport == 'raw':
        assert np.array_equal(data.reshape(90, 160, 3), frame.image)
    else:
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        assert np.abs(decoded - frame.image).mean() < 8
    mask = by_topic['/truth/semantic_mask'][1]
    assert np.array_equal(np.asarray(mask.data).reshape(mask.height, mask.width), frame.semantic)
    names = [d.class_name for d in by_topic['/truth/detections'][1].detections]
    assert names == [DETECTION.names[i] for i in frame.class_ids]


@pytest.mark.parametrize('kind', ['dataset', 'bag'])
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, capsys, kind):
    (tmp_path / 'file').touch()
    out = tmp_path / 'file' / 'out'
    assert scenes(out, '--format', kind, '--size', '160x90', '--drives', 1, '--frames', 1) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith('unidrive: error: ') and str(tmp_path / 'file') in message


def test_half_a_dataset_never_has_its_name(tmp_path, monkeypatch):
    out, whole = tmp_path / 'set', scenes_cli.write_dataset
    options = ('--size', '160x90', '--drives', 1, '--frames', 1, '--val-drives', 1)
    (tmp_path / '.set.part' / 'images').mkdir(parents=True)  # left by a run that was killed
    (tmp_path / '.set.part' / 'images' / 'stale.jpg').touch()

    def interrupted(root, split, streets):
        if split == 'val':
            assert not out.exists() and root.is_dir()
            raise KeyboardInterrupt
        return whole(root, split, streets)

    monkeypatch.setattr(scenes_cli, 'write_dataset', interrupted)
    assert scenes(out, *options) == 130
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(scenes_cli, 'write_dataset', whole)
    out.mkdir()  # empty: may be taken
    assert scenes(out, *options, '--format', 'both') == 0
    assert [path.name for path in tmp_path.iterdir()] == ['set']
    assert sorted(path.name for path in out.iterdir()) == ['bag', 'images', 'labels']


def test_cli_never_overwrites(tmp_path):
    (tmp_path / 'kept').write_text('mine')
    with pytest.raises(UserError, match='not an empty folder'):
        run_scenes(tmp_path)
    assert (tmp_path / 'kept').read_text() == 'mine'
    bag = tmp_path / 'bag'
    bag.mkdir()
    with pytest.raises(UserError, match='a bag is created anew'):
        run_scenes(bag, '--format', 'bag')


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--drives', '0'], '--drives is 0; give 1 or more'),
        (['--frames', '-2'], '--frames is -2'),
        (['--val-drives', '-1'], '--val-drives'),
        (['--seed', '-1'], '--seed is -1'),
        (['--fps', '0'], '--fps is 0'),
        (['--size', '640'], "--size is '640'; give WIDTHxHEIGHT"),
        (['--size', '10x10'], "--size is '10x10'"),
        (['--keep', 'boxes=0.5'], "--keep is 'boxes=0.5'; give TASK=SHARE"),
        (['--keep', 'semantic=1.5'], "--keep is 'semantic=1.5'"),
        (['--keep', 'semantic=.'], "--keep is 'semantic=.'"),
    ],
)
def test_cli_says_what_is_wrong(tmp_path, arguments, sentence):
    with pytest.raises(UserError) as error:
        run_scenes(tmp_path / 'new', *arguments)
    assert sentence in str(error.value)
    assert not (tmp_path / 'new').exists()


def run_scenes(out, *arguments):
    """Run the command without ``unidrive``'s handler of errors."""

    parser = argparse.ArgumentParser()
    scenes_cli.add_arguments(parser)
    return scenes_cli.run(parser.parse_args([str(out), *arguments]))
