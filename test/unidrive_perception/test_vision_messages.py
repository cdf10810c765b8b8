# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of vision_msgs: of each layout that is out there, and of the package installed here."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from rosbags.convert.converter import is_same_wireformat
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from unidrive_perception.bags.reader import BagWriter, open_bag
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory, RosFactory
from unidrive_perception.message_types import default_typestore, installed_typestore
from unidrive_perception.messages import make_header, stamp_of
from unidrive_perception.predictor import Prediction
from unidrive_perception.vision_messages import (
    DETECTIONS,
    LABEL_INFO,
    can_make,
    detection_2d_array_message,
    label_info_message,
)

STAMP_NS = 1_700_000_000_123_456_789

GALACTIC = {
    'BoundingBox2D': 'geometry_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y',
    'ObjectHypothesis': 'string class_id\nfloat64 score',
    'ObjectHypothesisWithPose': 'vision_msgs/ObjectHypothesis hypothesis\n'
    'geometry_msgs/PoseWithCovariance pose',
    'Detection2D': 'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
    'vision_msgs/BoundingBox2D bbox\nstring id',
    'Detection2DArray': 'std_msgs/Header header\nvision_msgs/Detection2D[] detections',
}
HUMBLE_AT_FIRST = {
    **GALACTIC,
    'Point2D': 'float64 x\nfloat64 y',
    'Pose2D': 'vision_msgs/Point2D position\nfloat64 theta',
    'BoundingBox2D': 'vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y',
}
HUMBLE_JAZZY_KILTED = {
    **HUMBLE_AT_FIRST,
    'VisionClass': 'uint16 class_id\nstring class_name',
    'LabelInfo': 'std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold',
}
RENAMED_AGAIN = {
    **HUMBLE_JAZZY_KILTED,
    'Point2D': 'float64 u\nfloat64 v',
    'VisionClass': 'uint16 id\nstring name',
}
"""What vision_msgs 3, 4.0 and 4.1 define, and what another may."""


def store_of(definitions):
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = {}
    for name, text in definitions.items():
        types.update(get_types_from_msg(text, f'vision_msgs/msg/{name}'))
    store.register(types)
    return store


STORE = store_of(HUMBLE_JAZZY_KILTED)


def ros_factory():
    """Return a factory of the installed vision_msgs, or skip."""
    try:
        importlib.import_module('vision_msgs.msg')
    except ImportError as error:
        pytest.skip(f'vision_msgs is not installed: {error}')
    return RosFactory()


@pytest.fixture(params=['4.0', '4.1', pytest.param('installed', marks=pytest.mark.ros)])
def make(request):
    if request.param == 'installed':
        return ros_factory()
    return BagFactory(store_of(HUMBLE_AT_FIRST if request.param == '4.0' else HUMBLE_JAZZY_KILTED))


def prediction():
    return Prediction(
        (720, 1280),
        np.float32([[10, 20, 30, 80], [0, 0, 1280, 720], [0.25, 0.5, 0.5, 0.75]]),
        np.float32([0.875, 0.5, 0.25]),
        np.int64([2, 9, 0]),
        None,
        None,
        track_ids=np.int64([41, 0, 7]),
    )


def detections_of(make):
    header = make_header(make, STAMP_NS, 'front_optical_frame')
    return detection_2d_array_message(make, header, prediction(), BDD100K_LABELS)


def over_the_wire(message, msgtype):
    """Serialise a message of either kind, and read it with the definitions of 4.1."""
    if hasattr(message, '__msgtype__'):
        data = STORE.serialize_cdr(message, msgtype)
    else:
        from rclpy.serialization import serialize_message

        data = serialize_message(message)
    return STORE.deserialize_cdr(data, msgtype)


