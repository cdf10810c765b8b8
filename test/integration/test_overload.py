# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Ten times as many images as the node can work on: each is accounted for, none is late in line.

How long a result takes under overload is measured by ``benchmarks/overload.py``.
"""

import re
import statistics
import time

import pytest
from live_node import Graph, NodeProcess, image_message, wait_until
from tiny_bundle import street, write_tiny_bundle

pytestmark = pytest.mark.ros

SMALL = street(96, 160)
ENDS = ('processed', 'dropped', 'late', 'limited', 'bad', 'failed')
OVERLOAD = 10
RESULTS = 20  # of all cameras together


@pytest.fixture(scope='module')
def slow(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('slow') / 'slow', cost=3)


class Rig:
    """Cameras that send as fast as they can, and what is heard of a node."""

    def __init__(self, graph, cameras):
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import Image

        from unidrive_msgs.msg import DetectionArray, FrameTiming

        def listen(kind, camera, topic):
            qos = {'depth': 1000}
            return graph.listen(kind, f'/perception/{camera}/{topic}', **qos)

        self.timings = {camera: listen(FrameTiming, camera, 'timing') for camera in cameras}
        self.results = {camera: listen(DetectionArray, camera, 'detections') for camera in cameras}
        self.diagnostics = graph.listen(DiagnosticArray, '/diagnostics')
        # reliable: the last image of all must not be lost
        self.publishers = {
            camera: graph.camera(Image, f'/{camera}/image', reliability='RELIABLE')
            for camera in cameras
        }
        self.last_sent = {}
        self.sent = 0

    def send(self, camera, **wrong):
        message = image_message(SMALL, frame_id=camera, **wrong)
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
        self.publishers[camera].publish(message)
        self.last_sent[camera] = message.header
        self.sent += 1

    def processed(self):
        return sum(len(heard) for heard in self.timings.values())

    def ends(self, camera):
        """What became of the images of a camera, as the newest diagnostics have it."""
        for status in self.diagnostics[-1].status:
            if status.name == f'/perception: /{camera}/image':
                values = {v.key.partition(' (')[0]: v.value for v in status.values}
                values['limited'] = values['passed over']
                return {name: int(values[name]) for name in ('received', *ENDS)}


@pytest.mark.parametrize(('count', 'max_batch'), [(1, 1), (3, 1), (3, 3)])
def test_every_image_of_an_overload_is_accounted_for(ros_domain, slow, tmp_path, count, max_batch):
    cameras = ['front', 'left', 'rear'][:count]
    graph = Graph(ros_domain)
    names = ', '.join(cameras)
    node = NodeProcess(
        tmp_path,
        **{'model_path': slow, 'cameras': f'[{names}]', 'max_batch': max_batch, 'threads': 1},
        **{'image_reliability': 'reliable', 'result_reliability': 'reliable'},
    )
    try:
        rig = Rig(graph, cameras)
        for publisher in rig.publishers.values():
            wait_until(publisher.get_subscription_count, 'the subscription')
        time.sleep(0.3)  # both sides must have found each other
        flood(rig)
        wait_until(lambda: drained(rig), 'the newest image of each camera')
        for camera in cameras:
            check_counts(rig, camera)
            check_order(rig, camera)
            check_latency(rig, camera)
        last = [heard[-1] for heard in rig.timings.values()]
        turns = [timing.processed + timing.bad for timing in last]  # a broken image takes one too
        assert min(turns) >= 0.75 * max(turns)
    finally:
        assert node.stop() == 0
        graph.close()
    logged = re.findall(r'image: (\d+) images received: (.*)', node.log)
    assert len(logged) == count
    for received, ends in logged:
        assert int(received) == sum(map(int, re.findall(r'\d+', ends)))


def flood(rig):
    """Ten images and more for each that is worked on; one in eleven is broken."""
    for camera in rig.publishers:
        rig.send(camera, encoding='hsv32')
    wait_until(
        lambda: rig.diagnostics and all((rig.ends(c) or {}).get('bad') for c in rig.publishers),
        'the broken images',
    )
    end = time.monotonic() + 60
    while rig.processed() < RESULTS or rig.sent < OVERLOAD * rig.processed():
        assert time.monotonic() < end, f'{rig.sent} sent, {rig.processed()} processed'
        for camera in rig.publishers:
            rig.send(camera, **({'encoding': 'hsv32'} if rig.sent % 11 == 5 else {}))
        time.sleep(0.002)
    for camera in rig.publishers:
        rig.send(camera)


def drained(rig):
    """Whether the last image of each camera was worked on, and diagnostics know of it."""
    if not all(heard and heard[-1].header == rig.last_sent[c] for c, heard in rig.timings.items()):
        return False
    return all(rig.ends(c)['processed'] == len(heard) for c, heard in rig.timings.items())


def check_counts(rig, camera):
    last = rig.timings[camera][-1]
    counts = {name: getattr(last, name) for name in ENDS}
    assert last.received == sum(counts.values())
    assert rig.ends(camera) == {'received': last.received, **counts}
    assert counts['processed'] == len(rig.timings[camera]) == len(rig.results[camera])
    assert counts['dropped'] > counts['processed'] and counts['bad']
    assert counts['late'] == counts['limited'] == counts['failed'] == 0


def check_order(rig, camera):
    """Every result once, of this camera, and never an older image after a newer one."""
    for heard in (rig.timings[camera], rig.results[camera]):
        assert {m.header.frame_id for m in heard} == {camera}
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in heard]
        assert stamps == sorted(set(stamps))


def check_latency(rig, camera):
    """Nothing queues: the last of 20 in a queue, at ten times the capacity, is 18 works old."""
    timings = rig.timings[camera]
    work_ms = statistics.median(t.decode_ms + t.inference_ms + t.publish_ms for t in timings)
    last = statistics.median(t.age_ms for t in timings[-max(1, len(timings) // 4) :])
    assert last <= 6 * work_ms + 200  # the wait for those of two other cameras, and own work
