# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The bag recorder over real DDS: what was published is in the bag, and the bag is whole."""

from __future__ import annotations

import signal
import time

import pytest
from live_graph import Executable, Graph
from sample_bags import PERIOD_NS, START_NS, TOPIC, write_image_bag

from unidrive_perception.bags.reader import open_bag

pytestmark = pytest.mark.ros


@pytest.fixture
def graph(ros_domain):
    with Graph() as graph:
        yield graph


def listening(graph, *publishers):
    return graph.spin_until(lambda: all(p.get_subscription_count() for p in publishers))


def contents(path):
    with open_bag(path) as bag:
        found = [(m.topic, bag.deserialize(m), m.stamp_ns) for m in bag.messages()]
        assert bag.damage is None
        return found, bag.topics


@pytest.mark.parametrize(
    ('signum', 'storage'), [(signal.SIGINT, 'mcap'), (signal.SIGTERM, 'sqlite3')]
)
def test_topics_namespace_and_latched(tmp_path, graph, signum, storage):
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
    from std_msgs.msg import String

    from unidrive_msgs.msg import ClassInfo

    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    labels = graph.node.create_publisher(ClassInfo, '/perception/labels', latched)
    lossy = graph.node.create_publisher(String, '/perception/deep/notes', qos_profile_sensor_data)
    chosen = graph.node.create_publisher(String, '/chosen', 10)
    others = graph.node.create_publisher(String, '/perception_of_others', 10)
    labels.publish(ClassInfo(id=2, name='car', red=7))
    before = time.time_ns()
    args = ('--topics', '/chosen', '/gone', '--namespace', '/perception', '--storage', storage)
    with Executable('bag_recorder', tmp_path / 'bag', *args) as recorder:
        assert listening(graph, labels, lossy, chosen)
        graph.spin_for(0.5)
        for i in range(20):
            chosen.publish(String(data=f'chosen {i}'))
            lossy.publish(String(data=f'lossy {i}'))
            others.publish(String(data='not wanted'))
            graph.spin_for(0.01)
        graph.spin_for(0.5)
        assert not (tmp_path / 'bag').exists()  # it has its name when it is complete
        assert recorder.interrupt(signum) == 0, recorder.output
    assert [path.name for path in tmp_path.iterdir()] == ['bag']
    found, topics = contents(tmp_path / 'bag')
    by_topic = {}
    for topic, message, stamp_ns in found:
        by_topic.setdefault(topic, []).append(message)
        assert before < stamp_ns < time.time_ns()
    assert set(by_topic) == {'/chosen', '/perception/deep/notes', '/perception/labels'}
    assert [m.data for m in by_topic['/chosen']] == [f'chosen {i}' for i in range(20)]
    assert [m.data for m in by_topic['/perception/deep/notes']] == [
        f'lossy {i}' for i in range(20)
    ]
    assert [(m.id, m.name, m.red) for m in by_topic['/perception/labels']] == [(2, 'car', 7)]
    assert topics['/perception/labels'].qos[0].durability.name == 'TRANSIENT_LOCAL'
    assert topics['/perception/deep/notes'].qos[0].reliability.name == 'BEST_EFFORT'
    assert 'bag_recorder: 20 messages of /chosen' in recorder.output
    assert 'warning: nobody published /gone' in recorder.output
    assert 'bag_recorder: 41 messages in' in recorder.output


def test_played_and_recorded_again(tmp_path, graph):
    """A bag that goes through the player and the recorder comes out with the same bytes."""
    source = write_image_bag(tmp_path / 'drive', count=10)
    with (
        Executable('bag_recorder', tmp_path / 'copy', '--topics', TOPIC) as recorder,
        Executable('bag_player', source, '--wait-for-subscribers', 60, '--rate', 3) as player,
    ):
        assert player.wait() == 0
        assert recorder.interrupt() == 0, recorder.output
    with open_bag(source) as before, open_bag(tmp_path / 'copy') as after:
        played = [bytes(message.data) for message in before.messages()]
        assert [bytes(message.data) for message in after.messages()] == played
        assert after.topics[TOPIC].msgtype == 'sensor_msgs/msg/Image'


def test_simulated_time(tmp_path, graph):
    """With use_sim_time the bag has the times of /clock, those of the first recording."""
    source = write_image_bag(tmp_path / 'drive', count=10)
    sim_time = ('--ros-args', '-p', 'use_sim_time:=true')
    args = ('--wait-for-subscribers', 60, '--clock')
    with (
        Executable('bag_recorder', tmp_path / 'copy', '--topics', TOPIC, *sim_time) as recorder,
        Executable('bag_player', source, *args) as player,
    ):
        player.wait()
        assert recorder.interrupt() == 0, recorder.output
    with open_bag(tmp_path / 'copy') as bag:
        stamps = [message.stamp_ns for message in bag.messages()]
    assert len(stamps) == 10
    assert stamps[0] >= START_NS
    assert stamps[-1] <= START_NS + 10 * PERIOD_NS
    assert stamps == sorted(stamps)


