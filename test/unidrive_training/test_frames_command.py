# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive frames``: which frames of little bags become images, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
from drive_bags import FRONT, REAR, STANDING, book, frames, rear_jpeg, write_drive
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    picture,
    stamp_of,
    write_image_bag,
    write_images,
    write_rosbag1,
)

from unidrive_perception.bags.reader import BagWriter, open_bag
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.image_topics import IMAGE
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_training.data.bdd100k import read_image, read_split


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_of_two_cameras(tmp_path, capsys, storage):
    bag, out = write_drive(tmp_path / 'drive', storage), tmp_path / 'out'
    frames(bag, out, '--rate', 0)
    assert (
        f'{bag}: 40 frames read, 35 kept, 0 too close in time, 5 near-duplicates, 0 bad'
        in capsys.readouterr().out
    )
    expected = []
    with open_bag(bag) as reader:
        for message in reader.messages():
            header = reader.deserialize(message).header
            expected.append(
                (message.topic, stamp_of(header), message.stamp_ns, header.frame_id, str(bag))
            )
    of_front = iter(range(20))
    expected = [e for e in expected if e[0] == REAR or next(of_front) not in STANDING[1:]]
    entries = book(out)
    keys = ('topic', 'stamp_ns', 'recorded_ns', 'frame_id', 'source')
    assert [tuple(entry[key] for key in keys) for entry in entries] == expected
    records = {record.name: record for record in read_split(out, 'train')}
    assert sorted(records) == sorted(entry['name'] for entry in entries)
    assert not any(record.tasks() for record in records.values())
    stamp = START_NS + 3 * PERIOD_NS + RECORDING_DELAY_NS
    rear = records[f'drive-rear_image_compressed-{stamp}'].image
    assert rear.read_bytes() == rear_jpeg(3).tobytes()
    front = read_image(records[f'drive-front_image-{stamp}'].image)
    assert np.abs(front.astype(int) - picture(3)).mean() < 12  # JPEG of coloured blocks


def test_a_rosbag1(tmp_path):
    frames(write_rosbag1(tmp_path / 'old.bag'), tmp_path / 'out', '--rate', 5)
    entries = book(tmp_path / 'out')
    assert [entry['stamp_ns'] - START_NS for entry in entries] == [0, 2 * 10**8, 4 * 10**8]
    assert {entry['frame_id'] for entry in entries} == {FRAME_ID}


@pytest.mark.parametrize(
    ('rate', 'taken'), [(2, [0, 5, 10, 15]), (5, [0, 2, 4, 6, 12, 14, 16, 18])]
)
def test_rate_and_topic(tmp_path, rate, taken):
    """Of the standing stretch, one stays."""
    bag = write_drive(tmp_path / 'drive')
    frames(bag, tmp_path / 'out', '--rate', rate, '--topic', FRONT)
    entries = book(tmp_path / 'out')
    assert [(entry['stamp_ns'] - START_NS) // PERIOD_NS for entry in entries] == taken
    assert {entry['topic'] for entry in entries} == {FRONT}


@pytest.mark.parametrize('begin', [0, START_NS / 1e9])
def test_a_part_of_a_bag(tmp_path, begin):
    """In seconds from the beginning (the first message, 3 ms after its stamp), or since 1970."""
    bag, out = write_drive(tmp_path / 'drive'), tmp_path / 'out'
    begin = begin and begin + RECORDING_DELAY_NS / 1e9
    frames(bag, out, '--rate', 0, '--topic', REAR, '--start', begin + 0.25, '--end', begin + 0.65)
    indices = [(entry['stamp_ns'] - START_NS) // PERIOD_NS for entry in book(out)]
    assert indices == [3, 4, 5, 6]


def test_a_bad_frame_is_named_and_the_next_one_taken(tmp_path, capsys):
    with BagWriter(tmp_path / 'drive') as writer:
        make = BagFactory(writer.typestore)
        for i in range(9):
            header = make_header(make, i + 1, 'f')
            image = image_message(make, header, picture(i))
            if i == 3:
                writer.write_raw(FRONT, IMAGE, b'\0\1\0\0garbage', i * PERIOD_NS)
                continue
            if i == 6:
                image.encoding = 'heat'
            writer.write(FRONT, image, i * PERIOD_NS)
    frames(tmp_path / 'drive', tmp_path / 'out', '--rate', 10 / 3)
    assert [entry['stamp_ns'] for entry in book(tmp_path / 'out')] == [1, 5, 8]
    printed = capsys.readouterr().out
    assert '9 frames read, 3 kept, 5 too close in time, 0 near-duplicates, 1 bad' in printed
    assert f'bad frame {tmp_path}/drive {FRONT} at {3 * PERIOD_NS} ns: ' in printed


def test_nothing_but_bad_frames_is_an_error(tmp_path, capsys):
    with BagWriter(tmp_path / 'drive') as writer:
        writer.write_raw(FRONT, IMAGE, b'\0\1\0\0garbage', 1)
    frames(tmp_path / 'drive', tmp_path / 'out', status=2)
    assert 'not one frame could be taken' in capsys.readouterr().err


def test_a_truncated_bag(tmp_path, capsys):
    pictures = [picture(i, 480, 800) for i in range(4)]
    file = write_image_bag(tmp_path / 'drive', pictures=pictures) / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:-2_000_000])
    frames(file, tmp_path / 'out', '--rate', 0, '--start', 0.05)
    printed = capsys.readouterr().out
    assert f'warning: {file} was never finished' in printed
    assert [entry['stamp_ns'] for entry in book(tmp_path / 'out')] == [START_NS + PERIOD_NS]


