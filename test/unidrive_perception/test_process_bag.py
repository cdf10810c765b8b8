# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive process-bag`` on real files: right results, the same every time, bad frames named."""

from __future__ import annotations

import numpy as np
import pytest
from bag_processing import messages, process_bag, read, streets
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    stamp_of,
    write_image_bag,
    write_images,
    write_video,
)
from tiny_bundle import LABELS, tiny_bundle, write_tiny_bundle

from unidrive_perception.bags.reader import BagError, BagWriter, open_bag
from unidrive_perception.bundle import BundleError
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.messages import labels_from_message, prediction_from_result
from unidrive_perception.predictor import Predictor
from unidrive_perception.sources import SourceError, open_source

RESULT_TOPICS = ['detections', 'semantic_mask', 'drivable_mask', 'result']


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_results_are_those_of_the_predictor(tmp_path, model, storage, capsys):
    pictures = streets()
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    assert process_bag(source, tmp_path / 'out', '--model', model, '--storage', storage) == 0
    assert '4 frames processed, 0 bad' in capsys.readouterr().out
    found = read(tmp_path / 'out')
    assert set(found) == {f'/perception/{name}' for name in [*RESULT_TOPICS, 'labels']}
    predictor = Predictor(tiny_bundle(tmp_path / 'bundle'))
    for i, picture in enumerate(pictures):
        expected = predictor.predict(picture)
        stamp_ns, result = found['/perception/result'][i]
        got = prediction_from_result(result)
        assert stamp_ns == START_NS + i * PERIOD_NS + RECORDING_DELAY_NS
        assert got.image_size == (90, 160)
        assert len(expected.boxes) == 2
        for name in ('boxes', 'scores', 'class_ids', 'semantic', 'drivable'):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)


def test_headers_and_parts(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets())
    process_bag(source, tmp_path / 'out', '--model', model)
    found = read(tmp_path / 'out')
    for i in range(4):
        parts = {name: found[f'/perception/{name}'][i][1] for name in RESULT_TOPICS}
        result = parts.pop('result')
        for name, part in parts.items():
            for header in (part.header, result.header, getattr(result, name).header):
                assert stamp_of(header) == START_NS + i * PERIOD_NS
                assert header.frame_id == FRAME_ID
        assert str(result.detections) == str(parts['detections'])
        assert [d.class_name for d in result.detections.detections] == ['red', 'blue']
        for name in ('semantic_mask', 'drivable_mask'):
            np.testing.assert_array_equal(getattr(result, name).data, parts[name].data)
        assert (parts['semantic_mask'].task, parts['drivable_mask'].task) == (1, 2)


def test_labels_come_first_and_latched(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(2))
    process_bag(source, tmp_path / 'out', '--model', model)
    with open_bag(tmp_path / 'out') as bag:
        message = next(bag.messages())
        assert message.topic == '/perception/labels'
        assert bag.topics['/perception/labels'].count == 1
        assert bag.topics['/perception/labels'].qos[0].durability.name == 'TRANSIENT_LOCAL'
        labels = bag.deserialize(message)
    assert labels.model_name == 'tiny'
    assert len(labels.model_sha256) == 64
    assert labels_from_message(labels) == LABELS


def test_every_run_writes_the_same_bytes(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets())
    written = []
    for name in ('first', 'second'):
        process_bag(source, tmp_path / name, '--model', model)
        written.append(messages(tmp_path / name))
    assert len(written[0]) == 1 + 4 * 4
    assert written[0] == written[1]


def test_video_and_folder(tmp_path, model, capsys):
    video = write_video(tmp_path / 'clip.avi')
    folder = write_images(tmp_path / 'drive', ['0.png', '1.png', '2.jpg'])
    process_bag(video, tmp_path / 'from_video', '--model', model)
    process_bag(folder, tmp_path / 'from_folder', '--model', model, '--fps', 4)
    assert len(read(tmp_path / 'from_video')['/perception/result']) == 12
    stamps = [stamp for stamp, _ in read(tmp_path / 'from_folder')['/perception/result']]
    assert stamps == [1_000_000_000, 1_250_000_000, 1_500_000_000]


def test_image_file_and_raw_image_give_the_same(tmp_path, model):
    """A lossless file and a bag with its pixels differ only in their stamps."""
    picture = streets(1)[0]
    (tmp_path / 'still.png').write_bytes(rgb_to_compressed(picture, 'png').tobytes())
    process_bag(tmp_path / 'still.png', tmp_path / 'a', '--model', model)
    process_bag(
        write_image_bag(tmp_path / 'drive', pictures=[picture], encoding='bgr8'),
        tmp_path / 'b', '--model', model,
    )  # fmt: skip
    first, second = (read(tmp_path / name)['/perception/result'][0][1] for name in 'ab')
    assert str(first.detections.detections) == str(second.detections.detections)
    np.testing.assert_array_equal(first.semantic_mask.data, second.semantic_mask.data)


def test_copy_images(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(2))
    process_bag(source, tmp_path / 'out', '--model', model, '--copy-images')
    with open_bag(source) as before, open_bag(tmp_path / 'out') as after:
        images = [(m.stamp_ns, bytes(m.data)) for m in after.messages([TOPIC])]
        assert images == [(m.stamp_ns, bytes(m.data)) for m in before.messages()]
    video = write_video(tmp_path / 'clip.avi', count=3)
    process_bag(video, tmp_path / 'played', '--model', model, '--copy-images')
    with open_source(tmp_path / 'played') as copied, open_source(video) as source:
        for a, b in zip(copied, source, strict=True):
            np.testing.assert_array_equal(a.rgb(), b.rgb())


