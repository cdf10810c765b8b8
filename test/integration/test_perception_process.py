# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the launch tests check, without launch: the node as a process with the same parameters."""

import json
import signal
import time

import pytest
from live_node import NodeProcess, wait_until
from ros2_launch import bundle, filming, graph  # noqa: F401

from unidrive_perception.launching import plan as launch_plan
from unidrive_perception.launching.arguments import PERCEPTION

pytestmark = pytest.mark.ros


@pytest.fixture
def start(ros_domain, bundle, tmp_path):
    """Start nodes with the arguments of perception.launch.py; they end with the test."""
    nodes = []

    def start(**arguments):
        given = {a.name: a.default for a in PERCEPTION} | {'model': str(bundle)} | arguments
        plan = launch_plan.resolve(given)
        values = {name: json.dumps(value) for name, value in plan.parameters.items()}
        namespace = plan.node.rpartition('/')[0] or '/'
        nodes.append(NodeProcess(tmp_path, '-r', f'__ns:={namespace}', **values))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def results_of(graph, node='/perception'):
    from unidrive_msgs.msg import DetectionArray

    return graph.listen(DetectionArray, f'{node}/detections')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_results_come_and_a_signal_ends_it_soon(start, graph, filming, number):
    results = results_of(graph)
    filming('/camera/image_raw')
    node = start(image_topic='/camera/image_raw')
    wait_until(lambda: results, 'a result')
    assert [d.class_name for d in results[0].detections] == ['red', 'blue']
    begin = time.monotonic()
    assert node.stop(number) == 0
    assert time.monotonic() - begin < 2  # promised, and 0.2 s as a rule
    assert 'Traceback' not in node.log and 'ERROR' not in node.log


def test_after_a_kill_the_next_one_goes_on(start, graph, filming):
    results = results_of(graph)
    filming('/image')
    node = start()
    wait_until(lambda: results, 'a result')
    assert node.stop(signal.SIGKILL) == -signal.SIGKILL
    time.sleep(0.2)  # what was on its way has come
    results.clear()
    start()
    wait_until(lambda: results, 'a result of the next one')


def test_two_namespaces_side_by_side(start, graph, filming):
    filming('/front/raw', '/rear/raw')
    nodes = [start(namespace=name, image_topic='raw') for name in ('front', 'rear')]
    heard = [results_of(graph, f'/{name}/perception') for name in ('front', 'rear')]
    wait_until(lambda: all(heard), 'results of both')
    assert nodes[0].stop() == 0
    heard[1].clear()
    wait_until(lambda: heard[1], 'results of the other')


def test_several_cameras_on_one_node(start, graph, filming):
    filming('/front/raw', '/up')
    start(cameras='front,sky', image_topic='/{camera}/raw', topics='sky=/up')
    heard = [results_of(graph, f'/perception/{name}') for name in ('front', 'sky')]
    wait_until(lambda: all(heard), 'results of both cameras')
