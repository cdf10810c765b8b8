# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The transitions of the node, what keeps it from starting, and its end."""

import os
import shutil
import signal
import time

import pytest
from live_node import NodeProcess, image_message, number_of, wait_until
from running_node import (  # noqa: F401
    SMALL,
    answer,
    bundle,
    camera_for,
    change_state,
    graph,
    listen,
    set_parameter,
    start,
)
from tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.ros

PARAMETERS = {'lazy': 'false'}


def test_transitions(start, graph):
    node = start(autostart='false')
    assert change_state(graph, 'configure')
    assert graph.node.count_subscribers('/image') == 0
    assert change_state(graph, 'activate')
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = camera_for(graph)

    def process(number):
        camera.publish(image_message(SMALL, number))
        return wait_until(
            lambda: next((m for m in heard if number_of(m) == number), None), f'image {number}'
        )

    assert process(1).received == 1
    assert process(2).received == 2
    assert change_state(graph, 'deactivate')
    wait_until(lambda: not camera.get_subscription_count(), 'the end of the subscription')
    assert change_state(graph, 'activate')
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)
    assert process(3).received == 1  # counted anew
    assert change_state(graph, 'deactivate')
    assert change_state(graph, 'cleanup')
    wait_until(lambda: not graph.node.count_publishers('/perception/result'), 'cleanup')
    assert change_state(graph, 'configure') and change_state(graph, 'activate')
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)
    assert process(4).received == 1
    assert change_state(graph, 'shutdown')
    wait_until(lambda: not camera.get_subscription_count(), 'the end of the subscription')
    assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_inactive_node_says_so(start, graph):
    from diagnostic_msgs.msg import DiagnosticArray

    start(autostart='false')
    heard = graph.listen(DiagnosticArray, '/diagnostics')
    (status,) = wait_until(lambda: heard and heard[-1].status, 'diagnostics')
    assert status.level == b'\x03' and status.message == 'the node is not active'


@pytest.mark.parametrize(
    ('parameters', 'code', 'sentence'),
    [
        ({'model_path': '/nowhere/nano'}, 1, '/nowhere/nano: no such model bundle folder'),
        ({'image_topic': 'b@d'}, 1, "the image topic 'b@d' is no valid name"),
        (
            {'cameras': '[a, b]', 'b.image_topic': '/a/image'},
            1,
            'with the parameter b.image_topic',
        ),
        ({'device': 'tpu'}, 2, 'parameter device must be one of auto, cpu, cuda'),
        ({'threads': '-3'}, 2, 'threads'),
        ({'score_threshold': 'high'}, 2, 'parameter score_threshold must be a number'),
        ({'cameras': '[a, a]'}, 2, 'a list of different names'),
        ({'image_topic': "''"}, 2, "parameter image_topic must be the name of a topic, not ''"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_what_cannot_start_ends_with_a_sentence(start, parameters, code, sentence):
    node = start(**parameters)
    assert node.exit_code() == code
    assert sentence in node.log
    assert 'Traceback' not in node.log


def test_a_parameter_file_that_is_not_there(start):
    node = start('--params-file', '/nowhere/perception.yaml')
    assert node.exit_code() == 2
    assert '/nowhere/perception.yaml' in node.log and 'Traceback' not in node.log


def test_missing_messages_are_told_with_the_command(ros_domain, tmp_path, bundle):
    """As in a workspace where only the node was built."""
    nothing = tmp_path / 'shadow' / 'unidrive_msgs'  # found before the installed one
    nothing.mkdir(parents=True)
    (nothing / '__init__.py').touch()
    path = os.pathsep.join([str(nothing.parent), os.environ.get('PYTHONPATH', '')])
    node = NodeProcess(tmp_path, env={'PYTHONPATH': path}, model_path=bundle)
    assert node.exit_code() == 2
    assert 'colcon build' in node.log and 'Traceback' not in node.log


def test_a_failed_configuration_is_logged_and_can_be_retried(start, graph, tmp_path, bundle):
    folder = tmp_path / 'later'
    node = start(autostart='false', model_path=folder)
    assert not change_state(graph, 'configure')
    assert 'on_configure failed' in node.log and 'no such model bundle folder' in node.log
    shutil.copytree(bundle, folder)
    assert change_state(graph, 'configure')
    assert node.process.poll() is None


def test_a_failed_activation_leaves_nothing_active(ros_domain, graph, bundle):
    import rclpy
    from rclpy.lifecycle import LifecyclePublisher, TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from rclpy.publisher import Publisher

    from unidrive_msgs.msg import LabelTable
    from unidrive_perception.node.lifecycle_node import PerceptionNode

    heard = graph.listen(LabelTable, '/perception/labels')
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    settings = {'model_path': str(bundle), 'image_topic': 'b@d'}
    overrides = [Parameter(name, value=value) for name, value in settings.items()]
    node = PerceptionNode(context=context, parameter_overrides=overrides)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        results = [p for p in node.publishers if isinstance(p, LifecyclePublisher)]
        (labels,) = (p for p in results if p.topic_name == '/perception/labels')
        wait_until(labels.get_subscription_count, 'the subscription of the labels')
        time.sleep(0.3)  # both sides must have found each other
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert not [p.topic_name for p in results if p.is_activated]
        Publisher.publish(labels, LabelTable(model_name='behind anything else'))
        wait_until(lambda: heard, 'the labels')
        assert [m.model_name for m in heard] == ['behind anything else']
    finally:
        node.close()
        context.try_shutdown()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly_at_work(start, graph, tmp_path, number):
    node = start(model_path=write_tiny_bundle(tmp_path / 'slow', cost=4))
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = camera_for(graph)
    wait_until(lambda: camera.publish(image_message(SMALL)) or heard, 'the first result')
    for _ in range(3):
        camera.publish(image_message(SMALL))
    assert node.stop(number) == 0
    assert 'Traceback' not in node.log and 'ERROR' not in node.log


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_in_every_state(start, graph, number):
    """Two seconds are the aim; a busy machine gets some more."""
    loading = start()
    time.sleep(0.5)
    idle = start('-r', '__node:=second', lazy='true')
    idle.wait_for('idle until somebody')
    for node in (loading, idle):
        begin = time.monotonic()
        assert node.stop(number) == 0
        assert time.monotonic() - begin < 20
        assert 'Traceback' not in node.log