def test_score_threshold(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(1))
    for threshold, names in (('0.1', ['red', 'blue', 'green']), ('0.95', [])):
        out = tmp_path / threshold
        process_bag(source, out, '--model', model, '--score-threshold', threshold)
        ((_, message),) = read(out)['/perception/detections']
        assert [d.class_name for d in message.detections] == names


def test_bad_frames_are_counted_and_named(tmp_path, model, capsys):
    folder = write_images(tmp_path / 'drive', [f'{i}.jpg' for i in range(4)])
    (folder / '1.jpg').write_bytes(b'no image')
    data = (folder / '2.jpg').read_bytes()
    (folder / '2.jpg').write_bytes(data[:-100])
    assert process_bag(folder, tmp_path / 'out', '--model', model) == 0
    out = capsys.readouterr().out
    assert '2 frames processed, 2 bad' in out
    assert 'bad frame 1 (recorded at 1100000000 ns): the compressed image' in out
    assert 'bad frame 2' in out
    assert 'cut off' in out
    stamps = [stamp for stamp, _ in read(tmp_path / 'out')['/perception/result']]
    assert stamps == [1_000_000_000, 1_300_000_000]


def test_damaged_bag_keeps_what_was_read(tmp_path, model, capsys):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(4, 480, 800))
    file = source / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:-2_000_000])
    assert process_bag(file, tmp_path / 'out', '--model', model) == 0
    out = capsys.readouterr().out
    assert 'warning: ' in out
    assert 'never finished' in out
    assert '2 frames processed' in out
    assert len(read(tmp_path / 'out')['/perception/result']) == 2


def test_no_readable_frame_leaves_no_bag(tmp_path, model):
    with BagWriter(tmp_path / 'drive') as writer:
        writer.write_raw(TOPIC, 'sensor_msgs/msg/Image', b'\0\1\0\0garbage', 1)
    with pytest.raises(SourceError, match=r'no frame on .* that can be read: frame 0'):
        process_bag(tmp_path / 'drive', tmp_path / 'out', '--model', model)
    with BagWriter(tmp_path / 'nothing') as writer:
        writer.add_topic(TOPIC, 'sensor_msgs/msg/Image')
    with pytest.raises(SourceError, match='no frame on'):
        process_bag(tmp_path / 'nothing', tmp_path / 'out', '--model', model)
    assert {path.name for path in tmp_path.iterdir()} == {'drive', 'nothing'}


def test_finished_results_of_other_options_are_kept(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', count=1)
    args = source, tmp_path / 'out', '--model', model
    assert process_bag(*args, '--track') == 0
    before = messages(tmp_path / 'out')
    with pytest.raises(BagError) as error:
        process_bag(*args, '--score-threshold', 0.7, '--copy-images', '--storage', 'sqlite3')
    assert str(error.value) == (
        f'{tmp_path}/out holds the results of another command (--score-threshold was default, is '
        'now 0.7; --track was on, is now off; --copy-images was no, is now yes; --storage was '
        'mcap, is now sqlite3): give that command again to keep them, or remove the folder, or '
        'choose another name'
    )
    assert process_bag(*args, '--track') == 0, 'nothing is left to do'
    assert messages(tmp_path / 'out') == before
    (tmp_path / 'out' / 'summary.json').write_text('{"job": []}')
    with pytest.raises(BagError, match='exists already: remove it or choose another name'):
        process_bag(*args, '--track')
    assert messages(tmp_path / 'out') == before


def test_errors_before_any_work(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', count=1)
    with pytest.raises(BagError, match='exists already'):
        process_bag(source, source, '--model', model)
    with pytest.raises(UserError, match='there is no bag, video, image or folder'):
        process_bag(tmp_path / 'gone', tmp_path / 'out', '--model', model)
    with pytest.raises(BundleError):
        process_bag(source, tmp_path / 'out', '--model', tmp_path / 'gone')
    with pytest.raises(UserError, match='score_threshold must be from 0 to 1, or -1'):
        process_bag(source, tmp_path / 'out', '--model', model, '--score-threshold', 7)
    for threads in (-3, 257):
        with pytest.raises(UserError, match=f'threads must be from 0 to 256, not {threads}'):
            process_bag(source, tmp_path / 'out', '--model', model, '--threads', threads)
    with pytest.raises(SourceError, match='no images on /rear'):
        process_bag(source, tmp_path / 'out', '--model', model, '--topic', '/rear')
    with pytest.raises(UserError, match='--jobs must be from 0 to 256, not -1'):
        process_bag(source, tmp_path / 'out', '--model', model, '--jobs', -1)
    with pytest.raises(UserError, match='--overlay-quality must be from 1 to 100, not 0'):
        process_bag(source, tmp_path / 'out', '--model', model, '--overlay-quality', 0)
    assert [path.name for path in tmp_path.iterdir()] == ['drive']


def test_real_images(tmp_path, model, shared_data):
    folder = tmp_path / 'stills'
    folder.mkdir()
    for file in sorted((shared_data / 'nuscenes_front').glob('*.jpg'))[:3]:
        (folder / file.name).symlink_to(file)
    process_bag(folder, tmp_path / 'out', '--model', model)
    results = read(tmp_path / 'out')['/perception/result']
    assert [r.semantic_mask.data.size for _, r in results] == [900 * 1600] * 3
    assert len({r.semantic_mask.data.tobytes() for _, r in results}) == 3
