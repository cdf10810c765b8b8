# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Every message survives the wire, and a reader that shares no code with ROS agrees."""

import array
import itertools

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

pytestmark = pytest.mark.ros

MESSAGES = [
    'BoundingBox',
    'ClassInfo',
    'Detection',
    'DetectionArray',
    'DrivableArea',
    'DrivableGrid',
    'DrivableGridLayer',
    'DrivablePolygon',
    'FrameTiming',
    'LabelTable',
    'PerceptionResult',
    'SegmentationMask',
]
HEIGHT, WIDTH = 720, 1280


@pytest.fixture(scope='module')
def typestore(repo_root):
    """What the rosbags library, which shares no code with ROS, makes of our .msg files."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = {}
    for path in (repo_root / 'unidrive_msgs' / 'msg').glob('*.msg'):
        types.update(get_types_from_msg(path.read_text(), f'unidrive_msgs/msg/{path.stem}'))
    store.register(types)
    return store


def message_class(name):
    """Import one message class late, so that collection needs no ROS."""
    import unidrive_msgs.msg

    return getattr(unidrive_msgs.msg, name)


def fill(message, numbers):
    """Give every field of a message, at any depth, a value of its own."""
    for field, kind in message.get_fields_and_field_types().items():
        setattr(message, field, value_of(kind, numbers))
    return message


def value_of(kind, numbers):
    """A value of the IDL type `kind`, different from the one before."""
    if kind.startswith('sequence<'):
        item = kind[len('sequence<') : -1]
        if item == 'uint8':
            return array.array('B', [next(numbers) % 256 for _ in range(7)])
        return [value_of(item, numbers) for _ in range(3)]
    if kind == 'string':
        return f'text {next(numbers)} – straße'
    if kind in ('float', 'double'):
        return next(numbers) + 0.25
    if kind in ('uint8', 'uint16', 'uint32', 'uint64', 'int32'):
        return next(numbers) % 256
    package, name = kind.split('/')
    classes = __import__(f'{package}.msg', fromlist=[name])
    return fill(getattr(classes, name)(), numbers)


def filled(name):
    return fill(message_class(name)(), itertools.count(1))


def big_result():
    """A result as the node makes it: 1280×720, two masks of full size, 50 objects."""
    result = filled('PerceptionResult')
    result.detections.detections = [
        fill(message_class('Detection')(), itertools.count(index)) for index in range(50)
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (2, HEIGHT * WIDTH), np.uint8)
    for mask, data in zip((result.semantic_mask, result.drivable_mask), pixels, strict=True):
        mask.height, mask.width = mask.image_height, mask.image_width = HEIGHT, WIDTH
        mask.data = array.array('B', data.tobytes())
    return result


def test_the_list_of_messages_is_complete(repo_root):
    files = {path.stem for path in (repo_root / 'unidrive_msgs' / 'msg').iterdir()}
    assert files == set(MESSAGES)
    cmake = (repo_root / 'unidrive_msgs' / 'CMakeLists.txt').read_text()
    assert all(f'"msg/{name}.msg"' in cmake for name in MESSAGES)


@pytest.mark.parametrize('name', MESSAGES)
def test_a_message_survives_the_wire(name):
    from rclpy.serialization import deserialize_message, serialize_message

    message = filled(name)
    assert message != message_class(name)()
    assert deserialize_message(serialize_message(message), message_class(name)) == message


def test_a_result_with_full_masks_survives_the_wire():
    from rclpy.serialization import deserialize_message, serialize_message

    result = big_result()
    received = deserialize_message(serialize_message(result), message_class('PerceptionResult'))
    assert received == result
    assert isinstance(received.semantic_mask.data, array.array)
    assert len(received.drivable_mask.data) == HEIGHT * WIDTH


@pytest.mark.parametrize('name', MESSAGES)
def test_ros_and_rosbags_read_what_the_other_writes(name, typestore):
    assert_both_ways(filled(name), name, typestore)


def test_ros_and_rosbags_read_full_masks_of_the_other(typestore):
    assert_both_ways(big_result(), 'PerceptionResult', typestore)


def assert_both_ways(message, name, typestore):
    """ROS → bytes → rosbags → bytes → ROS gives the same message, and as many bytes.

    The bytes themselves may differ: ROS leaves the padding between fields as it finds the memory.
    """
    from rclpy.serialization import deserialize_message, serialize_message

    raw = serialize_message(message)
    kind = f'unidrive_msgs/msg/{name}'
    again = bytes(typestore.serialize_cdr(typestore.deserialize_cdr(raw, kind), kind))
    assert 0 <= len(raw) - len(again) < 4  # ROS pads the end, too
    assert deserialize_message(again, message_class(name)) == message


def test_fields_arrive_under_their_names(typestore):
    """Two swapped fields of one type would keep the bytes equal: compare by name as well."""
    from rclpy.serialization import serialize_message

    for name in MESSAGES:
        message = filled(name)
        kind = f'unidrive_msgs/msg/{name}'
        read = typestore.deserialize_cdr(serialize_message(message), kind)
        assert_equal_fields(message, read)


def assert_equal_fields(message, read):
    for field, kind in message.get_fields_and_field_types().items():
        ours, theirs = getattr(message, field), getattr(read, field)
        if kind.startswith('sequence<') and '/' in kind:
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                assert_equal_fields(one, other)
        elif '/' in kind:
            assert_equal_fields(ours, theirs)
        else:
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs), err_msg=field)


def test_constants_say_what_the_field_means(typestore):
    mask = message_class('SegmentationMask')
    assert (mask.SEMANTIC, mask.DRIVABLE, mask.UNKNOWN) == (1, 2, 255)
    read = typestore.types['unidrive_msgs/msg/SegmentationMask']
    assert (read.SEMANTIC, read.DRIVABLE, read.UNKNOWN) == (1, 2, 255)


def test_unknown_is_the_value_of_the_label_tables():
    from unidrive_perception.labels import UNKNOWN

    assert message_class('SegmentationMask').UNKNOWN == UNKNOWN
