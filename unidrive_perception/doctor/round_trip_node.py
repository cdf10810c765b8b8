# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: one side of the measured transport, which publishes images or receives them."""

from __future__ import annotations

import array
import time
from collections import defaultdict

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from unidrive_perception.doctor.trials import run_trial, say

RELIABILITIES = ('best_effort', 'reliable')
SETTLING_S = 0.4
"""From when the sender sees the receiver until the receiver surely sees the sender."""
ON_THE_WAY_S = 0.3


def qos(reliability: str, depth: int) -> QoSProfile:
    """Keep the latest, as cameras and the perception node do."""
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy[reliability.upper()])


def send(topic: str, reliabilities: list[str], size: int, count: int, rate: float) -> None:
    """Publish the images of one reliability after those of the other, once both are heard."""
    node = rclpy.create_node('_unidrive_sender')
    publishers = {
        r: node.create_publisher(Image, f'{topic}/{r}', qos(r, 1)) for r in reliabilities
    }
    image = Image(height=1, width=size, encoding='mono8', step=size)
    image.data = array.array('B', bytes(size))
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        time.sleep(0.02)
        if not rclpy.ok():
            return
    say(matched=True)
    time.sleep(SETTLING_S)
    sent: dict[str, int] = {}
    for reliability, publisher in publishers.items():
        due = time.monotonic()
        for _ in range(count):
            if not rclpy.ok():
                return
            seconds, image.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
            image.header.stamp.sec = seconds
            publisher.publish(image)
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
        sent[reliability] = count
    say(sent=sent)
    time.sleep(ON_THE_WAY_S)
    node.destroy_node()


def receive(topic: str, reliabilities: list[str], depth: int, count: int) -> None:
    """Say the latencies in ms of what arrives, when all has come or we are asked to end."""
    node = rclpy.create_node('_unidrive_receiver')
    latencies: dict[str, list[float]] = defaultdict(list)
    arrivals: dict[str, list[float]] = defaultdict(list)

    def on_image(image: Image, reliability: str) -> None:
        stamp = image.header.stamp
        latencies[reliability].append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        arrivals[reliability].append(time.monotonic())

    for reliability in reliabilities:
        node.create_subscription(
            Image,
            f'{topic}/{reliability}',
            lambda image, reliability=reliability: on_image(image, reliability),
            qos(reliability, depth),
        )
    try:
        while any(len(latencies[r]) < count for r in reliabilities):
            rclpy.spin_once(node, timeout_sec=0.1)
    except ExternalShutdownException:
        pass
    say(latencies=latencies, arrivals=arrivals)
    node.destroy_node()


def work(args: list[str]) -> None:
    """``args``: the role, the topic, reliabilities with a comma, and the numbers of the role."""
    role, topic, reliabilities, *numbers = args
    rclpy.init(args=[])
    try:
        if role == 'send':
            size, count, rate = numbers
            send(topic, reliabilities.split(','), int(size), int(count), float(rate))
        else:
            depth, count = map(int, numbers)
            receive(topic, reliabilities.split(','), depth, count)
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    run_trial(work)
