# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A listener of the soak, which checks every result that it hears.

    python3 benchmarks/soaking/listener.py --cameras front left --topics detections timing

It says ``listening``, ``heard something`` with its first result, and ``heard everything`` once it
has one of each topic of each camera; each violation is a line that begins with VIOLATION; a line
of JSON at the end says how many results of each topic were heard.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from unidrive_perception.node.diagnostics import ENDS
from unidrive_perception.node.frame_messages import TOPIC_TYPES

VIOLATION = 'VIOLATION '
UNDERWAY = 2
"""Images of a camera that may have no end yet while another's timing is told: one that waits, and
the one that replaces it, which is counted as received a moment before the other as dropped."""


class Checks:
    """What must hold for the results of one topic of one camera, in the order of their coming."""

    def __init__(self, camera: str, topic: str) -> None:
        """Begin to listen."""
        self._camera, self._topic = camera, topic
        self._last = (0, 0)  # epoch and stamp
        self.heard = 0

    def hear(self, message: Any) -> None:
        """Check one result."""
        self.heard += 1
        header = message.header
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        camera, sent_stamp, size, epoch = (*header.frame_id.split('/'), *4 * ['0'])[:4]
        this = int(epoch), stamp
        if (camera, sent_stamp) != (self._camera, str(stamp)):
            self._tell(f'no such image was sent: stamp {stamp}, frame_id {header.frame_id!r}')
        elif this == self._last:
            self._tell(f'image {stamp} came twice')
        elif this < self._last:
            self._tell(f'image {stamp} came after {self._last[1]}')
        self._last = max(this, self._last)
        detections = getattr(message, 'detections', None)
        message = detections if hasattr(detections, 'image_height') else message  # of a result
        if hasattr(message, 'image_height'):
            if size != f'{message.image_height}x{message.image_width}':
                self._tell(f'{message.image_height}x{message.image_width}, the image was {size}')
        elif self._topic == 'timing':
            self._count(message)

    def _count(self, timing: Any) -> None:
        underway = timing.received - sum(getattr(timing, end) for end in ENDS)
        if not 0 <= underway <= UNDERWAY:
            self._tell(f'{underway} images are underway: {timing}')
        if timing.failed:
            self._tell(f'{timing.failed} images failed')

    def _tell(self, violation: str) -> None:
        print(f'{VIOLATION}{self._camera}/{self._topic}: {violation}', flush=True)


def main() -> None:
    """Listen until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cameras', nargs='+', required=True)
    parser.add_argument('--topics', nargs='+', choices=(*TOPIC_TYPES, 'timing'), required=True)
    options = parser.parse_args()
    ended = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(True))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node('listener')
    types = {**TOPIC_TYPES, 'timing': 'unidrive_msgs/msg/FrameTiming'}
    checks = {}
    for camera in options.cameras:
        for topic in options.topics:
            package, _, name = types[topic].split('/')
            kind = getattr(importlib.import_module(f'{package}.msg'), name)
            check = checks[camera, topic] = Checks(camera, topic)
            node.create_subscription(kind, f'/perception/{camera}/{topic}', check.hear, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    print('listening', flush=True)
    to_say = {'heard something': any, 'heard everything': all}
    while not ended:
        executor.spin_once(timeout_sec=0.1)
        heard = [check.heard for check in checks.values()]
        for words in [words for words, holds in to_say.items() if holds(heard)]:
            print(words, flush=True)
            del to_say[words]
    heard = Counter()
    for (_, topic), check in checks.items():
        heard[topic] += check.heard
    print(json.dumps(heard), flush=True)


if __name__ == '__main__':
    main()
