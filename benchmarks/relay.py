# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A node that publishes each image again and does nothing else: what node.py compares with.

python3 benchmarks/relay.py raw|compressed [CAMERA ...]
"""

from __future__ import annotations

import contextlib
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image


def main() -> None:
    """Relay until a signal comes."""
    transport, *cameras = sys.argv[1:]
    kind, suffix = (CompressedImage, '/compressed') if transport == 'compressed' else (Image, '')
    rclpy.init()
    node = rclpy.create_node('perception')
    best_effort = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    for camera in cameras:
        output = node.create_publisher(kind, f'~/{camera}/relayed'.replace('//', '/'), 5)
        topic = f'/{camera}/image{suffix}'.replace('//', '/')
        node.create_subscription(kind, topic, output.publish, best_effort)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == '__main__':
    main()
