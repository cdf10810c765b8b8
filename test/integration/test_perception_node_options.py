# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a user can choose: cameras, lazy work, limits, more outputs."""

import time

import numpy as np
import pytest
from live_node import image_message, number_of, wait_until
from running_node import SMALL, answer, bundle, camera_for, graph, listen, set_parameter, start  # noqa: F401
from tiny_bundle import RED, street

pytestmark = pytest.mark.ros


def diagnostics(graph):
    from diagnostic_msgs.msg import DiagnosticArray

    return graph.listen(DiagnosticArray, '/diagnostics')


def status_of(heard, subject):
    """The newest status of a subject as (level, message, values)."""
    found = [s for m in heard for s in m.status if s.name == f'/perception: {subject}']
    if not found:
        return None
    return found[-1].level[0], found[-1].message, {v.key: v.value for v in found[-1].values}


def test_each_camera_has_its_own_topics_and_calibration(start, graph):
    from sensor_msgs.msg import CameraInfo

    start(cameras='[front, left]', **{'left.image_topic': '/rig/left/image_raw'}, max_batch=2)
    heard = {name: listen(graph, f'{name}/result') for name in ('front', 'left')}
    timings = listen(graph, 'front/timing', 'FrameTiming')
    infos = listen(graph, 'left/camera_info', 'CameraInfo')
    topics = {'front': '/front/image', 'left': '/rig/left/image_raw'}
    cameras = {name: camera_for(graph, topic) for name, topic in topics.items()}
    calibration = graph.node.create_publisher(CameraInfo, '/rig/left/camera_info', 1)
    wait_until(calibration.get_subscription_count, 'the subscription of the calibration')
    time.sleep(0.3)
    calibration.publish(CameraInfo(height=96, width=160, k=[float(i) for i in range(9)]))
    time.sleep(0.2)
    for number in range(1, 4):
        for name, camera in cameras.items():
            rgb = SMALL if name == 'front' else street(120, 200)
            camera.publish(image_message(rgb, number, frame_id=f'{name}_optical'))
        for results in heard.values():
            wait_until(lambda n=number, r=results: r and number_of(r[-1]) == n, 'both results')
    for name, size in (('front', (96, 160)), ('left', (120, 200))):
        assert {m.header.frame_id for m in heard[name]} == {f'{name}_optical'}
        assert [number_of(m) for m in heard[name]] == [1, 2, 3]
        mask = heard[name][-1].semantic_mask
        assert (mask.height, mask.width) == size
    wait_until(lambda: timings, 'a timing')
    assert max(t.batch_size for t in timings) <= 2
    # it is published last
    info = wait_until(lambda: number_of(infos[-1]) == 3 and infos[-1], 'the last calibration')
    assert (info.header, list(info.k)) == (heard['left'][-1].header, list(range(9)))


def test_a_best_effort_calibration_is_heard_beside_reliable_images(start, graph):
    from sensor_msgs.msg import CameraInfo, Image

    start(image_reliability='reliable')
    infos = listen(graph, 'camera_info', 'CameraInfo')
    camera = graph.camera(Image, '/image', 'RELIABLE')
    calibration = graph.camera(CameraInfo, '/camera_info', 'BEST_EFFORT')
    for publisher in (camera, calibration):
        wait_until(publisher.get_subscription_count, f'a subscription of {publisher.topic_name}')

    def came():
        calibration.publish(CameraInfo(height=96, width=160, k=[2.0] * 9))
        camera.publish(image_message(SMALL, 1))
        time.sleep(0.1)
        return infos

    wait_until(came, 'the calibration with the results')
    assert list(infos[-1].k) == [2.0] * 9


def test_lazy_work_begins_and_ends_with_the_listener(start, graph):
    node = start()
    node.wait_for('ready for /image; idle until somebody subscribes')
    assert graph.node.count_subscribers('/image') == 0
    heard = listen(graph, 'detections', 'DetectionArray')
    camera = camera_for(graph)
    assert len(answer(camera, heard, 1).detections) == 2
    graph.node.destroy_subscription(next(s for s in graph.node.subscriptions if s.topic_name == (
        '/perception/detections'
    )))  # fmt: skip
    wait_until(lambda: not camera.get_subscription_count(), 'the end of the subscription')
    health = diagnostics(graph)
    wait_until(lambda: (status_of(health, '/image') or [9])[0] == 0, 'an OK status')
    assert status_of(health, '/image')[1] == 'idle: nobody listens to its results'
    assert set_parameter(graph, 'lazy', False).successful
    wait_until(camera.get_subscription_count, 'the subscription')


def test_enable_pauses_and_goes_on(start, graph):
    from std_srvs.srv import SetBool

    start(lazy='false')
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    answer(camera, heard, 1)
    reply = graph.call(SetBool, '/perception/enable', SetBool.Request(data=False))
    assert reply.success and reply.message == 'the node is disabled by ~/enable'
    wait_until(lambda: not camera.get_subscription_count(), 'the end of the subscription')
    reply = graph.call(SetBool, '/perception/enable', SetBool.Request(data=True))
    assert reply.message == 'listening to /image'
    wait_until(camera.get_subscription_count, 'the subscription')
    answer(camera, heard, 2)


def test_rate_limit_counts_what_it_passes_over(start, graph):
    start(max_rate=5)
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = camera_for(graph)
    for number in range(40):
        camera.publish(image_message(SMALL, number))
        time.sleep(0.05)
    last = wait_until(lambda: heard and heard[-1], 'timings')
    assert last.limited > last.processed > 2
    assert last.received == last.processed + last.limited + last.dropped
    assert set_parameter(graph, 'max_rate', 0).successful  # an int for a double
    answer(camera, heard, 100)
    limited = answer(camera, heard, 101).limited
    assert answer(camera, heard, 102).limited == limited


