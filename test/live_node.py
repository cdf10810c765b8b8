# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The perception node in a process of its own, and a ROS graph in this one to talk to it."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from unidrive_perception.transport import dds_environment

REPO = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds that something may take on a busy machine before a test gives up

os.environ.update(dds_environment())  # large images must arrive in tests too


def wait_until(condition, what, timeout=PATIENCE):
    """The first true value of ``condition()``."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f'waited {timeout} s for {what}'
        time.sleep(0.005)
    return value


class NodeProcess:
    """``perception_node`` with parameters; its output is in ``log``."""

    def __init__(
        self,
        folder: Path,
        *ros_args: str,
        env: dict | None = None,
        program: tuple[str, ...] = ('-m', 'unidrive_perception.perception_node'),
        **parameters,
    ) -> None:
        self._log = folder / f'node_{time.monotonic_ns()}.log'
        command = [sys.executable, *program, '--ros-args', *ros_args]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        with self._log.open('wb') as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPO,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until the node has logged ``text``."""

        def found():
            assert self.process.poll() is None, f'the node ended:\n{self.log}'
            return text in self.log

        try:
            wait_until(found, repr(text))
        except AssertionError as error:
            raise AssertionError(f'{error}; the node said:\n{self.log}') from None

    def exit_code(self) -> int:
        """Wait for the end that the node is expected to find by itself."""
        return self.process.wait(PATIENCE)

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def resident_mb(self) -> float:
        """Memory of the process in MB."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.split('VmRSS:')[1].split()[0]) / 1024


class Graph:
    """A ROS node in this process, spun by a thread, that remembers all it hears."""

    def __init__(self, domain: int | None = None) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node('tester', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.heard = defaultdict(list)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def listen(self, kind, topic: str, **qos) -> list:
        """Subscribe; the list that the messages go to."""
        from rclpy.qos import QoSProfile

        messages = self.heard[topic]
        self.node.create_subscription(
            kind, topic, messages.append, QoSProfile(**{'depth': 100, **qos})
        )
        return messages

    def camera(self, kind, topic: str, reliability: str = 'BEST_EFFORT'):
        """A publisher as a camera driver has it."""
        from rclpy.qos import QoSProfile, QoSReliabilityPolicy

        qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy[reliability])
        return self.node.create_publisher(kind, topic, qos)

    def call(self, kind, service: str, request):
        """Call a service and return its response."""
        client = self.node.create_client(kind, service)
        try:
            assert client.wait_for_service(PATIENCE), f'no service {service}'
            time.sleep(0.3)  # the service must have found this client, or its answer is lost
            future = client.call_async(request)
            wait_until(future.done, f'an answer of {service}')
            return future.result()
        finally:
            self.node.destroy_client(client)


def image_message(rgb: np.ndarray, number: int = 0, frame_id: str = 'camera', **fields):
    """rgb8 Image whose stamp carries ``number``; ``fields`` replace what would be right."""
    from sensor_msgs.msg import Image

    height, width = rgb.shape[:2]
    data = array.array('B', np.ascontiguousarray(rgb).tobytes())
    values = {
        'height': height,
        'width': width,
        'encoding': 'rgb8',
        'step': 3 * width,
        'data': data,
    }
    return _stamped(Image(**{**values, **fields}), number, frame_id)


def jpeg_message(rgb: np.ndarray, number: int = 0, frame_id: str = 'camera'):
    """CompressedImage with a JPEG."""
    from sensor_msgs.msg import CompressedImage

    data = cv2.imencode('.jpg', rgb[..., ::-1])[1].tobytes()
    message = CompressedImage(format='rgb8; jpeg compressed bgr8', data=array.array('B', data))
    return _stamped(message, number, frame_id)


def _stamped(message, number, frame_id):
    message.header.stamp.sec = 1000 + number
    message.header.stamp.nanosec = 123_456_789
    message.header.frame_id = frame_id
    return message


def number_of(message) -> int:
    """The number that :func:`image_message` was given, from the header of a result."""
    return message.header.stamp.sec - 1000
