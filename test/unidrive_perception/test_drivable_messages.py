# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""DrivableArea and DrivableGrid, alike for a bag and for ROS, on the wire and in a bag."""

from __future__ import annotations

import numpy as np
import pytest

from unidrive_perception.bags.reader import BagWriter, open_bag
from unidrive_perception.drivable import drivable_grid, drivable_polygons
from unidrive_perception.drivable_messages import drivable_area_message, drivable_grid_message
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory, RosFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import make_header, stamp_of
from unidrive_perception.predictor import Prediction

STORE = default_typestore()
SIZE = (90, 160)
TABLE = BDD100K_LABELS['drivable']
AREA, GRID = 'unidrive_msgs/msg/DrivableArea', 'unidrive_msgs/msg/DrivableGrid'
STAMP_NS = 1_700_000_000_123_456_789


@pytest.fixture(params=['bag', pytest.param('ros', marks=pytest.mark.ros)])
def make(request):
    return BagFactory(STORE) if request.param == 'bag' else RosFactory()


def mask():
    """Return a road with a car on it, beside another lane, at half of SIZE."""
    drivable = np.full((45, 80), 2, np.uint8)
    drivable[20:45, 10:50] = 0
    drivable[30:36, 20:30] = 2
    drivable[25:45, 50:70] = 1
    return drivable


def prediction(drivable):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    return Prediction(SIZE, *nothing, None, drivable)


def build(make, drivable):
    header = make_header(make, STAMP_NS, 'front_optical_frame')
    given = prediction(drivable)
    return (
        drivable_area_message(make, header, given, BDD100K_LABELS, 1.0),
        drivable_grid_message(make, header, given, BDD100K_LABELS, 9, 16),
    )


def over_the_wire(message, msgtype):
    """Serialise a message of either kind, and read it without ROS."""
    if hasattr(message, '__msgtype__'):
        data = STORE.serialize_cdr(message, msgtype)
    else:
        from rclpy.serialization import serialize_message

        data = serialize_message(message)
    return STORE.deserialize_cdr(data, msgtype)


def points(polygon):
    return np.float32([(p.x, p.y) for p in polygon.points])


def check_area(message):
    """Compare with what drivable_polygons gives for mask()."""
    expected = drivable_polygons(mask(), TABLE, SIZE, 1.0)
    assert [(p.class_id, p.class_name) for p in message.polygons] == [
        (0, 'direct'), (1, 'alternative'),
    ]  # fmt: skip
    assert [len(p.holes) for p in message.polygons] == [1, 0]
    for got, given in zip(message.polygons, expected, strict=True):
        np.testing.assert_array_equal(points(got.outline), given.outline)
        assert {p.z for p in got.outline.points} == {0}
        for hole, given_hole in zip(got.holes, given.holes, strict=True):
            np.testing.assert_array_equal(points(hole), given_hole)


def check_grid(message):
    """Compare with what drivable_grid gives for mask()."""
    expected = drivable_grid(mask(), TABLE, 9, 16)
    assert (message.rows, message.columns) == (9, 16)
    assert [(x.class_id, x.class_name) for x in message.layers] == [
        (0, 'direct'), (1, 'alternative'),
    ]  # fmt: skip
    for layer in message.layers:
        data = np.frombuffer(layer.data, np.uint8).reshape(9, 16)
        np.testing.assert_array_equal(data, expected[layer.class_id])
        assert data.max() == 100


def test_fields(make):
    header = make_header(make, STAMP_NS, 'front')
    given = prediction(mask())
    for message in (
        drivable_area_message(make, header, given, BDD100K_LABELS, 1.0),
        drivable_grid_message(make, header, given, BDD100K_LABELS, 9, 16),
    ):
        assert message.header is header
        assert (message.image_height, message.image_width) == SIZE


def test_wire(make):
    area, grid = build(make, mask())
    check_area(over_the_wire(area, AREA))
    check_grid(over_the_wire(grid, GRID))


@pytest.mark.ros
def test_ros_reads_what_ros_wrote():
    from rclpy.serialization import deserialize_message, serialize_message

    for message, check in zip(build(RosFactory(), mask()), (check_area, check_grid), strict=True):
        got = deserialize_message(serialize_message(message), type(message))
        assert got == message
        check(got)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag(tmp_path, storage):
    with BagWriter(tmp_path / 'bag', storage) as writer:
        area, grid = build(BagFactory(writer.typestore), mask())
        writer.write('/drivable_area', area, STAMP_NS)
        writer.write('/drivable_grid', grid, STAMP_NS)
    with open_bag(tmp_path / 'bag') as bag:
        got = {m.topic: bag.deserialize(m) for m in bag.messages()}
    check_area(got['/drivable_area'])
    check_grid(got['/drivable_grid'])
    assert {stamp_of(message.header) for message in got.values()} == {STAMP_NS}


@pytest.mark.parametrize('drivable', [None, np.full((45, 80), 2, np.uint8)])
def test_nothing_drivable(make, drivable):
    """A frame without the task, or without a street, is answered all the same."""
    area, grid = build(make, drivable)
    assert list(over_the_wire(area, AREA).polygons) == []
    layers = over_the_wire(grid, GRID).layers
    assert len(layers) == (0 if drivable is None else 2)
    assert not any(np.asarray(layer.data).any() for layer in layers)
    assert (grid.rows, grid.columns) == (9, 16)
