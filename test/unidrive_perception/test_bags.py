# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags as they come: both storages, rosbag1, compressed, unknown types, broken in every way."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    picture,
    stamp_of,
    write_image_bag,
    write_rosbag1,
)

from unidrive_perception.bags.reader import BagError, BagWriter, is_bag, open_bag
from unidrive_perception.image_codec import image_to_rgb
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import labels_message, make_header


def read(path, topics=None, start_ns=None):
    with open_bag(path) as bag:
        messages = list(bag.messages(topics, start_ns))
        return messages, [bag.deserialize(message) for message in messages], bag.damage


def check_pictures(path, count=5):
    messages, objects, damage = read(path, [TOPIC])
    assert damage is None
    assert len(objects) == count
    for i, (message, image) in enumerate(zip(messages, objects, strict=True)):
        assert message.stamp_ns == START_NS + i * PERIOD_NS + RECORDING_DELAY_NS
        assert stamp_of(image.header) == START_NS + i * PERIOD_NS
        assert image.header.frame_id == FRAME_ID
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_round_trip(tmp_path, storage):
    path = write_image_bag(tmp_path / 'drive', storage=storage)
    assert sorted(file.name for file in path.iterdir()) == [
        {'mcap': 'drive.mcap', 'sqlite3': 'drive.db3'}[storage],
        'metadata.yaml',
    ]
    assert [file.name for file in tmp_path.iterdir()] == ['drive']  # nothing temporary is left
    check_pictures(path)
    check_pictures(next(path.glob('drive.*')))  # the file alone
    with open_bag(path) as bag:
        assert bag.message_count == 5
        assert bag.start_ns == START_NS + RECORDING_DELAY_NS
        assert bag.end_ns == START_NS + RECORDING_DELAY_NS + 4 * PERIOD_NS
        topic = bag.topics[TOPIC]
        assert (topic.msgtype, topic.count) == ('sensor_msgs/msg/Image', 5)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_two_runs_write_the_same_messages(tmp_path, storage):
    first, *_ = read(write_image_bag(tmp_path / 'a', storage=storage))
    second, *_ = read(write_image_bag(tmp_path / 'b', storage=storage))
    assert [(m.topic, m.stamp_ns, bytes(m.data)) for m in first] == [
        (m.topic, m.stamp_ns, bytes(m.data)) for m in second
    ]


def test_selection_by_topic_and_start(tmp_path):
    path = write_image_bag(tmp_path / 'drive')
    messages, *_ = read(path, start_ns=START_NS + 2 * PERIOD_NS)
    assert len(messages) == 3
    messages, *_ = read(path, ['/other'])
    assert messages == []


def test_own_messages(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        make = BagFactory(writer.typestore)
        message = labels_message(make, make_header(make, 5, ''), 'nano', 'ab', BDD100K_LABELS)
        writer.write('/perception/labels', message, 5)
    _, (got,), _ = read(tmp_path / 'bag')
    assert [info.name for info in got.detection] == BDD100K_LABELS['detection'].names
    assert len(got.semantic) == 19


def test_rosbag1_is_given_as_ros2(tmp_path):
    path = write_rosbag1(tmp_path / 'old.bag')
    messages, objects, damage = read(path)
    assert damage is None
    assert [m.topic for m in messages[:3]] == ['/note', TOPIC, '/camera/camera_info']
    assert '/odd' not in {m.topic for m in messages}  # left out, and the rest is not hurt
    assert objects[0].data == 'a drive'
    images = [o for o in objects if o.__msgtype__ == 'sensor_msgs/msg/Image']
    for i, image in enumerate(images):
        assert stamp_of(image.header) == START_NS + i * PERIOD_NS
        assert image.header.frame_id == FRAME_ID
        assert not hasattr(image.header, 'seq')
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))
    np.testing.assert_array_equal(objects[2].k, np.arange(9.0))
    with open_bag(path) as bag:
        assert '/odd' in bag.topics


def test_rosbag1_as_ros2_bytes_are_those_of_a_ros2_writer(tmp_path):
    messages, objects, _ = read(write_rosbag1(tmp_path / 'old.bag'))
    store = default_typestore()
    for message, value in zip(messages, objects, strict=True):
        assert bytes(store.serialize_cdr(value, message.msgtype)) == bytes(message.data)


@pytest.mark.parametrize(
    ('plugin', 'mode'),
    [
        ('MCAP', 'FILE'), ('MCAP', 'MESSAGE'), ('MCAP', 'STORAGE'),
        ('SQLITE3', 'FILE'), ('SQLITE3', 'MESSAGE'),
    ],
)  # fmt: skip
def test_zstd(tmp_path, mode, plugin):
    source = write_image_bag(tmp_path / 'drive')
    writer = rosbag2.Writer(
        tmp_path / 'packed', version=8, storage_plugin=rosbag2.StoragePlugin[plugin]
    )
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    store = default_typestore()
    with writer, open_bag(source) as bag:
        connection = writer.add_connection(TOPIC, 'sensor_msgs/msg/Image', typestore=store)
        for message in bag.messages():
            writer.write(connection, message.stamp_ns, message.data)
    check_pictures(tmp_path / 'packed')


