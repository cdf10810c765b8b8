# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What does not come back.

A model: it is told of, and neither deactivation nor the end waits. Publishing: the process ends.
"""

import signal
import time

import pytest
from live_node import NodeProcess, image_message, wait_until
from running_node import SMALL, answer, bundle, graph, listen, start  # noqa: F401
from tiny_bundle import street, write_tiny_bundle

pytestmark = pytest.mark.ros

HANGS = """
import sys, time
from unidrive_perception.node import status_node
from unidrive_perception.perception_node import main
from unidrive_perception.predictor import Predictor

Predictor.predict_batch = lambda self, images: time.sleep(1000)
Predictor.warm_up = lambda self: None
status_node.HUNG_S = 0.5
sys.exit(main())
"""


@pytest.fixture
def node(graph, tmp_path):
    """A node with an image in work that does not end."""
    from sensor_msgs.msg import Image

    model = write_tiny_bundle(tmp_path / 'tiny')
    node = NodeProcess(tmp_path, program=('-c', HANGS), model_path=model, lazy='false')
    camera = graph.camera(Image, '/image')

    def is_sent():
        camera.publish(image_message(street(96, 160)))
        return 'first image on /image' in node.log

    wait_until(is_sent, 'an image')
    yield node
    node.stop(signal.SIGKILL)


def statuses(graph, subject):
    """What diagnostics say of ``subject``, newest last."""
    from diagnostic_msgs.msg import DiagnosticArray

    heard = graph.listen(DiagnosticArray, '/diagnostics')
    return lambda: [s for m in heard for s in m.status if s.hardware_id == subject]


def test_diagnostics_tell_of_it(graph, node):
    for subject in ('node', '/image'):
        heard = statuses(graph, subject)
        errors = wait_until(
            lambda heard=heard: [s for s in heard() if s.level == b'\x02'][2:], 'ERROR statuses'
        )
        assert errors[0].message.startswith('an image has been in work for')
    assert node.log.count('an image has been in work for') == 1  # the log says it once


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_all_the_same(node, number):
    assert node.stop(number) == 0
    assert 'Traceback' not in node.log


def test_deactivation_gives_up_and_the_node_is_unconfigured(graph, node):
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    request = ChangeState.Request(transition=Transition(label='deactivate'))
    graph.call(ChangeState, '/perception/change_state', request)
    state = graph.call(GetState, '/perception/get_state', GetState.Request())
    assert state.current_state.id == State.PRIMARY_STATE_UNCONFIGURED
    assert 'the images in work do not end, so the model hangs' in node.log
    assert node.stop() == 0


def test_a_signal_amid_a_deactivation_is_not_kept_waiting(graph, node):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = graph.node.create_client(ChangeState, '/perception/change_state')
    assert client.wait_for_service(60)
    client.call_async(ChangeState.Request(transition=Transition(label='deactivate')))
    time.sleep(0.5)
    begin = time.monotonic()
    assert node.stop(signal.SIGTERM) == 0
    assert time.monotonic() - begin < 5  # promised are 2 s; without the signal it waits for 10
    assert 'ended with an image in work' in node.log  # said by the deactivation
    assert 'hangs' not in node.log.partition('ended with')[2]


def test_a_request_that_ros_cannot_read_does_not_end_the_node(graph, node):
    from lifecycle_msgs.msg import State
    from lifecycle_msgs.srv import GetState
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = graph.node.create_client(SetParameters, '/perception/set_parameters')
    assert client.wait_for_service(60)
    wrong = Parameter(name='max_rate', value=ParameterValue(type=99))
    client.call_async(SetParameters.Request(parameters=[wrong]))
    node.wait_for('a callback of ROS failed')
    state = graph.call(GetState, '/perception/get_state', GetState.Request())
    assert state.current_state.id == State.PRIMARY_STATE_ACTIVE
    assert node.stop() == 0


LIMITED = """
import ctypes, sys, time
from rclpy.publisher import Publisher
from unidrive_perception.node.lifecycle_node import PerceptionNode
from unidrive_perception.perception_node import main
from unidrive_perception.predictor import Predictor

PerceptionNode.watchdog_s = 5.0
{change}
sys.exit(main())
"""

NEVER_PUBLISHED = """
publish = Publisher.publish

def never_come_back(self, message):  # as Fast DDS does it: the GIL is held
    if self.topic_name.endswith('/timing'):
        ctypes.PyDLL(None).sleep(1000)
    publish(self, message)

Publisher.publish = never_come_back
"""


@pytest.fixture
def limited(tmp_path, bundle):
    """Start a node with a watchdog of 5 s and with a change of its code."""
    nodes = []

    def limited(change):
        program = ('-c', LIMITED.format(change=change))
        nodes.append(NodeProcess(tmp_path, program=program, model_path=bundle))
        return nodes[-1]

    yield limited
    for node in nodes:
        node.stop(signal.SIGKILL)


def test_a_node_that_cannot_publish_ends_and_can_be_started_again(graph, start, limited):
    from sensor_msgs.msg import Image

    node = limited(NEVER_PUBLISHED)
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = graph.camera(Image, '/image')
    wait_until(
        lambda: camera.publish(image_message(SMALL)) or node.process.poll() is not None, 'its end'
    )
    assert node.exit_code() == 1
    assert 'Timeout (0:00:05)!' in node.log and 'in never_come_back' in node.log
    assert not heard
    start()
    answer(camera, heard, 7)


def test_a_model_may_take_longer_and_an_idle_node_is_none_that_stands_still(graph, limited):
    node = limited('Predictor.warm_up = lambda self: time.sleep(8)')
    node.wait_for('active')
    time.sleep(8)
    assert node.stop() == 0
    assert 'Timeout' not in node.log and 'watchdog' not in node.log
