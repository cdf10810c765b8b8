# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""`unidrive doctor` beside live cameras that are right and wrong, and beside a running node."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from live_node import PATIENCE, REPO, Graph, NodeProcess, image_message
from tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.ros

DOCTOR = [sys.executable, '-m', 'unidrive_training.cli', 'doctor']
HOUR_NS = 3600 * 10**9


class Cameras:
    """Publishers that send at 20 Hz: a right one, one with old stamps, one of a wrong type."""

    def __init__(self) -> None:
        from sensor_msgs.msg import Image
        from std_msgs.msg import String

        self.graph = Graph()
        self._right = self.graph.camera(Image, '/right/image_raw')
        self._old = self.graph.camera(Image, '/old/image_raw', 'RELIABLE')
        self._wrong = self.graph.node.create_publisher(String, '/wrong/image_raw', 1)
        self._image = image_message(np.zeros((48, 64, 3), np.uint8))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.graph.close()

    def _send(self) -> None:
        while not self._ended.wait(0.05):
            self._publish(self._right, time.time_ns(), 'camera')
            self._publish(self._old, time.time_ns() - HOUR_NS, '')

    def _publish(self, publisher, stamp_ns: int, frame_id: str) -> None:
        stamp = self._image.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp_ns, 10**9)
        self._image.header.frame_id = frame_id
        publisher.publish(self._image)


@pytest.fixture
def cameras(ros_domain):
    cameras = Cameras()
    yield cameras
    cameras.close()