def foreign_bag(path, definition, data, plugin='MCAP'):
    """Write pictures and, on another topic, messages of a type of somebody else."""
    store = default_typestore()
    with (
        rosbag2.Writer(path, version=8, storage_plugin=rosbag2.StoragePlugin[plugin]) as writer,
        open_bag(write_image_bag(path.parent / 'source')) as bag,
    ):
        images = writer.add_connection(TOPIC, 'sensor_msgs/msg/Image', typestore=store)
        other = writer.add_connection(
            '/odd', 'odd_msgs/msg/Odd', msgdef=definition, rihs01='RIHS01_' + '0' * 64
        )
        for message in bag.messages():
            writer.write(other, message.stamp_ns, data)
            writer.write(images, message.stamp_ns, message.data)
    return path


@pytest.mark.parametrize('plugin', ['MCAP', 'SQLITE3'])
@pytest.mark.parametrize('definition', ['', 'int8 x\n', 'nonsense ] {\n', 'gone_msgs/Thing x\n'])
def test_unknown_types_on_other_topics_do_not_matter(tmp_path, plugin, definition):
    path = foreign_bag(tmp_path / 'bag', definition, b'\0\1\0\0\7', plugin)
    check_pictures(path)
    with open_bag(path) as bag:
        message = next(bag.messages(['/odd']))
        if definition == 'int8 x\n':
            assert bag.deserialize(message).x == 7
        else:
            with pytest.raises(BagError, match=r'/odd .* not a readable odd_msgs/msg/Odd'):
                bag.deserialize(message)


def test_definition_in_the_bag_wins_over_ours(tmp_path):
    store = get_typestore(Stores.EMPTY)
    name = 'unidrive_msgs/msg/ClassInfo'
    store.register(get_types_from_msg('string name\nuint8 id\nfloat64 weight\n', name))
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/classes', name, store=store)
        data = store.serialize_cdr(store.types[name]('car', 2, 0.5), name)
        writer.write_raw('/classes', name, data, 1)
    _, (got,), _ = read(tmp_path / 'bag')
    assert (got.name, got.id, got.weight) == ('car', 2, 0.5)


def test_definition_that_lacks_a_part_is_made_up_for_by_ours(tmp_path):
    """Some writers leave the nested types out of a definition."""
    definition = 'std_msgs/Header header\nRegionOfInterest roi\nuint32 height\n'
    path = tmp_path / 'bag'
    plugin = rosbag2.StoragePlugin.MCAP
    store = default_typestore()
    name = 'sensor_msgs/msg/RegionOfInterest'
    with rosbag2.Writer(path, version=8, storage_plugin=plugin) as writer:
        rihs01 = 'RIHS01_' + '0' * 64
        connection = writer.add_connection('/roi', name, msgdef=definition, rihs01=rihs01)
        data = store.serialize_cdr(store.types[name](1, 2, 3, 4, True), name)
        writer.write(connection, 1, data)
    _, (got,), _ = read(path)
    assert (got.x_offset, got.do_rectify) == (1, True)


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


def test_empty_bag(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/a', 'std_msgs/msg/String')
    with open_bag(tmp_path / 'bag') as bag:
        assert list(bag.messages()) == []
        assert (bag.message_count, bag.start_ns, bag.end_ns) == (0, 0, 0)
        assert bag.topics['/a'].count == 0


def test_writer_refuses_what_exists(tmp_path):
    path = write_image_bag(tmp_path / 'drive', count=1)
    with pytest.raises(BagError, match='exists already'):
        BagWriter(path)
    check_pictures(path, count=1)


def test_writer_refuses_unknown_storage_and_types(tmp_path):
    with pytest.raises(BagError, match="'rosbag1': it is one of mcap, sqlite3"):
        BagWriter(tmp_path / 'bag', 'rosbag1')
    with pytest.raises(BagError, match='odd_msgs/msg/Odd'), BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw('/odd', 'odd_msgs/msg/Odd', b'', 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_error_while_writing_leaves_nothing(tmp_path, storage):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'bag', storage) as writer:
        writer.add_topic('/a', 'std_msgs/msg/String')
        assert not (tmp_path / 'bag').exists()  # it has its name only when it is complete
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('call', ['add_connection', 'write'])
def test_full_disk_is_one_sentence(tmp_path, monkeypatch, call):
    def full(*_, **__):
        raise sqlite3.OperationalError('database or disk is full')

    with (
        pytest.raises(BagError, match='cannot be written: database or disk is full'),
        BagWriter(tmp_path / 'bag', 'sqlite3') as writer,
    ):
        monkeypatch.setattr(writer._writer, call, full)
        writer.write('/a', writer.typestore.types['std_msgs/msg/String']('x'), 0)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_is_full_from_the_beginning(tmp_path):
    """Stands for a full disk: this process may write no byte into a file."""
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(BagError, match='bag cannot be written'):
            BagWriter(tmp_path / 'bag', 'sqlite3')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(BagError, match='cannot be written'):
        BagWriter(tmp_path / 'file' / 'bag')


def test_folder_of_the_bag_is_made(tmp_path):
    check_pictures(write_image_bag(tmp_path / 'new' / 'folders' / 'drive'))
