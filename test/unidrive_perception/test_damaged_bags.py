# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags that are broken, cut or made up: what is whole is read, the rest is told of."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import numpy as np
import pytest
from bag_reading import check_pictures, read
from rosbags import rosbag2
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    picture,
    write_image_bag,
    write_rosbag1,
)

from unidrive_perception.bags.reader import BagError, BagWriter, is_bag, open_bag
from unidrive_perception.image_codec import image_to_rgb


def test_one_damaged_message_is_an_error_of_that_message(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw(TOPIC, 'sensor_msgs/msg/Image', b'\0\1\0\0garbage', 1)
    with open_bag(tmp_path / 'bag') as bag:
        (message,) = bag.messages()
        with pytest.raises(BagError, match=f'the message on {TOPIC} recorded at 1 ns'):
            bag.deserialize(message)
        assert bag.damage is None


def test_unfinished_mcap_gives_its_complete_messages(tmp_path):
    # Pictures of 1.1 MB fill a chunk each, and a chunk is what is written at once.
    pictures = [picture(i, 480, 800) for i in range(6)]
    path = write_image_bag(tmp_path / 'drive', pictures=pictures)
    file = path / 'drive.mcap'
    whole = file.read_bytes()
    (path / 'metadata.yaml').unlink()  # a killed recorder has not written it
    for kept, expected in ((0.99, 5), (0.45, 2), (0.1, 0)):
        file.write_bytes(whole[: int(len(whole) * kept)])
        for where in (path, file):
            messages, objects, damage = read(where)
            assert len(messages) == expected
            assert 'never finished' in damage
            for i, image in enumerate(objects):
                np.testing.assert_array_equal(image_to_rgb(image), pictures[i])


@pytest.mark.parametrize(
    ('metadata', 'told'),
    [
        (None, ' (metadata.yaml tells of 6)'),
        ('rosbag2_bagfile_information: {message_count: many}', ''),
        ('rosbag2_bagfile_information: {message_count: -5}', ''),
        (f'rosbag2_bagfile_information: {{message_count: 0x{"f" * 6000}}}', ''),
        ('- 6', ''),
        ('{', ''),
    ],
)
def test_a_bag_that_was_cut_tells_of_how_many_messages_it_had(tmp_path, metadata, told):
    path = write_image_bag(tmp_path / 'drive', pictures=[picture(i, 480, 800) for i in range(6)])
    file = path / 'drive.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if metadata:
        (path / 'metadata.yaml').write_text(metadata)
    messages, _, damage = read(path)
    assert len(messages) == 3
    assert damage == f'{file} was never finished: only its complete messages are read{told}'


def test_damage_inside_keeps_what_was_read(tmp_path):
    pictures = [picture(i, 480, 800) for i in range(6)]
    path = write_image_bag(tmp_path / 'drive', pictures=pictures)
    file = path / 'drive.mcap'
    data = bytearray(file.read_bytes())
    # The record of the fifth message: channel 1, sequence 0, its stamp; before them its length.
    position = data.find((1).to_bytes(2, 'little') + bytes(4) + recording_stamp(4))
    assert position > 0
    data[position - 8 : position] = b'\xff' * 8
    file.write_bytes(data)
    messages, objects, damage = read(path)
    assert len(messages) == len(objects) == 4
    assert f'{path} is damaged: 4 messages were read' in damage


def recording_stamp(i):
    return (START_NS + i * PERIOD_NS + RECORDING_DELAY_NS).to_bytes(8, 'little')


def test_database_page_lost(tmp_path):
    path = write_image_bag(tmp_path / 'drive', count=40, storage='sqlite3')
    file = path / 'drive.db3'
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    try:
        messages, _, damage = read(path)
    except BagError as error:
        assert 'cannot be opened' in str(error)
    else:
        assert len(messages) < 40
        assert 'damaged' in damage


def test_missing_path(tmp_path):
    with pytest.raises(BagError, match='there is no bag'):
        open_bag(tmp_path / 'nothing')


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('video.mp4', b'xx'),
        ('empty.mcap', b''),
        ('text.mcap', b'hello, this is no bag at all, only a text with some length'),
        ('magic.mcap', b'\x89MCAP0\r\n'),
        ('empty.db3', b''),
        ('text.db3', b'hello ' * 100),
        ('empty.bag', b''),
        ('text.bag', b'hello ' * 100),
        ('magic.bag', b'#ROSBAG V2.0\n'),
    ],
)
def test_not_a_bag(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BagError, match=name):
        open_bag(path)


def test_folders_that_are_no_bags(tmp_path):
    with pytest.raises(BagError, match='is no bag'):
        open_bag(tmp_path)
    assert not is_bag(tmp_path)
    (tmp_path / 'metadata.yaml').write_text('rosbag2_bagfile_information: {version: 99}')
    with pytest.raises(BagError, match='cannot be opened'):
        open_bag(tmp_path)
    (tmp_path / 'metadata.yaml').write_text('{[')
    with pytest.raises(BagError, match='cannot be opened'):
        open_bag(tmp_path)


