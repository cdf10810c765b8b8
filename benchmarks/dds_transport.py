# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Do large raw images arrive? From one process to another, with each configuration of Fast DDS.

    python3 benchmarks/dds_transport.py [--size 1280x720] [--rate 30] [--count 100]

needs a sourced ROS 2 environment with rmw_fastrtps. It prints a table: images received of those
sent, and the latency from before ``publish`` to the subscriber's callback, both sides in Python.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1] / 'config'
PROFILES = ('fastdds.xml', 'fastdds_small.xml')
TOPIC = '/unidrive_transport_benchmark'

# ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST makes rmw_fastrtps replace the built-in transports, and
# with them whatever FASTDDS_BUILTIN_TRANSPORTS says; a profile is used in both cases.
CONFIGURATIONS = {
    'defaults': {},
    'LARGE_DATA': {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
    'LARGE_DATA, range SUBNET': {
        'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
    },
}


def profile_environment(path: Path | str) -> dict[str, str]:
    """The variables that make every distribution read the profile."""
    names = ['FASTDDS_DEFAULT_PROFILES_FILE']
    if os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy'):
        names.append('FASTRTPS_DEFAULT_PROFILES_FILE')
    return dict.fromkeys(names, os.path.abspath(path))


def main() -> None:
    """Run every configuration with every reliability, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', default='1280x720', help='WIDTHxHEIGHT of the rgb8 images')
    parser.add_argument('--rate', type=float, default=30.0, help='images per second')
    parser.add_argument('--count', type=int, default=100, help='images sent')
    parser.add_argument('--profile', action='append', default=[], help='another profile to try')
    parser.add_argument('--role', choices=('send', 'receive'), help=argparse.SUPPRESS)
    parser.add_argument('--reliability', default='', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == 'send':
        send(options)
    elif options.role == 'receive':
        receive(options)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Print the table."""
    profiles = [CONFIG / name for name in PROFILES] + [Path(path) for path in options.profile]
    configurations = {
        **CONFIGURATIONS,
        **{path.name: profile_environment(path) for path in profiles},
    }
    print(f'{options.count} images {options.size} rgb8 at {options.rate:g} Hz, depth 1')
    print('| configuration | reliability | received | latency p50 | p99 |')
    print('| --- | --- | --- | --- | --- |')
    for name, environment in configurations.items():
        for reliability in ('best_effort', 'reliable'):
            latencies = measure(options, environment, reliability)
            cells = [name, reliability, f'{len(latencies)} of {options.count}']
            cells += [f'{value:.1f} ms' if latencies else '–' for value in percentiles(latencies)]
            print(f'| {" | ".join(cells)} |', flush=True)


def percentiles(values: list[float]) -> tuple[float, float]:
    """Median and 99th percentile (the largest of up to 100)."""
    if not values:
        return float('nan'), float('nan')
    return statistics.median(values), sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def measure(options: argparse.Namespace, environment: dict, reliability: str) -> list[float]:
    """Latencies in ms of the images that arrived between two fresh processes."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('FASTDDS_', 'FASTRTPS_'))}
    command = [sys.executable, __file__, '--reliability', reliability]
    command += ['--size', options.size, '--rate', str(options.rate), '--count', str(options.count)]
    receiver, sender = (
        subprocess.Popen(
            [*command, '--role', role], env={**clean, **environment}, stdout=subprocess.PIPE
        )
        for role in ('receive', 'send')
    )
    sender.wait()
    return json.loads(receiver.communicate()[0])


def qos(options: argparse.Namespace):
    """Keep-latest, as the perception node and cameras have it."""
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy

    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy[options.reliability.upper()])


def send(options: argparse.Namespace) -> None:
    """Publish the images once the receiver is there; the last one of height 0 ends it."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node('sender')
    publisher = node.create_publisher(Image, TOPIC, qos(options))
    width, height = map(int, options.size.split('x'))
    image = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    image.data = array.array('B', bytes(3 * width * height))
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(0.5)  # the other side must have found us too
    due = time.monotonic()
    for _ in range(options.count):
        now = time.time_ns()
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(now, 1_000_000_000)
        publisher.publish(image)
        due += 1 / options.rate
        time.sleep(max(0.0, due - time.monotonic()))
    for _ in range(10):
        time.sleep(0.1)
        publisher.publish(Image())
    node.destroy_node()
    rclpy.shutdown()


def receive(options: argparse.Namespace) -> None:
    """Print the latencies as JSON when the sender is done."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node('receiver')
    latencies: list[float] = []
    ended = []

    def on_image(image) -> None:
        stamp = image.header.stamp
        if image.height:
            latencies.append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        else:
            ended.append(True)

    node.create_subscription(Image, TOPIC, on_image, qos(options))
    while not ended:
        rclpy.spin_once(node, timeout_sec=0.5)
    print(json.dumps(latencies))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main()