def test_images_that_are_too_old_are_skipped(start, graph):
    from rosgraph_msgs.msg import Clock

    start(max_age=0.5, use_sim_time='true')
    heard = listen(graph, 'timing', 'FrameTiming')
    camera = camera_for(graph)
    clock = graph.node.create_publisher(Clock, '/clock', 1)
    wait_until(clock.get_subscription_count, 'the subscription of /clock')
    time.sleep(0.3)
    now = Clock()
    now.clock.sec = 1010
    clock.publish(now)
    time.sleep(0.3)
    for number in (1, 2, 3):
        camera.publish(image_message(SMALL, number))  # seven seconds old
        time.sleep(0.1)
    timing = answer(camera, heard, 10)
    assert timing.late == 3
    assert [number_of(m) for m in heard if number_of(m) < 10] == []


def test_tasks_and_tracking_change_at_run_time(start, graph):
    start()
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    first = answer(camera, heard, 1)
    assert [d.track_id for d in first.detections.detections] == [0, 0]
    assert set_parameter(graph, 'tracking', True).successful
    for number in range(2, 6):
        followed = answer(camera, heard, number)
    ids = [d.track_id for d in followed.detections.detections]
    assert sorted(ids) == [1, 2]
    assert [d.track_id for d in answer(camera, heard, 6).detections.detections] == ids
    # a bag that begins anew: other objects, even where they look alike
    for number in (1, 2, 3):
        heard.clear()
        again = answer(camera, heard, number)
    assert not {d.track_id for d in again.detections.detections} & set(ids)
    assert set_parameter(graph, 'tasks', ['drivable']).successful
    less = answer(camera, heard, 7)
    assert (len(less.detections.detections), less.semantic_mask.height) == (0, 0)
    assert less.drivable_mask.height == 96


def test_masks_as_images_polygons_and_grid(start, graph):
    start(grid_rows=4, grid_columns=5)
    kinds = {
        'semantic_image': 'Image',
        'drivable_color': 'Image',
        'drivable_area': 'DrivableArea',
        'drivable_grid': 'DrivableGrid',
        'overlay/compressed': 'CompressedImage',
        'result': 'PerceptionResult',
    }
    heard = {topic: listen(graph, topic, kind) for topic, kind in kinds.items()}
    camera = camera_for(graph)
    result = answer(camera, heard['result'], 1)
    for topic, messages in heard.items():
        wait_until(lambda m=messages: m, topic)
        assert messages[0].header == result.header
    image = heard['semantic_image'][0]
    assert (image.encoding, image.data) == ('mono8', result.semantic_mask.data)
    mask = np.frombuffer(result.drivable_mask.data, np.uint8).reshape(96, 160)
    grid = heard['drivable_grid'][0]
    assert (grid.rows, grid.columns) == (4, 5)
    share = np.frombuffer(grid.layers[0].data, np.uint8).reshape(4, 5)
    cells = (mask == 0).reshape(4, 24, 5, 32).mean((1, 3)) * 100
    np.testing.assert_allclose(share, cells, atol=0.51)
    bright = [p for p in heard['drivable_area'][0].polygons if p.class_name == 'bright']
    assert bright and max(point.y for point in bright[0].outline.points) == 96


def test_diagnostics_tell_of_model_memory_and_latency(start, graph):
    start()
    health = diagnostics(graph)
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    for number in range(5):
        answer(camera, heard, number)

    def measured():
        status = status_of(health, '/image')
        return status and status[2]['latency p99 [ms]'] != 'nan'

    wait_until(measured, 'latencies')
    level, message, values = status_of(health, 'node')
    assert (level, message) == (0, 'listening to /image')
    assert (values['model'], values['device']) == ('tiny', 'cpu')
    assert len(values['model sha256']) == 64
    assert 10 < float(values['heap in use [MB]']) < float(values['memory [MB]'])
    assert int(values['Python blocks']) > 100_000


def test_a_red_picture_is_found_red(start, graph):
    """The whole way once more with lazy work and a camera of another size at each image."""
    start()
    heard = listen(graph, 'result')
    camera = camera_for(graph)
    for number, (height, width) in enumerate(((96, 160), (240, 320), (61, 43))):
        rgb = np.full((height, width, 3), RED, np.uint8)
        result = answer(camera, heard, number, rgb)
        assert [d.class_name for d in result.detections.detections] == ['red']
        box = result.detections.detections[0].box
        edges = (box.x_min, box.y_min, box.x_max, box.y_max)
        np.testing.assert_allclose(edges, (0, 0, width, height), atol=1.5)


@pytest.mark.parametrize('topic', ['image.subscription', 'perception/labels.publisher'])
def test_a_misspelt_qos_override_is_told_at_the_start(start, topic):
    node = start('-p', f'qos_overrides./{topic}.reliability:=besteffort')
    assert node.exit_code() == 1
    assert f'the parameters qos_overrides./{topic}.* do not fit' in node.log
    assert 'reliable or best_effort' in node.log and 'Traceback' not in node.log


def test_a_disabled_camera_is_stale(start, graph):
    from std_srvs.srv import SetBool

    start(lazy='false')
    health = diagnostics(graph)
    wait_until(lambda: status_of(health, '/image'), 'a status')
    graph.call(SetBool, '/perception/enable', SetBool.Request(data=False))
    wait_until(lambda: status_of(health, '/image')[0] == 3, 'a STALE status')
    assert status_of(health, '/image')[1] == 'the node is disabled by ~/enable'
