# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How the node behaves: overload, silence, parameters, transitions, failures and its end."""

import os
import shutil
import signal
import time

import pytest
import yaml
from live_node import Graph, NodeProcess, image_message, number_of, wait_until
from tiny_bundle import RED, street, write_tiny_bundle

pytestmark = pytest.mark.ros

SMALL = street(96, 160)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


@pytest.fixture
def start(ros_domain, bundle, tmp_path):
    """Start nodes that end with the test."""
    nodes = []

    def start(*ros_args, **parameters):
        given = {'model_path': bundle, 'lazy': 'false', **parameters}
        nodes.append(NodeProcess(tmp_path, *ros_args, **given))
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
    from sensor_msgs.msg import Image

    camera = graph.camera(Image, topic, **options)
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)  # both sides must have found each other
    return camera


def timings(graph):
    from unidrive_msgs.msg import FrameTiming

    heard = graph.listen(FrameTiming, '/perception/timing')
    wait_until(lambda: graph.node.count_publishers('/perception/timing'), 'the timing topic')
    return heard


def test_overload_drops_old_images_and_counts_them(start, graph, tmp_path):
    node = start(model_path=write_tiny_bundle(tmp_path / 'slow', cost=4))
    heard = timings(graph)
    camera = camera_for(graph)
    sent = 40
    for number in range(sent):
        camera.publish(image_message(SMALL, number))
        time.sleep(0.005)
    wait_until(lambda: heard and number_of(heard[-1]) == sent - 1, 'the newest image')
    last = heard[-1]
    assert last.received == last.processed + last.dropped
    assert last.dropped > 10 and last.bad == last.failed == 0
    assert [m.processed for m in heard] == list(range(1, len(heard) + 1))
    numbers = [number_of(m) for m in heard]
    assert numbers == sorted(numbers)  # never an old image after a newer one
    assert node.process.poll() is None


def test_cameras_share_the_node_fairly(start, graph, tmp_path):
    from unidrive_msgs.msg import DetectionArray

    slow = write_tiny_bundle(tmp_path / 'slow', cost=2)
    start(model_path=slow, cameras='[left, right]', threads=1)
    results = {
        name: graph.listen(DetectionArray, f'/perception/{name}/detections')
        for name in ('left', 'right')
    }
    cameras = {name: camera_for(graph, f'/{name}/image') for name in results}
    for number in range(60):  # left is four times as fast
        cameras['left'].publish(image_message(SMALL, number, frame_id='left'))
        if number % 4 == 0:
            cameras['right'].publish(image_message(SMALL, number, frame_id='right'))
        time.sleep(0.01)
    for name, heard in results.items():
        wait_until(lambda heard=heard: len(heard) >= 3, f'{name} results')
        assert {m.header.frame_id for m in heard} == {name}


def test_incompatible_reliability_is_told(start, graph):
    node = start(image_reliability='reliable')
    node.wait_for('waiting for sensor_msgs/msg/Image on /image (reliable)')
    from sensor_msgs.msg import Image

    graph.camera(Image, '/image', reliability='BEST_EFFORT')
    node.wait_for('/tester (best_effort), while this node asks for reliable')
    assert 'start the node with the parameter image_reliability:=best_effort' in node.log


def test_qos_can_be_overridden(start, graph):
    node = start('-p', 'qos_overrides./image.subscription.reliability:=reliable')
    node.wait_for('on /image (reliable)')


def test_silence_is_told_with_its_cause(start, graph):
    from sensor_msgs.msg import CompressedImage

    camera = graph.camera(CompressedImage, '/image/compressed')
    node = start(no_image_warning_s=2)  # by then the node has seen the graph
    remedy = 'start the node with the parameter image_transport:=compressed'
    node.wait_for(f'/image/compressed exists; {remedy}')
    assert 'no image received for' in node.log and 'publishers: none' in node.log
    graph.node.destroy_publisher(camera)
    camera = camera_for(graph)
    camera.publish(image_message(SMALL))
    node.wait_for("first image on /image: frame_id 'camera'")
    node.wait_for('images arrive on /image again')


def set_parameter(graph, name, value):
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return graph.call(SetParameters, '/perception/set_parameters', request).results[0]


