# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A test's own node in a live ROS graph, and executables started beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from unidrive_perception.transport import dds_environment

REPO = Path(__file__).resolve().parents[1]


class Graph:
    """A node that records what it receives; spun only in ``spin_until``."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        os.environ.update(dds_environment())
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('listener', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def listen(self, topic, message_class, qos=50, raw=False) -> list:
        """Return the list to which every message on ``topic`` is appended, as bytes if ``raw``."""
        received = []
        self.node.create_subscription(message_class, topic, received.append, qos, raw=raw)
        return received

    def spin_until(self, condition, seconds=60.0) -> bool:
        """Receive until the condition holds; returns whether it does."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return bool(condition())

    def spin_for(self, seconds) -> None:
        self.spin_until(lambda: False, seconds)


class Executable:
    """A UniDrive executable in a process of its own; its output is in ``output`` once it ended."""

    def __init__(self, name, *args, program=None, **options) -> None:
        program = program or ('-m', f'unidrive_perception.{name}_node')
        self.output = ''
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, args)],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds=60.0) -> int:
        """Wait for its end; returns the exit code."""
        self.output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def interrupt(self, signum=signal.SIGINT, seconds=60.0) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(signum)
        return self.wait(seconds)