@pytest.mark.parametrize('most', [None, 0], ids=['kept', 'too many'])
@pytest.mark.parametrize('has_clock', [True, False])
def test_what_comes_before_the_first_clock(tmp_path, graph, monkeypatch, most, has_clock):
    """Latched messages are there at once, with a time of 0; a bag would be 50 years long."""
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile
    from rosgraph_msgs.msg import Clock

    from unidrive_msgs.msg import ClassInfo

    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    labels = graph.node.create_publisher(ClassInfo, '/labels', latched)
    clock = graph.node.create_publisher(Clock, '/clock', 10)
    labels.publish(ClassInfo(name='car'))
    before = time.time_ns()
    module = 'unidrive_perception.node.recorder_node'
    limited = f'import sys, {module} as r; r.MOST_EARLY = {most}; sys.exit(r.run(sys.argv))'
    program = None if most is None else ('-c', limited)
    args = ('--topics', '/labels', '--ros-args', '-p', 'use_sim_time:=true')
    with Executable('bag_recorder', tmp_path / 'bag', *args, program=program) as recorder:
        assert listening(graph, labels)
        graph.spin_for(0.5)
        if has_clock:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(START_NS, 10**9)
            for _ in range(5):
                clock.publish(message)
                graph.spin_for(0.1)
            labels.publish(ClassInfo(name='bus'))
            graph.spin_for(0.5)
        assert recorder.interrupt() == 0, recorder.output
    found, _ = contents(tmp_path / 'bag')
    names = ['car'] * (most is None) + ['bus'] * has_clock
    assert [m.name for _, m, _ in found] == names
    stamps = [stamp for _, _, stamp in found]
    assert all(s == START_NS if has_clock else before < s < time.time_ns() for s in stamps)
    assert ('1 messages are not in the bag' in recorder.output) == (most == 0)
    told = 'there was no /clock: the times are of this machine' in recorder.output
    assert told == (not has_clock and most is None)


def test_duration_and_nothing_to_record(tmp_path, graph):
    with Executable('bag_recorder', tmp_path / 'bag', '--namespace', '/x', '--duration', 1) as it:
        assert it.wait() == 0, it.output
    assert contents(tmp_path / 'bag') == ([], {})
    assert 'bag_recorder: 0 messages in' in it.output


def test_full_disk_keeps_what_was_recorded(tmp_path, graph):
    """Stands for a full disk: a limit on the size of the files that the process may write."""
    import resource

    from std_msgs.msg import String

    publisher = graph.node.create_publisher(String, '/notes', 10)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    args = (tmp_path / 'bag', '--topics', '/notes')
    with Executable('bag_recorder', *args, preexec_fn=limit) as recorder:
        assert listening(graph, publisher)
        graph.spin_for(0.3)
        for _ in range(40):
            if recorder.running:
                publisher.publish(String(data='x' * 200_000))
                graph.spin_for(0.02)
        assert recorder.wait() == 2, recorder.output
    assert 'error: the bag' in recorder.output
    assert 'Traceback' not in recorder.output
    kept = recorder.output.split('what was recorded is in ')[1].strip()
    found, _ = contents_of_unfinished(kept)
    assert len(found) >= 6


def contents_of_unfinished(path):
    with open_bag(path) as bag:
        assert 'never finished' in bag.damage
        return list(bag.messages()), bag.topics


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        ([], 'nothing to record: give --topics or --namespace'),
        (['--topics', '/a'], 'exists already'),
    ],
)
def test_errors_are_one_sentence(tmp_path, ros_domain, args, words):
    (tmp_path / 'bag').mkdir()
    with Executable('bag_recorder', tmp_path / 'bag', *args) as recorder:
        assert recorder.wait() == 2
    assert words in recorder.output
    assert recorder.output.count('\n') == 1


@pytest.mark.parametrize('option', [('-r', 'no_rule'), ('--params-file', '/nowhere/a.yaml')])
def test_wrong_ros_arguments_leave_no_folder(tmp_path, ros_domain, option):
    args = (tmp_path / 'bag', '--topics', '/a', '--ros-args', *option)
    with Executable('bag_recorder', *args) as recorder:
        assert recorder.wait() == 2, recorder.output
    assert 'bag_recorder: error: ' in recorder.output
    assert option[1] in recorder.output
    assert 'Traceback' not in recorder.output
    assert list(tmp_path.iterdir()) == []