def findings(*args, expected: int) -> list[dict]:
    """What the doctor finds, as it tells machines."""
    done = subprocess.run(
        [*DOCTOR, '--json', *map(str, args)], cwd=REPO, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == expected, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report['ok'] is (expected == 0)
    return report['findings']


def of(findings: list[dict], check: str) -> dict[str, str]:
    """The text of the findings of one check, by level."""
    return {f['level']: f['found'] for f in findings if f['check'] == check}


def test_cameras_that_are_wrong_are_told_of(cameras, tmp_path):
    parameters = tmp_path / 'perception.yaml'
    parameters.write_text('/**:\n  ros__parameters: {image_reliability: reliable, max_age: 2.0}\n')
    topics = ('/right/image_raw', '/old/image_raw', '/wrong/image_raw', '/right/imag_raw')
    found = findings(
        *(word for topic in topics for word in ('--image-topic', topic)),
        *('--params-file', parameters),
        *('--model', write_tiny_bundle(tmp_path / 'tiny')),
        expected=1,
    )
    graph = [f for f in found if f['topic'] == 'Live graph']
    assert 'our node asks for reliable' in of(graph, '/right/image_raw')['FAIL']
    assert 'tester (reliable)' in of(graph, '/old/image_raw')['OK']
    assert 'std_msgs/msg/String' in of(graph, '/wrong/image_raw')['FAIL']
    nobody = of(graph, '/right/imag_raw')['FAIL']
    assert nobody.endswith('; topics with images: /right/image_raw, /old/image_raw')
    assert 'max_age' in of(graph, 'stamps')['FAIL']
    assert 'rising' in of(graph, 'stamps')['OK']
    assert 'empty' in of(graph, 'frame_id')['WARN']
    rates = [f['figures']['rate'] for f in graph if f['check'] == 'images']
    assert len(rates) == 2 and all(5 < rate < 25 for rate in rates)
    trips = [f['figures'] for f in found if f['check'] == 'round trip']
    assert [(t['bytes'], t['sent'], t['received']) for t in trips] == [(48 * 64 * 3, 20, 20)] * 2
    assert all(t['median_ms'] <= t['p99_ms'] for t in trips)
    assert all(f['remedy'] for f in found if f['level'] in ('WARN', 'FAIL'))


def test_a_running_node_and_its_camera_are_found(ros_domain, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    node = NodeProcess(
        tmp_path, '-r', 'image:=/right/image_raw', model_path=model, lazy=False, autostart=True
    )
    cameras = Cameras()
    try:
        node.wait_for('first image on')
        found = findings('--model', model, '--size', '32x24', expected=0)
    finally:
        cameras.close()
        node.stop()
    graph = {f['check']: f for f in found if f['topic'] == 'Live graph'}
    assert '/perception' in graph['nodes']['found']
    assert '/right/image_raw' in graph and '/old/image_raw' not in graph
    assert graph['perception']['level'] == 'OK'
    live, asked = 48 * 64 * 3, 24 * 32 * 3
    trips = [f['figures']['bytes'] for f in found if f['check'] == 'round trip']
    assert trips == [asked, asked, live, live]
    speed = next(f['figures'] for f in found if f['check'] == 'speed')
    assert speed['wanted_rate'] == pytest.approx(graph['images']['figures']['rate'])


def test_a_node_that_appears_late_is_looked_at(cameras):
    """While none is seen discovery goes on, and what comes during the second look counts too."""
    import rclpy
    from sensor_msgs.msg import Image

    from unidrive_msgs.msg import LabelTable
    from unidrive_perception.doctor import graph_trial_node

    rclpy.init()
    watcher = graph_trial_node.Watcher('best_effort', [])
    try:
        views = watcher.watch(2.0)
        first = next(views)
        assert first.perception == {} and first.looked_s >= graph_trial_node.PATIENCE_S
        assert set(first.cameras) == {'/old/image_raw', '/right/image_raw'}
        late = rclpy.create_node('late')
        late.create_publisher(LabelTable, '/late/labels', 1)
        late.create_subscription(Image, '/nobody/image', print, 1)
        second = next(views)
        late.destroy_node()
    finally:
        watcher.close()
        rclpy.shutdown()
    assert second.perception == {'/late': ['/nobody/image']}
    assert second.cameras['/nobody/image'] == [] and '/nobody/image' in second.unwatched


def test_what_an_idle_node_will_listen_to_is_looked_at(cameras, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    node = NodeProcess(tmp_path, '-r', 'image:=/right/image_row', model_path=model)
    try:
        node.wait_for('idle until somebody subscribes')
        found = findings('--model', model, expected=1)
    finally:
        node.stop()
    graph = [f for f in found if f['topic'] == 'Live graph']
    (nobody,) = (f for f in graph if f['check'] == '/right/image_row')
    assert nobody['level'] == 'FAIL' and nobody['remedy'].endswith('-r image:=/right/image_raw')
    assert not of(graph, '/right/image_raw')


def test_a_quick_look_does_not_fail_for_what_it_did_not_see(cameras, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    found = findings(*('--quick', '--model', model, '--image-topic', 'right/imag_raw'), expected=0)
    graph = [f for f in found if f['topic'] == 'Live graph']
    assert set(of(graph, '/right/imag_raw')) == {'WARN'}
    assert of(graph, '/right/imag_raw')['WARN'].startswith(('not seen in ', 'not looked at'))


def test_results_of_a_node_are_no_cameras(cameras, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    node = NodeProcess(
        tmp_path, '-r', 'image:=/right/image_raw', model_path=model, lazy=False, autostart=True
    )
    try:
        node.wait_for('first image on')
        found = findings(
            *('--model', model, '--size', '32x24'),
            *('--image-topic', '/perception/overlai', '--image-topic', '/perception/overlay'),
            expected=1,
        )
    finally:
        node.stop()
    graph = [f for f in found if f['topic'] == 'Live graph']
    cameras_only = '; topics with images: /old/image_raw, /right/image_raw'
    assert of(graph, '/perception/overlai')['FAIL'].endswith(cameras_only)
    assert of(graph, '/perception/overlay')['FAIL'].startswith('it is a result of /perception')


def test_ctrl_c_ends_it_and_all_it_started(ros_domain):
    process = subprocess.Popen(
        DOCTOR, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith('Python')
    children = children_of(process.pid)
    assert children
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.strip() == 'unidrive: interrupted'
    assert not [child for child in children if os.path.exists(f'/proc/{child}')]


def children_of(pid: int) -> list[int]:
    with open(f'/proc/{pid}/task/{pid}/children') as listed:
        return [int(child) for child in listed.read().split()]
