# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: one side of the measured transport, which publishes images or receives them.

Fast DDS may hold a process for up to a third of a second when another participant joins, so the
two sides first exchange a small message on each topic that is measured: only when the receiver has
answered is the way open in both directions.
"""

from __future__ import annotations

import array
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from unidrive_perception.doctor.trials import run_trial, say

HELLO = 'hello'
"""The frame_id of the small image that is to be answered."""
ANSWERS = 'answers'
"""Below the topic of the images: what the receiver has to say, as ``hello best_effort``."""
ALL = 'all'
"""What it says of a reliability whose images have all come."""
HELLO_EVERY_S = 0.05
ON_THE_WAY_S = 1.0
"""How long the last images may take; a process may be held for a third of it."""


def qos(reliability: str, depth: int) -> QoSProfile:
    """Keep the latest ``depth``, as cameras and the perception node do."""
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy[reliability.upper()])


class Sender:
    """Publishes the images of one reliability after those of the other."""

    def __init__(self, topic: str, reliabilities: Sequence[str], depth: int) -> None:
        """Offer the topics, each keeping the latest ``depth`` images."""
        self._node = rclpy.create_node('_unidrive_sender')
        self._publishers = {
            r: self._node.create_publisher(Image, f'{topic}/{r}', qos(r, depth))
            for r in reliabilities
        }
        self._answers: set[str] = set()
        self._node.create_subscription(
            String,
            f'{topic}/{ANSWERS}',
            lambda answer: self._answers.add(answer.data),
            qos('reliable', 100),
        )

    def send(self, size: int, count: int, rate: float) -> None:
        """Say ``matched``, ``answered`` and ``sent`` as it gets that far."""
        self._shake_hands()
        say(answered=True)
        image = Image(height=1, width=size, encoding='mono8', step=size)
        image.data = array.array('B', bytes(size))
        for publisher in self._publishers.values():
            _publish_all(publisher, image, count, rate)
        say(sent=dict.fromkeys(self._publishers, count))
        self._wait_for({f'{ALL} {r}' for r in self._publishers}, ON_THE_WAY_S)
        self._node.destroy_node()

    def _shake_hands(self) -> None:
        """Repeat a small image on each topic until each is answered: one may be lost at first."""
        hello = Image()
        hello.header.frame_id = HELLO
        matched = False
        while missing := [r for r in self._publishers if f'{HELLO} {r}' not in self._answers]:
            if not matched and all(p.get_subscription_count() for p in self._publishers.values()):
                matched = True
                say(matched=True)
            for reliability in missing:
                self._publishers[reliability].publish(hello)
            rclpy.spin_once(self._node, timeout_sec=HELLO_EVERY_S)

    def _wait_for(self, answers: set[str], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not answers <= self._answers and (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self._node, timeout_sec=left)


def _publish_all(publisher: Publisher, image: Image, count: int, rate: float) -> None:
    due = time.monotonic()
    for _ in range(count):
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
        publisher.publish(image)
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        if not rclpy.ok():
            raise ExternalShutdownException


class Receiver:
    """Answers the small images, and remembers when the others came."""

    def __init__(self, topic: str, reliabilities: Sequence[str], depth: int, count: int) -> None:
        """Subscribe; ``count`` images of each reliability will be sent."""
        self._node = rclpy.create_node('_unidrive_receiver')
        self._reliabilities, self._count = reliabilities, count
        self._latencies: Mapping[str, list[float]] = defaultdict(list)
        self._arrivals: Mapping[str, list[float]] = defaultdict(list)
        self._answers = self._node.create_publisher(
            String, f'{topic}/{ANSWERS}', qos('reliable', 100)
        )
        for reliability in reliabilities:
            self._node.create_subscription(
                Image,
                f'{topic}/{reliability}',
                lambda image, reliability=reliability: self._on_image(image, reliability),
                qos(reliability, depth),
            )

    def receive(self) -> None:
        """Say the latencies in ms of what arrives, when all has come or we are asked to end."""
        try:
            while any(len(self._latencies[r]) < self._count for r in self._reliabilities):
                rclpy.spin_once(self._node, timeout_sec=0.1)
        except ExternalShutdownException:
            pass
        say(latencies=self._latencies, arrivals=self._arrivals)
        if rclpy.ok():  # the last answer is still on its way
            self._answers.wait_for_all_acked(Duration(seconds=0.5))
        self._node.destroy_node()

    def _on_image(self, image: Image, reliability: str) -> None:
        now = time.time_ns()
        if image.header.frame_id == HELLO:
            self._answers.publish(String(data=f'{HELLO} {reliability}'))
            return
        stamp = image.header.stamp
        self._latencies[reliability].append((now - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        self._arrivals[reliability].append(time.monotonic())
        if len(self._arrivals[reliability]) == self._count:
            self._answers.publish(String(data=f'{ALL} {reliability}'))


def work(args: list[str]) -> None:
    """``args``: the role, the topic, reliabilities with a comma, depth and count; then, for the
    sender, size in bytes and images per second.
    """
    role, topic, names, *numbers = args
    reliabilities = names.split(',')
    depth, count = map(int, numbers[:2])
    rclpy.init(args=[])
    say(joined=True)
    try:
        if role == 'send':
            size, rate = numbers[2:]
            Sender(topic, reliabilities, depth).send(int(size), count, float(rate))
        else:
            Receiver(topic, reliabilities, depth, count).receive()
    except ExternalShutdownException:  # we are to end
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    run_trial(work)
