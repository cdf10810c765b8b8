# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""When the player plays what, and what it says to arguments that make no sense."""

from __future__ import annotations

import numpy as np
import pytest
from sample_bags import TOPIC, picture, write_image_bag, write_images, write_video

from unidrive_perception.errors import UserError
from unidrive_perception.executable import split_ros_args
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb
from unidrive_perception.message_types import default_typestore
from unidrive_perception.node.playback import (
    FileRecording,
    PlaybackError,
    Schedule,
    make_parser,
    open_recording,
    parse_remaps,
)
from unidrive_perception.sources import FILE_FRAME_ID, FILE_START_NS, FILE_TOPIC, open_source


def open_with(*args):
    return open_recording(make_parser().parse_args([str(arg) for arg in args]))


@pytest.mark.parametrize('rate', [0.5, 1.0, 3.0])
def test_schedule(rate):
    schedule = Schedule(recorded_ns=1000, rate=rate, steady_ns=50_000, wall_ns=7_000_000)
    assert schedule.due_ns(1000) == 50_000
    assert schedule.due_ns(1600) == 50_000 + round(600 / rate)
    assert schedule.wall_due_ns(1600) == 7_000_000 + round(600 / rate)
    assert schedule.recorded_at(schedule.due_ns(1600)) == 1600


def test_schedule_has_no_drift():
    """The due time of a late message does not depend on how many came before."""
    schedule = Schedule.from_now(0, 1.0)
    assert schedule.due_ns(3600 * 10**9) - schedule.due_ns(0) == 3600 * 10**9


def test_remaps():
    assert parse_remaps(['/a:=/b', 'c:=d']) == {'/a': '/b', 'c': 'd'}
    for text in ('x', ':=b', 'a:=', '/a=/b'):
        with pytest.raises(PlaybackError, match='takes /old:=/new'):
            parse_remaps([text])


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--rate', 0], r'--rate must be greater than 0, not 0\.0'),
        (['--rate', 'nan'], '--rate must be greater than 0'),
        (['--clock-rate', -1], '--clock-rate must be greater than 0'),
        (['--start-offset', -1], '--start-offset must be 0 or more'),
        (['--start-offset', 99], r'--start-offset 99 is behind the end: .* lasts 0\.4 s'),
        (['--topics', '/rear'], f'no topic /rear; its topics are: {TOPIC}'),
        (['--remap', '/rear:=/x'], f'no topic /rear; its topics are: {TOPIC}'),
    ],
)
def test_bad_arguments(tmp_path, args, words):
    path = write_image_bag(tmp_path / 'drive')
    with pytest.raises(PlaybackError, match=words):
        open_with(path, *args)


@pytest.mark.parametrize(
    'option',
    [('--topic', '/a'), ('--frame-id', ''), ('--fps', 5), ('--encoding', 'rgb8')],
    ids=lambda option: option[0],
)
def test_options_of_files_are_refused_with_a_bag(tmp_path, option):
    path = write_image_bag(tmp_path / 'drive', count=1)
    words = f'{option[0]} is for a video or folder, and .* with --topics, rename them with --remap'
    with pytest.raises(PlaybackError, match=words):
        open_with(path, *option)


def test_missing_input(tmp_path):
    with pytest.raises(UserError, match='there is no bag, video, image or folder'):
        open_with(tmp_path / 'gone')


def test_clock_leaves_the_input_alone():
    parser = make_parser()
    assert not parser.parse_args(['bag']).clock
    args = parser.parse_args(['--clock', 'bag'])
    assert (args.clock, args.clock_rate, args.input) == (True, 100, 'bag')
    assert parser.parse_args(['bag', '--clock', '--clock-rate', '10']).clock_rate == 10


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'jpeg', 'png'])
def test_video_as_recording(tmp_path, encoding):
    path = write_video(tmp_path / 'clip.avi', count=4)
    recording = open_with(path, '--encoding', encoding, '--topic', '/front', '--frame-id', 'front')
    compressed = encoding in ('jpeg', 'png')
    (topic,) = recording.topics.values()
    assert topic.name == ('/front/compressed' if compressed else '/front')
    assert recording.start_ns == FILE_START_NS
    assert recording.end_ns == FILE_START_NS + 4 * 50_000_000  # the last frame lasts too
    store = default_typestore()
    with open_source(path) as source:
        for message, frame in zip(recording.messages(), source, strict=True):
            assert (message.topic, message.stamp_ns) == (topic.name, frame.stamp_ns)
            image = store.deserialize_cdr(message.data, message.msgtype)
            assert image.header.frame_id == 'front'
            rgb = (compressed_to_rgb if compressed else image_to_rgb)(image)
            assert np.abs(rgb.astype(int) - frame.rgb()).max() <= (6 if encoding == 'jpeg' else 0)


def test_start_in_a_file(tmp_path):
    folder = write_images(tmp_path / 'drive', [f'{i}.png' for i in range(5)])
    recording = open_with(folder)
    messages = list(recording.messages(start_ns=FILE_START_NS + 250_000_000))
    assert [message.stamp_ns for message in messages] == [1_300_000_000, 1_400_000_000]
    assert list(recording.messages(['/other'])) == []
    image = default_typestore().deserialize_cdr(messages[0].data, messages[0].msgtype)
    assert (messages[0].topic, image.encoding) == (FILE_TOPIC, 'rgb8')
    assert image.header.frame_id == FILE_FRAME_ID


def test_stamps_of_a_file_are_set_by_the_player(tmp_path):
    recording = FileRecording(open_source(write_images(tmp_path / 'drive', ['0.png'])))
    recording.stamp = lambda stamp_ns: stamp_ns + 5
    (message,) = recording.messages()
    image = default_typestore().deserialize_cdr(message.data, message.msgtype)
    assert message.stamp_ns == FILE_START_NS
    assert (image.header.stamp.sec, image.header.stamp.nanosec) == (1, 5)
    np.testing.assert_array_equal(image_to_rgb(image), picture(0))


def test_ros_arguments_are_ros_s_own():
    ours = ['bag', '--remap', '/a:=/b']
    assert split_ros_args(ours) == (ours, [])
    ros = ['--ros-args', '-r', '__node:=x']
    assert split_ros_args([*ours, *ros]) == (ours, ros)
    assert split_ros_args([*ros, '--', *ours]) == (ours, ros)
