# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The bag player over real DDS: every message, in order, byte for byte, at its time."""

from __future__ import annotations

import re
import signal
import time

import numpy as np
import pytest
from live_graph import Executable, Graph
from rosbags.interfaces import QosReliability
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    picture,
    stamp_of,
    write_image_bag,
    write_images,
    write_rosbag1,
    write_video,
)

from unidrive_perception.bags.reader import LATCHED, BagWriter, open_bag
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb

pytestmark = pytest.mark.ros


def recorded(path, topic=TOPIC):
    with open_bag(path) as bag:
        return [bytes(message.data) for message in bag.messages([topic])]


def play(*args):
    return Executable('bag_player', args[0], '--wait-for-subscribers', 60, *args[1:])


@pytest.fixture
def graph(ros_domain):
    with Graph() as graph:
        yield graph


@pytest.fixture
def image_class():
    from sensor_msgs.msg import Image

    return Image


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_every_message_in_order_byte_for_byte(tmp_path, graph, image_class, storage):
    from rclpy.serialization import deserialize_message

    path = write_image_bag(tmp_path / 'drive', count=12, storage=storage, encoding='bgr8')
    received = graph.listen(TOPIC, image_class, raw=True)
    with play(path, '--rate', 5) as player:
        assert graph.spin_until(lambda: len(received) == 12)
        assert player.wait() == 0
    assert received == recorded(path)
    assert 'bag_player: 12 messages played in' in player.output
    for i, data in enumerate(received):
        image = deserialize_message(data, image_class)
        assert stamp_of(image.header) == START_NS + i * PERIOD_NS
        assert image.header.frame_id == FRAME_ID
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))


def test_rosbag1(tmp_path, graph, image_class):
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import String

    path = write_rosbag1(tmp_path / 'old.bag')
    images = graph.listen(TOPIC, image_class)
    infos = graph.listen('/camera/camera_info', CameraInfo)
    notes = graph.listen('/note', String)
    with play(path, '--rate', 5) as player:
        assert graph.spin_until(lambda: len(images) == len(infos) == 5 and notes)
        player.wait()
    for i, image in enumerate(images):
        assert stamp_of(image.header) == START_NS + i * PERIOD_NS
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))
    assert list(infos[0].k) == list(range(9))
    assert '/odd is not played: odd_msgs/msg/Odd is not installed here' in player.output
    assert player.output.count('is not played') == 1


def test_clock_and_rate(tmp_path, graph, image_class):
    from rosgraph_msgs.msg import Clock

    path = write_image_bag(tmp_path / 'drive', count=12)
    clocks = graph.listen('/clock', Clock, 100)
    images = graph.listen(TOPIC, image_class)
    with play(path, '--rate', 2, '--clock', '--clock-rate', 50) as player:
        assert graph.spin_until(lambda: len(images) == 12)
        graph.spin_for(0.2)
        assert player.wait() == 0
    times = [m.clock.sec * 10**9 + m.clock.nanosec for m in clocks]
    assert times[0] == START_NS + RECORDING_DELAY_NS
    # 1.1 s of the bag at twice its speed: 0.55 s, so 27 ticks of 20 ms, 40 ms of the bag apart.
    assert np.diff(times).tolist() == [40_000_000] * 27
    # A slow machine may take longer than those 0.55 s; playing too fast is an error anywhere.
    assert float(re.search(r'played in (\S+) s', player.output)[1]) >= 0.55


def test_selection_remap_and_offset(tmp_path, graph, image_class):
    from std_msgs.msg import String

    with BagWriter(tmp_path / 'drive') as writer:
        note = writer.typestore.types['std_msgs/msg/String']
        for i in range(10):
            for topic in ('/a', '/b'):
                writer.write(topic, note(f'{topic} {i}'), START_NS + i * PERIOD_NS)
    renamed, original, other = (graph.listen(name, String) for name in ('/c', '/a', '/b'))
    args = ('--topics', '/a', '--remap', '/a:=/c', '--start-offset', 0.45, '--rate', 5)
    with play(tmp_path / 'drive', *args) as player:
        assert graph.spin_until(lambda: len(renamed) == 5)
        player.wait()
        graph.spin_for(0.1)
    assert [message.data for message in renamed] == [f'/a {i}' for i in range(5, 10)]
    assert original == other == []