def test_folder_without_metadata(tmp_path):
    path = write_image_bag(tmp_path / 'drive', storage='sqlite3')
    (path / 'metadata.yaml').unlink()
    check_pictures(path)
    (path / 'drive_1.db3').write_bytes((path / 'drive.db3').read_bytes())
    with pytest.raises(BagError, match='ros2 bag reindex'):
        open_bag(path)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('version: 8', 'version: 99'),
        ('drive.', 'renamed.'),
        ('storage_identifier: ', 'storage_identifier: other_'),
        ('message_count: 5', 'message_count: many'),
        ('rosbag2_bagfile_information:', '{['),
        ('rosbag2_bagfile_information:', 'a: &a [*a]\nrosbag2_bagfile_information:'),
    ],
)
def test_wrong_metadata_costs_only_itself(tmp_path, storage, before, after):
    path = write_image_bag(tmp_path / 'drive', storage=storage)
    text = (path / 'metadata.yaml').read_text()
    assert before in text
    (path / 'metadata.yaml').write_text(text.replace(before, after))
    _, objects, damage = read(path)
    assert [image.encoding for image in objects] == ['rgb8'] * 5
    if after != 'message_count: many':  # it is counted by the file itself
        assert 'is read without its metadata.yaml (' in damage
        assert '\n' not in damage


def test_numbers_of_metadata_are_not_believed(tmp_path):
    path = write_image_bag(tmp_path / 'drive')
    text = (path / 'metadata.yaml').read_text()
    (path / 'metadata.yaml').write_text(
        text.replace('message_count: 5', 'message_count: 900000000000').replace(
            'nanoseconds: 4', 'nanoseconds: 9'
        )
    )
    with open_bag(path) as bag:
        assert (bag.message_count, bag.topics[TOPIC].count) == (5, 5)
        assert bag.end_ns == START_NS + RECORDING_DELAY_NS + 4 * PERIOD_NS


@pytest.mark.parametrize(
    ('column', 'value', 'why'),
    [
        ('timestamp', 'x', 'no time that ROS has'),
        ('timestamp', 2**62, 'no time that ROS has'),
        ('data', None, 'no bytes but NoneType'),
        ('data', 5, 'no bytes but int'),
    ],
)
def test_one_message_that_is_none_costs_only_itself(tmp_path, column, value, why):
    path = write_image_bag(tmp_path / 'drive', storage='sqlite3')
    with contextlib.closing(sqlite3.connect(path / 'drive.db3')) as database:
        database.execute('CREATE TABLE copy (id, topic_id, timestamp, data)')
        database.execute('INSERT INTO copy SELECT id, topic_id, timestamp, data FROM messages')
        database.execute('DROP TABLE messages')
        database.execute('ALTER TABLE copy RENAME TO messages')
        database.execute(f'UPDATE messages SET {column} = ? WHERE id = 3', [value])
        database.commit()
    with open_bag(path) as bag:
        assert START_NS <= bag.start_ns <= bag.end_ns < 2**31 * 10**9
        assert len(list(bag.messages())) == 4
        assert f'1 messages are left out, the last on {TOPIC}' in bag.damage
        assert why in bag.damage


def test_one_damaged_message_of_a_rosbag1_costs_only_itself(tmp_path):
    path = write_rosbag1(tmp_path / 'old.bag')
    data = bytearray(path.read_bytes())
    position = data.find(b'bgr8', data.find(FRAME_ID.encode()))
    data[position - 4 : position] = b'\xff' * 4  # the length of a text
    path.write_bytes(data)
    messages, _, damage = read(path, [TOPIC])
    assert len(messages) == 4
    assert f'1 messages are left out, the last on {TOPIC} recorded at {START_NS} ns' in damage


def test_what_an_image_is_is_not_up_to_the_bag(tmp_path):
    name = 'sensor_msgs/msg/Image'
    plugin = rosbag2.StoragePlugin.MCAP
    with rosbag2.Writer(tmp_path / 'bag', version=8, storage_plugin=plugin) as writer:
        rihs01 = 'RIHS01_' + '0' * 64
        odd = writer.add_connection(TOPIC, name, msgdef='int8 x\n', rihs01=rihs01)
        writer.write(odd, 1, b'\0\1\0\0\7')
    with open_bag(tmp_path / 'bag') as bag:
        (message,) = bag.messages()
        with pytest.raises(BagError, match=f'is not a readable {name}'):
            bag.deserialize(message)


@pytest.mark.parametrize('name', ['PIPE', 'x.mcap', 'metadata.yaml'])
def test_named_pipe_in_a_bag_is_not_waited_for(tmp_path, name):
    path = write_image_bag(tmp_path / 'drive')
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(BagError, match=f'{name} is no regular file'):
        open_bag(path)
    os.mkfifo(tmp_path / 'pipe.bag')
    with pytest.raises(BagError, match='it is no regular file'):
        open_bag(tmp_path / 'pipe.bag')
