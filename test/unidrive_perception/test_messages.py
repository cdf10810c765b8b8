# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages from arrays and back, alike for a bag and for ROS."""

from __future__ import annotations

import array
import subprocess
import sys

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from unidrive_perception.geometry import Letterbox
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb, rgb_to_compressed
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory, MessagesMissingError, RosFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import (
    arrays_from_detections,
    compressed_message,
    detections_message,
    image_message,
    labels_from_message,
    labels_message,
    make_header,
    mask_message,
    prediction_from_result,
    timing_message,
)
from unidrive_perception.node.diagnostics import STAGES, Counters
from unidrive_perception.node.frame_messages import FrameMessages
from unidrive_perception.predictor import Prediction, StageTimes

STORE = default_typestore()
SIZE = (36, 64)


@pytest.fixture(params=['bag', pytest.param('ros', marks=pytest.mark.ros)])
def make(request):
    return BagFactory(STORE) if request.param == 'bag' else RosFactory()


def prediction(objects=3, size=SIZE, mask_size=SIZE, **changes):
    rng = np.random.default_rng(7)
    fields = {
        'image_size': size,
        'boxes': rng.random((objects, 4), np.float32) * 30,
        'scores': np.sort(rng.random(objects, np.float32))[::-1],
        'class_ids': rng.integers(0, 10, objects),
        'semantic': rng.integers(0, 19, mask_size, np.uint8),
        'drivable': rng.integers(0, 3, mask_size, np.uint8),
        'timing': StageTimes(1.5, 2.5, 3.5),
    }
    return Prediction(**{**fields, **changes})


def frame_messages(make, given, labels=BDD100K_LABELS, header=None):
    """The messages as the node and process-bag make them."""
    return FrameMessages(make, header or header_of(make), None, given, labels, {})


def header_of(make):
    return make_header(make, 1_700_000_000_123_456_789, 'camera_optical_frame')


def canonical(message):
    """Serialise a message of either kind; rosbags leaves zeros between fields."""
    kind = type(message)
    msgtype = getattr(message, '__msgtype__', None)
    if msgtype is None:
        from rclpy.serialization import serialize_message

        msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
        message = STORE.deserialize_cdr(serialize_message(message), msgtype)
    return bytes(STORE.serialize_cdr(message, msgtype))


def test_header(make):
    header = header_of(make)
    assert (header.stamp.sec, header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert header.frame_id == 'camera_optical_frame'


@pytest.mark.parametrize('objects', [0, 1, 100])
@pytest.mark.parametrize('mask_size', [SIZE, (18, 32)])
def test_round_trip(make, objects, mask_size):
    given = prediction(objects, mask_size=mask_size)
    got = prediction_from_result(frame_messages(make, given).result)
    assert got.image_size == SIZE
    for name in ('boxes', 'scores', 'class_ids', 'semantic', 'drivable'):
        expected, array_ = getattr(given, name), getattr(got, name)
        assert array_.dtype == expected.dtype
        np.testing.assert_array_equal(array_, expected, name)


def test_fields(make):
    given = prediction(2, mask_size=(18, 32))
    header = header_of(make)
    messages = frame_messages(make, given, header=header)
    for message in (messages.detections, messages.semantic_mask, messages.drivable_mask):
        assert message.header is header
        assert (message.image_height, message.image_width) == SIZE
    assert messages.result.header is header
    assert messages.result.semantic_mask is messages.semantic_mask
    assert messages.result.drivable_mask is messages.drivable_mask
    assert messages.result.detections is messages.detections
    first = messages.detections.detections[0]
    assert first.class_name == BDD100K_LABELS['detection'].names[given.class_ids[0]]
    assert (messages.semantic_mask.height, messages.semantic_mask.width) == (18, 32)
    assert (messages.semantic_mask.task, messages.drivable_mask.task) == (1, 2)


def test_task_constants_are_those_of_the_message():
    constants = {
        name: value for name, _, value in STORE.fielddefs['unidrive_msgs/msg/SegmentationMask'][0]
    }
    make = BagFactory(STORE)
    for task in ('semantic', 'drivable'):
        message = mask_message(make, header_of(make), None, task, SIZE)
        assert message.task == constants[task.upper()]


def test_absent_tasks(make):
    given = prediction(0, semantic=None, drivable=None)
    result = frame_messages(make, given, {}).result
    got = prediction_from_result(result)
    assert got.semantic is None
    assert got.drivable is None
    assert len(got.boxes) == len(got.scores) == len(got.class_ids) == 0
    assert got.boxes.shape == (0, 4)
    assert (result.semantic_mask.height, len(result.semantic_mask.data)) == (0, 0)
    assert (result.semantic_mask.task, result.drivable_mask.task) == (1, 2)
    assert got.image_size == SIZE


def test_masks_that_are_not_contiguous(make):
    wide = np.random.default_rng(0).integers(0, 19, (40, 70), np.uint8)
    for mask in (wide[2:38, 3:67], wide.T, wide[::2, ::-1]):
        message = mask_message(make, header_of(make), mask, 'semantic', SIZE)
        np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8), mask.ravel())