def test_a_camera_that_nobody_wants_delays_nothing(tmp_path, graph, image_class):
    path = tmp_path / 'drive'
    with BagWriter(path) as writer, open_bag(write_image_bag(tmp_path / 'one')) as bag:
        for message in bag.messages():
            for topic in ('/left', '/right'):
                writer.write_raw(topic, message.msgtype, message.data, message.stamp_ns)
    received = graph.listen('/right', image_class)
    with play(path, '--wait-for-subscribers', 600):
        assert graph.spin_until(lambda: len(received) == 5)


def test_loop_until_interrupted(tmp_path, graph, image_class):
    path = write_image_bag(tmp_path / 'drive', count=3)
    received = graph.listen('/front/image', image_class, raw=True)
    remap = ('--ros-args', '-r', f'{TOPIC}:=/front/image')  # ROS's own way of remapping
    with play(path, '--rate', 5, '--loop', *remap) as player:
        assert graph.spin_until(lambda: len(received) >= 8)
        assert player.interrupt() == 0, player.output
    assert received[:8] == (recorded(path) * 3)[:8]
    assert 'messages played' in player.output
    assert 'Traceback' not in player.output


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_waits(tmp_path, graph, image_class, signum):
    path = write_image_bag(tmp_path / 'drive', count=2)
    with BagWriter(tmp_path / 'long') as writer, open_bag(path) as bag:
        for i, message in enumerate(bag.messages()):
            writer.write_raw(TOPIC, message.msgtype, message.data, i * 3600 * 10**9)
    received = graph.listen(TOPIC, image_class)
    with play(tmp_path / 'long') as player:
        assert graph.spin_until(lambda: received)  # an hour until the next
        assert player.interrupt(signum) == 0, player.output
    assert '1 messages played' in player.output
    assert 'Traceback' not in player.output


def test_recorded_qos_is_offered_again(tmp_path, graph):
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
    from std_msgs.msg import String

    best_effort = LATCHED._replace(reliability=QosReliability.BEST_EFFORT, depth=3)
    with BagWriter(tmp_path / 'notes') as writer:
        writer.add_topic('/latched', 'std_msgs/msg/String', [LATCHED])
        writer.add_topic('/lossy', 'std_msgs/msg/String', [best_effort])
        note = writer.typestore.types['std_msgs/msg/String']
        writer.write('/latched', note('kept'), START_NS)
        writer.write('/lossy', note('x'), START_NS + 3600 * 10**9)
    with Executable('bag_player', tmp_path / 'notes') as player:
        assert graph.spin_until(lambda: graph.node.count_publishers('/lossy'))
        assert graph.spin_until(lambda: graph.node.count_publishers('/latched'))
        offered = {
            topic: graph.node.get_publishers_info_by_topic(topic)[0].qos_profile
            for topic in ('/latched', '/lossy')
        }
        assert offered['/latched'].reliability == QoSReliabilityPolicy.RELIABLE
        assert offered['/lossy'].reliability == QoSReliabilityPolicy.BEST_EFFORT
        graph.spin_for(0.3)  # the message is out; who comes now still gets it
        late = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        received = graph.listen('/latched', String, late)
        assert graph.spin_until(lambda: received)
        assert player.running
    assert received[0].data == 'kept'


def test_topics_of_types_that_are_not_here_are_left_out(tmp_path, graph):
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    from std_msgs.msg import Int8, String

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg('int8 x\n', 'gone_msgs/msg/Gone'))
    # Recorded with another definition than the installed one: its bytes would be misread.
    store.register(get_types_from_msg('string text\n', 'std_msgs/msg/Int8'))
    with BagWriter(tmp_path / 'notes') as writer:
        for name, msgtype in (('/gone', 'gone_msgs/msg/Gone'), ('/changed', 'std_msgs/msg/Int8')):
            writer.add_topic(name, msgtype, store=store)
            writer.write_raw(name, msgtype, b'\0\1\0\0\1\0\0\0\0', START_NS)
        writer.write('/note', writer.typestore.types['std_msgs/msg/String']('x'), START_NS)
    notes, changed = graph.listen('/note', String), graph.listen('/changed', Int8)
    with play(tmp_path / 'notes') as player:
        assert player.wait() == 0
        assert graph.spin_until(lambda: notes)
    assert '/gone is not played: gone_msgs/msg/Gone is not installed here' in player.output
    assert 'recorded with another definition of std_msgs/msg/Int8' in player.output
    assert changed == []


