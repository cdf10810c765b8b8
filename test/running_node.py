# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Perception nodes of a test, with a tiny model, and what it does with them.

A test module that has ``PARAMETERS`` gives them to each node that it starts.
"""

from __future__ import annotations

import time

import pytest
from live_node import Graph, NodeProcess, image_message, number_of, wait_until
from tiny_bundle import street, write_tiny_bundle

SMALL = street(96, 160)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


@pytest.fixture
def start(request, ros_domain, bundle, tmp_path):
    """Start nodes that end with the test."""
    nodes = []

    def start(*ros_args, **parameters):
        usual = {'model_path': bundle, 'threads': 1, **getattr(request.module, 'PARAMETERS', {})}
        nodes.append(NodeProcess(tmp_path, *ros_args, **{**usual, **parameters}))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


@pytest.fixture
def graph(ros_domain):
    graph = Graph(ros_domain)
    yield graph
    graph.close()


def camera_for(graph, topic='/image', **options):
    """A camera that the node listens to."""
    from sensor_msgs.msg import Image

    camera = graph.camera(Image, topic, **options)
    wait_until(camera.get_subscription_count, f'a subscription of {topic}')
    time.sleep(0.3)  # both sides must have found each other
    return camera


def listen(graph, topic, kind='PerceptionResult'):
    """What the node publishes on a topic, once it offers it."""
    import sensor_msgs.msg

    import unidrive_msgs.msg

    name = f'/perception/{topic}'
    package = unidrive_msgs.msg if hasattr(unidrive_msgs.msg, kind) else sensor_msgs.msg
    heard = graph.listen(getattr(package, kind), name)
    wait_until(lambda: graph.node.count_publishers(name), name)
    return heard


def answer(camera, heard, number, rgb=SMALL, **fields):
    """Publish until there is a result for ``number``, and return it."""

    def found():
        camera.publish(image_message(rgb, number, **fields))
        time.sleep(0.05)
        return [m for m in heard if number_of(m) == number]

    return wait_until(found, f'a result for image {number}')[0]


def set_parameter(graph, name, value):
    """Set a parameter of the node; the result tells whether it was taken."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return graph.call(SetParameters, '/perception/set_parameters', request).results[0]


def change_state(graph, label):
    """Ask the node for a transition; whether it succeeded."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    request = ChangeState.Request(transition=Transition(label=label))
    return graph.call(ChangeState, '/perception/change_state', request).success
