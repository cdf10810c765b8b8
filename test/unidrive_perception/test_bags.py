# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags as they come: both storages, rosbag1, compressed, own and unknown types."""

from __future__ import annotations

import numpy as np
import pytest
from bag_reading import check_pictures, read
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

from unidrive_perception.bags.reader import BagError, BagWriter, open_bag
from unidrive_perception.image_codec import image_to_rgb
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import labels_message, make_header


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


def test_empty_bag(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/a', 'std_msgs/msg/String')
    with open_bag(tmp_path / 'bag') as bag:
        assert list(bag.messages()) == []
        assert (bag.message_count, bag.start_ns, bag.end_ns) == (0, 0, 0)
        assert bag.topics['/a'].count == 0