def test_size_and_colours(tmp_path):
    """Smaller by choice, never larger; a JPEG whose colours are swapped is put right."""
    red_and_blue = np.full((48, 64, 3), [220, 20, 20], np.uint8)
    red_and_blue[:, 32:] = [20, 20, 220]
    small_jpeg = rgb_to_compressed(picture(1, 24, 32))
    with BagWriter(tmp_path / 'drive') as writer:
        make = BagFactory(writer.typestore)
        swapped = rgb_to_compressed(np.ascontiguousarray(red_and_blue[..., ::-1]))
        message = compressed_message(make, make_header(make, 1, 'f'), swapped, 'jpeg')
        message.format = 'rgb8; jpeg compressed rgb8'
        writer.write(REAR, message, 1)
        message = compressed_message(make, make_header(make, 2, 'f'), small_jpeg, 'jpeg')
        writer.write(REAR, message, 2)
        writer.write(REAR, compressed_message(make, make_header(make, 3, 'f'), swapped, ''), 3)
    out = tmp_path / 'out'
    frames(tmp_path / 'drive', out, '--rate', 0, '--min-change', 0, '--longest-side', 32)
    put_right, small, _ = (record.image for record in read_split(out, 'train'))
    assert small.read_bytes() == small_jpeg.tobytes()
    image = read_image(put_right)
    assert image.shape == (24, 32, 3)
    np.testing.assert_allclose(image[12, [4, 28]], red_and_blue[12, [4, 60]], atol=12)
    out = tmp_path / 'large'
    frames(tmp_path / 'drive', out, '--rate', 0, '--min-change', 0)
    put_right, _, as_it_is = (record.image for record in read_split(out, 'train'))
    np.testing.assert_allclose(read_image(put_right)[9, 9], red_and_blue[0, 0], atol=12)
    assert as_it_is.read_bytes() == swapped.tobytes()


def test_depth_is_no_camera_unless_asked_for(tmp_path, capsys):
    with BagWriter(tmp_path / 'drive') as writer:
        make = BagFactory(writer.typestore)
        for i, topic in enumerate((FRONT, '/front/depth', f'{FRONT}/compressed')):
            image = image_message(make, make_header(make, 1, 'f'), picture(i))
            if topic.endswith('compressed'):
                header = make_header(make, 1, 'f')
                image = compressed_message(make, header, rear_jpeg(0), 'jpeg')
            writer.write(topic, image, 1)
    frames(tmp_path / 'drive', tmp_path / 'out')
    assert {entry['topic'] for entry in book(tmp_path / 'out')} == {FRONT}
    assert 'no camera by its name, so left out: /front/depth;' in capsys.readouterr().out
    frames(tmp_path / 'drive', tmp_path / 'out', '--topic', '/front/depth')
    assert {entry['topic'] for entry in book(tmp_path / 'out')} == {FRONT, '/front/depth'}


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--rate', '-1'], 'rate: Input should be greater than or equal to 0'),
        (['--rate', 'nan'], 'rate: Input should be'),
        (['--min-change', '3'], 'min_change: Input should be less than or equal to 1'),
        (['--quality', '0'], 'quality: Input should be greater'),
        (['--topic', '/rear'], r'drive has no images on /rear; its topics are: /camera/image_raw'),
        (['--start', '3', '--end', '2'], 'the end, 2, is not after the start'),
    ],
)
def test_wrong_values_are_found_before_any_work(tmp_path, capsys, options, words):
    bag = write_image_bag(tmp_path / 'drive')
    frames(bag, tmp_path / 'out', *options, status=2)
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_wrong_inputs_are_found_before_any_work(tmp_path, capsys):
    bag = write_image_bag(tmp_path / 'drive')
    stills = write_images(tmp_path / 'stills', ['a.jpg'])
    out = tmp_path / 'out'
    for arguments, words in (
        ((bag, tmp_path / 'gone.mcap', out), 'there is no bag, video, image or folder'),
        ((bag, stills, stills / 'out'), 'lie in each other'),
        ((bag, stills, out, '--start', 1), 'images have no time for start and end; give fps'),
        ((bag, stills, out, '--fps', 0), 'fps must be greater than 0'),
        ((bag, out, '--topic', '/camera/image_raw', '--topic', '/x'), 'no bag has images on /x'),
    ):
        frames(*arguments, status=2)
        assert words in capsys.readouterr().err
        assert not out.exists()
    (tmp_path / 'file').write_text('')
    frames(bag, tmp_path / 'file', status=2)
    out.mkdir()
    (out / 'provenance.jsonl').write_text('{"name": 1}\n')
    frames(bag, out, status=2)
    assert 'line 1 is none that `unidrive frames` wrote' in capsys.readouterr().err
