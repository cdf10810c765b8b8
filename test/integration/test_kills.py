# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed, stalled or ended at the worst moment: the rest goes on."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time

import pytest
from live_node import REPO, image_message, wait_until
from running_node import SMALL, bundle, graph, start  # noqa: F401
from tiny_bundle import write_tiny_bundle

sys.path.append(str(REPO / 'benchmarks'))
from soaking.sampling import remove_abandoned, shared_segments

pytestmark = pytest.mark.ros

PARAMETERS = {'cameras': '[front]', 'lazy': 'false'}

TIMING = '/perception/front/timing'


@pytest.fixture
def run(ros_domain, tmp_path):
    """Run a camera or a listener of the soak as a process that may be killed."""
    processes = []

    def run(program, *arguments):
        log = tmp_path / f'{program}_{len(processes)}.log'
        with log.open('wb') as output:
            command = [sys.executable, f'benchmarks/soaking/{program}.py', *arguments]
            process = subprocess.Popen(command, cwd=REPO, stdout=output, stderr=output)
        process.log = log
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def film(run, rate=20):
    return run('camera', 'front', '--rate', str(rate), '--broken', '0')


def listen(graph, topic=TIMING):
    from unidrive_msgs.msg import FrameTiming

    return graph.listen(FrameTiming, topic)


def wait_for_more(heard, count=5):
    target = len(heard) + count
    wait_until(lambda: len(heard) >= target, f'{count} more results')


def kill(process):
    mapped = shared_segments(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    remove_abandoned(mapped)


def stamps(heard):
    return [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in heard]


def test_a_camera_that_is_killed_is_missed_and_its_successor_heard(start, graph, run):
    node = start(no_image_warning_s=1)
    heard = listen(graph)
    camera = film(run)
    wait_for_more(heard)
    kill(camera)
    node.wait_for('on /front/image (sensor_msgs/msg/Image, best_effort); publishers: ')
    film(run)
    wait_for_more(heard)
    node.wait_for('images arrive on /front/image again')
    assert stamps(heard) == sorted(set(stamps(heard)))
    assert node.stop() == 0


def test_a_node_that_is_killed_at_work_has_a_successor(start, graph, run, tmp_path):
    from sensor_msgs.msg import Image

    node = start(model_path=write_tiny_bundle(tmp_path / 'slow', cost=20))
    heard = listen(graph)
    camera = graph.camera(Image, '/front/image')
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)  # both sides must have found each other
    camera.publish(image_message(SMALL, 1))
    node.wait_for('first image on /front/image')  # and is at work on it
    kill(node.process)
    assert not heard
    start()
    wait_until(lambda: camera.publish(image_message(SMALL, 2)) or heard, 'a result')
    assert {m.header.stamp.sec for m in heard} == {1002}
    first = heard[0]  # counted anew; one more may be waiting
    assert first.received - first.processed - first.dropped in (0, 1)


def test_a_listener_that_stalls_holds_nobody_up(start, graph, run):
    """It has a reliable subscription to some 9 MB of results for each image."""
    node = start(result_reliability='reliable')
    heard = listen(graph)
    film(run)
    wait_for_more(heard)
    topics = ('overlay', 'semantic_color', 'result', 'semantic_mask')
    listener = run('listener', '--cameras', 'front', '--topics', *topics)
    wait_until(lambda: 'listening' in listener.log.read_text(), 'the listener')
    wait_until(lambda: graph.node.count_subscribers('/perception/front/overlay'), 'the listener')
    time.sleep(0.5)  # both sides must have found each other
    before = len(heard)
    wait_for_more(heard, 20)
    os.kill(listener.pid, signal.SIGSTOP)
    stalled = len(heard)
    wait_for_more(heard, 40)
    ages = [timing.age_ms for timing in heard]
    usual, then = statistics.median(ages[before:stalled]), statistics.median(ages[stalled:])
    assert then <= 2 * usual + 100
    assert stamps(heard) == sorted(set(stamps(heard)))
    assert node.stop() == 0  # with the listener still stalled
    os.kill(listener.pid, signal.SIGCONT)
    assert 'Traceback' not in node.log


def test_a_listener_that_is_killed_leaves_the_others_alone(start, graph, run):
    node = start()
    heard = listen(graph)
    film(run)
    topics = ('overlay', 'result', 'timing')
    first, second = (run('listener', '--cameras', 'front', '--topics', *topics) for _ in range(2))
    for listener in (first, second):
        wait_until(lambda n=listener: 'listening' in n.log.read_text(), 'the listener')
    wait_for_more(heard)
    kill(first)
    wait_for_more(heard, 20)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0
    *said, counts = second.log.read_text().splitlines()
    assert said == ['listening', 'heard something', 'heard everything']  # no violation
    assert '"overlay": ' in counts
    assert node.stop() == 0
    assert 'Traceback' not in node.log


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_image_at_work_be_finished(start, graph, tmp_path, number):
    from sensor_msgs.msg import Image

    node = start(model_path=write_tiny_bundle(tmp_path / 'slow', cost=20))
    camera = graph.camera(Image, '/front/image')
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)  # both sides must have found each other
    for i in range(4):
        camera.publish(image_message(SMALL, i))
        node.wait_for('first image on /front/image')
    time.sleep(0.2)  # by now it is at work, which takes longer
    assert node.stop(number) == 0
    assert 'Traceback' not in node.log and 'ERROR' not in node.log
    ((received, ends),) = re.findall(r'(\d+) images received: (.*)', node.log)
    assert int(received) >= 1 and int(received) == sum(map(int, re.findall(r'\d+', ends)))
    assert int(re.search(r'(\d+) processed', ends)[1]) >= 1
