# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The measured transport of `unidrive doctor`: nothing is lost but what DDS cannot carry."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from live_node import PATIENCE, REPO, Graph, wait_until

from unidrive_perception.doctor import transport_checks
from unidrive_perception.doctor.image_load import ImageLoad
from unidrive_perception.doctor.round_trip import NotMeasured, Plan, measure
from unidrive_perception.doctor.trials import Trials
from unidrive_perception.transport import USER_CHOICES, dds_environment

pytestmark = pytest.mark.ros

COUNT, RATE = 40, 30.0
HELD_S = 0.34
"""As long as Fast DDS holds a process when a participant joins."""


def side(role: str, *args: object) -> subprocess.Popen:
    """One side of a measurement, in the environment of this process."""
    command = [sys.executable, '-m', 'unidrive_perception.doctor.round_trip_node', role]
    return subprocess.Popen(
        [*command, *map(str, args)], cwd=REPO, stdout=subprocess.PIPE, text=True
    )


def wait_for_line(process: subprocess.Popen, word: str) -> None:
    """Read what it says up to the line that has this word."""
    assert any(word in line for line in process.stdout)


def said(process: subprocess.Popen) -> dict:
    """What else a side tells until its end."""
    lines = process.communicate(timeout=PATIENCE)[0].splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


@pytest.mark.parametrize(
    ('reliability', 'size'),
    [
        ('best_effort', 320 * 240 * 3),  # these fit into the shared memory of the small profile
        ('reliable', 1280 * 720 * 3),  # these may not, so the sender must keep them
    ],
)
def test_a_receiver_that_is_held_up_loses_nothing(ros_domain, reliability, size):
    receiver = side('receive', '/held', reliability, COUNT, COUNT)
    sender = side('send', '/held', reliability, COUNT, COUNT, size, RATE)
    try:
        wait_for_line(sender, 'answered')
        time.sleep(0.4)
        receiver.send_signal(signal.SIGSTOP)
        time.sleep(HELD_S)
        receiver.send_signal(signal.SIGCONT)
        assert said(sender)['sent'] == {reliability: COUNT}
        receiver.terminate()  # it waits for those that are missing, if any
        latencies = said(receiver)['latencies'][reliability]
    finally:
        receiver.kill()
        sender.kill()
    assert max(latencies) > 1e3 * HELD_S / 2, 'it was not held while images came'
    assert len(latencies) == COUNT


def test_nothing_is_sent_before_the_receiver_has_answered(ros_domain):
    """Who is matched and silent may be held up, and would lose what is sent to it."""
    from sensor_msgs.msg import Image

    graph = Graph()
    sender = side('send', '/silent', 'reliable', COUNT, COUNT, 1000, RATE)
    try:
        heard = graph.listen(Image, '/silent/reliable')
        wait_for_line(sender, 'matched')
        wait_until(lambda: len(heard) > COUNT, 'repeated hellos')
        sender.terminate()
        told = said(sender)
    finally:
        sender.kill()
        graph.close()
    assert 'answered' not in told and 'sent' not in told
    assert all(image.header.frame_id == 'hello' and not image.data for image in heard)


def test_a_transport_that_cannot_carry_the_images_fails(ros_domain):
    """The 512 kB of shared memory that Fast DDS gives by default, and best effort."""
    import rclpy

    if not rclpy.get_rmw_implementation_identifier().startswith('rmw_fastrtps'):
        pytest.skip('the defaults of Fast DDS are meant')
    defaults = {name: value for name, value in os.environ.items() if name not in USER_CHOICES}
    load = ImageLoad.of(1920, 1080, 'rgb8')
    plan = Plan(COUNT, RATE, COUNT, ['best_effort'])
    with Trials(PATIENCE) as trials:
        lost = measure(trials, load.size, plan, defaults, defaults, PATIENCE)['best_effort']
    with Trials(PATIENCE) as trials:
        profile = {**defaults, **dds_environment(defaults)}
        small = measure(trials, 320 * 240 * 3, plan, profile, profile, PATIENCE)['best_effort']
    assert transport_checks.judge_trip(load, 'best_effort', lost, 'x', '').level == 'FAIL'
    assert small.lost == 0


def test_two_sides_that_do_not_find_each_other_are_told_of(ros_domain):
    here = dict(os.environ)
    elsewhere = {**here, 'ROS_DOMAIN_ID': str(ros_domain % 101 + 1)}
    with Trials(PATIENCE) as trials, pytest.raises(NotMeasured, match='do not find each other'):
        measure(trials, 1000, Plan(), here, elsewhere, seconds=12)
