# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How the node behaves: overload, silence, parameters, failures, time and memory."""

import re
import time
from pathlib import Path

import pytest
import yaml
from live_node import image_message, number_of, wait_until
from running_node import SMALL, answer, bundle, camera_for, graph, listen, set_parameter, start  # noqa: F401
from tiny_bundle import RED, street, write_tiny_bundle

pytestmark = pytest.mark.ros

PARAMETERS = {'lazy': 'false'}
HEAP = 64 << 20


def test_overload_drops_old_images_and_counts_them(start, graph, tmp_path):
    node = start(model_path=write_tiny_bundle(tmp_path / 'slow', cost=4))
    heard = listen(graph, 'timing', 'FrameTiming')
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
    heard = listen(graph, 'timing', 'FrameTiming')
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


def test_simulated_time(start, graph):
    from rosgraph_msgs.msg import Clock

    start(use_sim_time='true')
    heard = listen(graph, 'timing', 'FrameTiming')
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
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = camera_for(graph)

    def process(first, last):
        for number in range(first, last):
            camera.publish(image_message(SMALL if number % 2 else street(120, 200), number))
            wait_until(lambda number=number: heard and number_of(heard[-1]) == number, 'a result')

    process(0, 100)
    before = node.resident_mb()
    process(100, 500)
    assert node.resident_mb() < before + 8  # one leaked mask per image: 12 MB


@pytest.mark.parametrize('chosen', [None, '4'])
def test_one_heap(start, graph, monkeypatch, chosen):
    """glibc makes others of 64 MB each, and does not give back what is free at their end."""
    monkeypatch.delenv('MALLOC_ARENA_MAX', raising=False)
    if chosen:
        monkeypatch.setenv('MALLOC_ARENA_MAX', chosen)
    node = start()
    heard = listen(graph, 'timing', 'FrameTiming')
    answer(camera_for(graph), heard, 1)
    maps = Path(f'/proc/{node.process.pid}/maps').read_text()
    sides = r'^([0-9a-f]+)-([0-9a-f]+) rw-p 00000000 00:00 0 *\n\2-([0-9a-f]+) ---p 00000000'
    places = [[int(side, 16) for side in found] for found in re.findall(sides, maps, re.M)]
    others = [begin for begin, _, end in places if end - begin == HEAP and begin % HEAP == 0]
    assert '[heap]' in maps and bool(others) == bool(chosen)