def test_video_is_stamped_with_the_time_it_is_played(tmp_path, graph, image_class):
    path = write_video(tmp_path / 'clip.avi', count=5)
    received = graph.listen('/front/image', image_class)
    before = time.time_ns()
    with play(path, '--topic', '/front/image', '--frame-id', 'front', '--encoding', 'bgr8'):
        assert graph.spin_until(lambda: len(received) == 5)
    stamps = [stamp_of(image.header) for image in received]
    assert before < stamps[0] < time.time_ns()
    assert np.diff(stamps).tolist() == [50_000_000] * 4
    assert {(m.header.frame_id, m.encoding, m.step) for m in received} == {('front', 'bgr8', 480)}
    for i, image in enumerate(received):
        assert np.abs(image_to_rgb(image).mean((0, 1)) - [60, 128, 20 * i]).max() < 6


def test_video_with_clock_has_the_time_within_the_file(tmp_path, graph, image_class):
    path = write_video(tmp_path / 'clip.avi', count=3)
    received = graph.listen(TOPIC, image_class)
    with play(path, '--clock', '--rate', 2):
        assert graph.spin_until(lambda: len(received) == 3)
    stamps = [stamp_of(image.header) for image in received]
    assert stamps == [1_000_000_000, 1_050_000_000, 1_100_000_000]


def test_folder_as_compressed_images(tmp_path, graph):
    from sensor_msgs.msg import CompressedImage

    folder = write_images(tmp_path / 'drive', ['0.jpg', '1.png', '2.jpg'])
    (folder / '3.jpg').write_bytes(b'no image')
    received = graph.listen(f'{TOPIC}/compressed', CompressedImage)
    with play(folder, '--encoding', 'jpeg', '--fps', 30) as player:
        assert graph.spin_until(lambda: len(received) == 4)
        player.wait()
    assert bytes(received[0].data) == (folder / '0.jpg').read_bytes()  # not coded again
    assert {message.format for message in received} == {'jpeg'}
    assert compressed_to_rgb(received[1]).shape == (48, 64, 3)


def test_folder_as_raw_images_leaves_out_what_is_no_image(tmp_path, graph, image_class):
    folder = write_images(tmp_path / 'drive', ['0.png', '2.png'])
    (folder / '1.png').write_bytes(b'no image')
    received = graph.listen(TOPIC, image_class)
    with play(folder, '--fps', 30) as player:
        assert player.wait() == 0
        assert graph.spin_until(lambda: len(received) == 2)
    for i, image in enumerate(received):
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))
    assert 'warning: 1 frames could not be decoded' in player.output


def test_large_real_images_arrive(tmp_path, graph, image_class, shared_data):
    """Raw 1280×720 images, best effort, all of them: Fast DDS's defaults lose every one."""
    from rclpy.qos import qos_profile_sensor_data

    video = next((shared_data / 'udacity_clips').rglob('*.mp4'))
    received = graph.listen(TOPIC, image_class, qos_profile_sensor_data)
    with play(video, '--fps', 20) as player:
        assert graph.spin_until(lambda: not player.running, 60)
        player.wait()
    played = int(player.output.split(' messages played')[0].split()[-1])
    assert played > 30
    assert len(received) >= 0.95 * played


def test_an_error_is_one_sentence(ros_domain):
    with Executable('bag_player', 'gone') as player:
        assert player.wait() == 2
    assert player.output == 'bag_player: error: there is no bag, video, image or folder gone\n'


@pytest.mark.parametrize(
    ('name', 'slip', 'meant'),
    [('bag_player', '--lop', '--loop'), ('bag_recorder', '--topcs', '--topics')],
)
def test_a_misspelt_option_is_told_what_was_meant(ros_domain, name, slip, meant):
    with Executable(name, 'drive', slip) as program:
        assert program.wait() == 2
    assert program.output.startswith(f'usage: {name} ')
    assert program.output.endswith(f'unrecognized arguments: {slip} (did you mean {meant}?)\n')


@pytest.mark.parametrize('option', [('-r', 'no_rule'), ('--params-file', '/nowhere/a.yaml')])
def test_wrong_ros_arguments_are_one_sentence(tmp_path, ros_domain, option):
    path = write_image_bag(tmp_path / 'drive', count=1)
    with Executable('bag_player', path, '--ros-args', *option) as player:
        assert player.wait() == 2, player.output
    assert 'bag_player: error: ' in player.output
    assert option[1] in player.output
    assert 'Traceback' not in player.output