def test_labels(make):
    message = labels_message(make, header_of(make), 'nano', 'ab' * 32, BDD100K_LABELS)
    assert (message.model_name, message.model_sha256) == ('nano', 'ab' * 32)
    assert labels_from_message(message) == BDD100K_LABELS
    only = {'drivable': BDD100K_LABELS['drivable']}
    message = labels_message(make, header_of(make), 'nano', '', only)
    assert labels_from_message(message) == only


def test_timing(make):
    stages_ms = dict(zip(STAGES, (0.5, 1.0, 2.0, 3.0, 0.25, 4.0), strict=True))
    counters = Counters(21, processed=6, dropped=5, late=4, limited=3, bad=2, failed=1)
    message = timing_message(make, header_of(make), stages_ms, 20.0, 2, counters)
    assert (message.preprocess_ms, message.inference_ms, message.postprocess_ms) == (1, 2, 3)
    assert (message.decode_ms, message.track_ms, message.publish_ms) == (0.5, 0.25, 4)
    assert (message.age_ms, message.batch_size) == (20, 2)
    assert (message.received, message.processed, message.dropped) == (21, 6, 5)
    assert (message.late, message.limited, message.bad, message.failed) == (4, 3, 2, 1)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_image(make, encoding):
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    message = image_message(make, header_of(make), rgb, encoding)
    assert (message.height, message.width, message.step) == (*SIZE, 3 * SIZE[1])
    np.testing.assert_array_equal(image_to_rgb(message), rgb)


def test_compressed_image(make):
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    message = compressed_message(make, header_of(make), rgb_to_compressed(rgb, 'png'), 'png')
    np.testing.assert_array_equal(compressed_to_rgb(message), rgb)


@pytest.mark.ros
def test_ros_and_bag_messages_are_the_same_on_the_wire():
    given = prediction(5)
    ros, bag = RosFactory(), BagFactory(STORE)
    topics = 'detections', 'semantic_mask', 'drivable_mask', 'result'
    both = [
        [
            *map(frame_messages(make, given).get, topics),
            labels_message(make, header_of(make), 'nano', 'ab', BDD100K_LABELS),
            image_message(make, header_of(make), np.zeros((*SIZE, 3), np.uint8)),
        ]
        for make in (ros, bag)
    ]
    for from_ros, from_bag in zip(*both, strict=True):
        assert canonical(from_ros) == canonical(from_bag)


@pytest.mark.ros
def test_masks_take_the_fast_path_of_rosidl(monkeypatch):
    """Anything but array.array is tested byte by byte, 100 ms for one mask."""
    mask = np.zeros(SIZE, np.uint8)
    make = RosFactory()
    assert isinstance(make.uint8_array(mask), array.array)
    assert isinstance(
        mask_message(make, header_of(make), mask, 'semantic', SIZE).data, array.array
    )


@pytest.mark.ros
def test_a_mask_of_the_predictor_is_not_copied_into_its_message():
    mask = Letterbox(SIZE, (32, 64)).invert_mask(np.full((16, 32), 3, np.uint8))
    make = RosFactory()
    message = mask_message(make, header_of(make), mask, 'semantic', SIZE)
    assert canonical(message).count(3) >= mask.size
    message.data[5] = 7  # as nobody does; here it shows whose memory the message has
    assert mask.ravel()[5] == 7
    with pytest.raises(ValueError, match='read-only'):
        mask[0, 0] = 7  # what is being published must not change


def test_detections_keep_float32_exactly(make):
    given = prediction(20)
    message = detections_message(make, header_of(make), given, BDD100K_LABELS)
    boxes, scores, class_ids = arrays_from_detections(
        STORE.deserialize_cdr(canonical(message), 'unidrive_msgs/msg/DetectionArray')
    )
    np.testing.assert_array_equal(boxes, given.boxes)
    np.testing.assert_array_equal(scores, given.scores)
    np.testing.assert_array_equal(class_ids, given.class_ids)


def test_store_without_our_messages():
    make = BagFactory(get_typestore(Stores.ROS2_HUMBLE))
    make_header(make, 0, '')  # what others define is there
    with pytest.raises(MessagesMissingError, match='colcon build --base-paths'):
        detections_message(make, None, prediction(0), {})


NOT_BUILT = """
import os, sys
from unidrive_perception.message_factories import RosFactory
built = [p for p in sys.path if os.path.isfile(os.path.join(p, 'unidrive_msgs', '__init__.py'))]
sys.path = [p for p in sys.path if p not in built]
import unidrive_msgs.msg
RosFactory()
"""


def test_messages_that_are_not_built_are_one_sentence(repo_root):
    """In the source folder ``import unidrive_msgs.msg`` works, as an empty namespace package."""
    run = subprocess.run(
        [sys.executable, '-c', NOT_BUILT],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'MessagesMissingError: unidrive_msgs is not built or not sourced' in run.stderr
    assert 'colcon build --base-paths . unidrive_msgs' in run.stderr