def check_detections(message):
    """The boxes of prediction(), read by somebody else."""
    headers = [message.header, *(d.header for d in message.detections)]
    assert {(stamp_of(h), h.frame_id) for h in headers} == {(STAMP_NS, 'front_optical_frame')}
    boxes = [d.bbox for d in message.detections]
    assert [(b.center.position.x, b.center.position.y, b.size_x, b.size_y) for b in boxes] == [
        (20, 50, 20, 60), (640, 360, 1280, 720), (0.375, 0.625, 0.25, 0.25),
    ]  # fmt: skip
    assert [b.center.theta for b in boxes] == [0, 0, 0]
    assert [d.id for d in message.detections] == ['41', '', '7']
    results = [result for d in message.detections for result in d.results]
    assert [(r.hypothesis.class_id, r.hypothesis.score) for r in results] == [
        ('2', 0.875), ('9', 0.5), ('0', 0.25),
    ]  # fmt: skip
    for result in results:  # no place in space, but a rotation that others can compute with
        assert result.pose.pose.orientation.w == 1
        assert not np.any(result.pose.covariance)


def test_detections(make):
    assert can_make(make, DETECTIONS)
    message = detections_of(make)
    assert message.detections[0].header is message.header
    check_detections(message)
    check_detections(over_the_wire(message, DETECTIONS))


def test_no_detections(make):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    header = make_header(make, STAMP_NS, 'front')
    given = Prediction((720, 1280), *nothing, None, None)
    message = detection_2d_array_message(make, header, given, {})  # the model has no boxes
    assert len(over_the_wire(message, DETECTIONS).detections) == 0


@pytest.mark.parametrize('task', ['detection', 'semantic', 'drivable'])
def test_label_info(make, task):
    if not can_make(make, LABEL_INFO):
        return  # vision_msgs 4.0, see test_can_make
    table = BDD100K_LABELS[task]
    header = make_header(make, STAMP_NS, '')
    message = label_info_message(make, header, table, 0.25)
    assert message.header is header
    got = over_the_wire(message, LABEL_INFO)
    assert [(c.class_id, c.class_name) for c in got.class_map] == list(enumerate(table.names))
    assert got.threshold == 0.25


def test_class_ids_are_found_in_label_info():
    make = BagFactory(STORE)
    header = make_header(make, 0, '')
    info = label_info_message(make, header, BDD100K_LABELS['detection'], 0.5)
    names = {str(entry.class_id): entry.class_name for entry in info.class_map}
    found = [names[d.results[0].hypothesis.class_id] for d in detections_of(make).detections]
    assert found == ['car', 'traffic sign', 'pedestrian']


@pytest.mark.parametrize(
    'definitions, detections, label_info',
    [
        ({}, False, False),
        (GALACTIC, False, False),
        (HUMBLE_AT_FIRST, True, False),
        (HUMBLE_JAZZY_KILTED, True, True),
        (RENAMED_AGAIN, False, False),
    ],
)
def test_can_make(definitions, detections, label_info):
    make = BagFactory(store_of(definitions))
    assert can_make(make, DETECTIONS) is detections
    assert can_make(make, LABEL_INFO) is label_info


def test_bag_without_ros_has_no_vision_messages():
    assert not can_make(BagFactory(default_typestore()), DETECTIONS)


@pytest.mark.ros
def test_ros_without_the_package(monkeypatch):
    for name in ('vision_msgs', 'vision_msgs.msg'):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    make = RosFactory()
    assert not can_make(make, DETECTIONS)
    assert not can_make(make, LABEL_INFO)


@pytest.mark.ros
def test_definitions_of_this_test_are_those_installed():
    """What is tested without the package is worth as much as the definitions above."""
    make = ros_factory()
    for msgtype in (DETECTIONS, LABEL_INFO):
        store = installed_typestore(msgtype)
        assert (store is not None) == can_make(make, msgtype)
        if store:
            assert is_same_wireformat(store, STORE, msgtype, msgtype)


@pytest.mark.ros
def test_ros_reads_what_ros_wrote():
    from rclpy.serialization import deserialize_message, serialize_message

    message = detections_of(ros_factory())
    got = deserialize_message(serialize_message(message), type(message))
    assert got == message
    check_detections(got)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag(tmp_path, storage):
    """Another reader finds the definition in the bag."""
    with BagWriter(tmp_path / 'bag', storage) as writer:
        writer.add_topic('/detections_2d', DETECTIONS, store=STORE)
        data = STORE.serialize_cdr(detections_of(BagFactory(STORE)), DETECTIONS)
        writer.write_raw('/detections_2d', DETECTIONS, data, STAMP_NS)
    with open_bag(tmp_path / 'bag') as bag:
        (message,) = (bag.deserialize(m) for m in bag.messages())
    check_detections(message)