def test_parameters_at_run_time(start, graph):
    from rcl_interfaces.srv import DescribeParameters

    from unidrive_msgs.msg import PerceptionResult

    node = start('-p', 'score_treshold:=0.3')
    results = graph.listen(PerceptionResult, '/perception/result')
    camera = camera_for(graph)
    node.wait_for('unknown parameter score_treshold; did you mean score_threshold?')

    def classes(number):
        camera.publish(image_message(SMALL, number))
        wait_until(lambda: results and number_of(results[-1]) == number, f'image {number}')
        assert results[-1].semantic_mask.image_height == 96
        return [d.class_name for d in results[-1].detections.detections]

    assert classes(1) == ['red', 'blue']
    assert set_parameter(graph, 'score_threshold', 0.1).successful
    assert classes(2) == ['red', 'blue', 'green']
    assert set_parameter(graph, 'score_threshold', 1).successful  # an int for a double
    assert classes(3) == []
    assert set_parameter(graph, 'score_threshold', -1).successful
    assert classes(4) == ['red', 'blue']
    assert results[-1].semantic_mask.width == 160
    assert set_parameter(graph, 'mask_downscale', 2).successful
    classes(5)
    assert (results[-1].semantic_mask.height, results[-1].drivable_mask.width) == (48, 80)

    for name, value, reason in (
        ('score_threshold', 1.5, 'out of range'),
        ('score_threshold', -0.5, "from 0 to 1, or -1 for the model's own, not -0.5"),
        ('score_threshold', 2, "must be from 0 to 1, or -1 for the model's own, not 2"),
        ('score_threshold', 'high', 'must be a number'),
        ('mask_downscale', 0, 'out of range'),
        ('model_path', '/nowhere', 'no such model bundle folder'),
        ('threads', 2, 'read-only'),
        ('tasks', ['lanes'], 'one or more of detection, semantic, drivable'),
        ('overlay_masks', 'all', 'one of both, semantic, drivable, none'),
        ('max_rate', -1.0, 'out of range'),
        ('device', 'cuda', 'read-only'),
    ):
        result = set_parameter(graph, name, value)
        assert not result.successful and reason in result.reason, name
    assert classes(6) == ['red', 'blue']

    request = DescribeParameters.Request(names=['score_threshold', 'threads', 'device'])
    answer = graph.call(DescribeParameters, '/perception/describe_parameters', request)
    score, threads, device = answer.descriptors
    assert (score.floating_point_range[0].from_value, score.read_only) == (-1.0, False)
    assert (threads.integer_range[0].to_value, threads.read_only) == (256, True)
    assert 'One of: auto, cpu, cuda, ' in device.description


def test_the_parameter_file_starts_the_node(start, graph, repo_root):
    params = repo_root / 'config' / 'perception.param.yaml'
    node = start('--params-file', str(params), score_threshold=1, no_image_warning_s=2)
    node.wait_for('waiting for sensor_msgs/msg/Image on /image (best_effort)')
    assert node.log.count('raw images') == 1  # which codec, and why


def change_state(graph, label):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    request = ChangeState.Request(transition=Transition(label=label))
    return graph.call(ChangeState, '/perception/change_state', request).success


def test_transitions(start, graph):
    node = start(autostart='false')
    assert change_state(graph, 'configure')
    assert graph.node.count_subscribers('/image') == 0
    assert change_state(graph, 'activate')
    heard = timings(graph)
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


def test_an_exception_of_ours_costs_one_image(start, graph, tmp_path):
    """A program that names a class which its manifest lacks."""
    from diagnostic_msgs.msg import DiagnosticArray

    folder = write_tiny_bundle(tmp_path / 'wrong')
    manifest = folder / 'manifest.yaml'
    content = yaml.safe_load(manifest.read_text())
    content['tasks']['detection']['classes'] = content['tasks']['detection']['classes'][:1]
    del content['program']['labels_sha256']  # as bundles of the first UniDrive
    manifest.write_text(yaml.safe_dump(content))
    node = start(model_path=folder)
    heard = timings(graph)
    diagnostics = graph.listen(DiagnosticArray, '/diagnostics')
    camera = camera_for(graph)
    camera.publish(image_message(SMALL, 1))
    node.wait_for('gave class id 2, the manifest has 1 detection classes')
    assert 'Traceback' not in node.log  # the sentence says it all
    only_red = SMALL.copy()
    only_red[:, 90:] = RED
    camera.publish(image_message(only_red, 2))
    (timing,) = wait_until(lambda: [m for m in heard if number_of(m) == 2], 'the image after it')
    assert (timing.received, timing.processed, timing.failed) == (2, 1, 1)
    wait_until(
        lambda: [s for m in diagnostics for s in m.status if s.level == b'\x02'], 'an ERROR status'
    )


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
    heard = timings(graph)
    camera = camera_for(graph)
    wait_until(lambda: camera.publish(image_message(SMALL)) or heard, 'the first result')
    for _ in range(3):
        camera.publish(image_message(SMALL))
    assert node.stop(number) == 0
    assert 'Traceback' not in node.log and 'ERROR' not in node.log


def test_simulated_time(start, graph):
    from rosgraph_msgs.msg import Clock

    start(use_sim_time='true')
    heard = timings(graph)
    camera = camera_for(graph)
    camera.publish(image_message(SMALL, 1))
    wait_until(lambda: heard, 'a result without a clock')
    assert heard[0].age_ms != heard[0].age_ms  # NaN: the clock has not begun
    clock = graph.node.create_publisher(Clock, '/clock', 1)
    wait_until(clock.get_subscription_count, 'the subscription of /clock')
    time.sleep(0.3)
    now = Clock()
    now.clock.sec, now.clock.nanosec = 1002, 373_456_789  # a quarter second after image 2

    def aged():
        clock.publish(now)
        camera.publish(image_message(SMALL, 2))
        return number_of(heard[-1]) == 2 and heard[-1].age_ms == heard[-1].age_ms

    wait_until(aged, 'an age')
    assert heard[-1].age_ms == pytest.approx(250, abs=1e-3)


def test_memory_stays_flat(start, graph):
    node = start()
    heard = timings(graph)
    camera = camera_for(graph)

    def process(first, last):
        for number in range(first, last):
            camera.publish(image_message(SMALL if number % 2 else street(120, 200), number))
            wait_until(lambda number=number: heard and number_of(heard[-1]) == number, 'a result')

    process(0, 100)
    before = node.resident_mb()
    process(100, 500)
    assert node.resident_mb() < before + 8  # one leaked mask per image: 12 MB
