# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch` in a process of its own, where a ROS distribution brings it; and what it needs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import cv2
import pytest
from live_node import PATIENCE, Graph, image_message, wait_until
from tiny_bundle import street, write_tiny_bundle

PACKAGE = 'unidrive_perception'


def why_not() -> str | None:
    """What `ros2 launch` lacks here to start our nodes, or None."""
    # `launch` alone would be found: as a namespace package, our own folder of launch files
    if importlib.util.find_spec('launch_ros') is None or shutil.which('ros2') is None:
        return 'ros2 launch is not installed (it is not on PyPI)'
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix(PACKAGE)
    except PackageNotFoundError:
        return f'{PACKAGE} is not installed as a ROS package'
    return None


class Launch:
    """A running `ros2 launch`; its output and that of what it starts is in ``log``."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._log = folder / 'launch.log'
        environment = {**os.environ, 'ROS_LOG_DIR': str(folder), 'PYTHONUNBUFFERED': '1'}
        with self._log.open('wb') as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end; returns the exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Press Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait_for(self, text: str) -> None:
        """Wait until something has logged ``text``."""
        try:
            wait_until(lambda: text in self.log or self.process.poll() is not None, repr(text))
        except AssertionError as error:
            raise AssertionError(f'{error}; the launch said:\n{self.log}') from None
        assert text in self.log, f'the launch ended:\n{self.log}'

    def pids(self, executable: str) -> list[int]:
        """The processes of an executable that were started, the newest last."""
        pattern = rf'\[{executable}-\d+\]: process started with pid \[(\d+)\]'
        return [int(pid) for pid in re.findall(pattern, self.log)]

    def kill(self, executable: str) -> None:
        """End the newest process of an executable, as the system does when memory is short."""
        os.kill(self.pids(executable)[-1], signal.SIGKILL)


@pytest.fixture
def launch(ros_domain, tmp_path):
    """Start one `ros2 launch` of our package, or of a file; it is interrupted at the end."""
    if reason := why_not():
        pytest.skip(reason)
    started = []

    def start(file, *arguments) -> Launch:
        where = [str(file)] if isinstance(file, Path) else [PACKAGE, file]
        started.append(Launch(tmp_path, ['ros2', 'launch', *where, *arguments]))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def graph(ros_domain):
    graph = Graph(ros_domain)
    yield graph
    graph.close()


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / 'tiny')


@pytest.fixture
def images(tmp_path):
    """A drive of twenty pictures."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(20):
        picture = street(360, 640)
        picture[:, : 10 * i + 1] = 0
        cv2.imwrite(str(folder / f'{i:03}.png'), picture[..., ::-1])
    return folder


@pytest.fixture
def filming(graph):
    """Let cameras film until the end of the test: 20 images a second on each topic."""
    from sensor_msgs.msg import Image

    ended = threading.Event()
    threads = []

    def film(camera):
        number = 0
        while not ended.wait(0.05):
            camera.publish(image_message(street(96, 160), number := number + 1))

    def start(*topics):
        for topic in topics:
            threads.append(threading.Thread(target=film, args=[graph.camera(Image, topic)]))
            threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()
