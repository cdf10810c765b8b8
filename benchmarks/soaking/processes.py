# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The node, the cameras and the listeners of the soak, each a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from soaking.sampling import remove_abandoned, shared_segments

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
END_S = 30.0
READY_S, HEARING_S = 60.0, 20.0
DEAF_IN_A_ROW = 3
JUMPS = 0.003
"""Share of a camera's images after which its stamps jump back: about once in 20 s."""


class Process:
    """A Python program with its output in a file."""

    def __init__(self, log: Path, *arguments: object) -> None:
        """Start it."""
        self.log_file = log
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=REPO,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    @property
    def log(self) -> str:
        """All its output so far."""
        return self.log_file.read_text(errors='replace')

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send a signal and wait; the exit code, and the seconds to the end."""
        start = time.monotonic()
        self._process.send_signal(number)
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return code, time.monotonic() - start


def perception_node(
    folder: Path,
    model: Path,
    cameras: Sequence[str],
    autostart: bool,
    jpeg: Sequence[str] = (),
    **parameters: object,
) -> Process:
    """Start the node, but for ``parameters`` with its defaults.

    With ``autostart`` it does not wait for a manager; the cameras in ``jpeg`` send compressed
    images.
    """
    parameters |= {f'{name}.image_transport': 'compressed' for name in jpeg}
    return Process(
        folder / 'node.log',
        *('-m', 'unidrive_perception.perception_node', '--ros-args'),
        *('-p', f'model_path:={model}', '-p', f'cameras:=[{", ".join(cameras)}]'),
        *('-p', f'autostart:={str(autostart).lower()}'),
        *(word for item in parameters.items() for word in ('-p', '{}:={}'.format(*item))),
    )


def film(folder: Path, camera: str, *, number: int = 0, **options: object) -> Process:
    """Start a camera with the options of ``camera.py``; a flag is True or False."""
    arguments = []
    for name, value in options.items():
        if value is not False:
            arguments += [f'--{name}'] if value is True else [f'--{name}', value]
    log = folder / f'camera_{camera}_{number}.log'
    return Process(log, HERE / 'camera.py', camera, *arguments)


def _has_said(process: Process, words: str, seconds: float) -> bool:
    """Whether a process says such words within ``seconds``; one that ended said nothing."""
    end = time.monotonic() + seconds
    while words not in process.log:
        if not process.is_running or time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


class Crowd:
    """Cameras and listeners that come and go."""

    def __init__(
        self, folder: Path, cameras: Sequence[str], jpeg: Sequence[str], rate: float
    ) -> None:
        """Begin with nobody; the cameras in ``jpeg`` send compressed images."""
        self.started: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        self.deaf = 0  # listeners that were replaced
        self.violations: list[str] = []
        self.listeners: list[Process] = []
        self.abandoned: set[Path] = set()  # what those that were killed had of DDS
        self._cameras: dict[str, Process] = {}
        self._folder, self._names, self._jpeg, self._rate = folder, cameras, jpeg, rate
        self._calm = folder / 'calm'

    def film(self, camera: str) -> None:
        """Start a camera."""
        self.started['camera'] += 1
        number = self.started['camera']
        self._cameras[camera] = film(
            *(self._folder, camera),
            number=number,
            rate=self._rate,
            seed=number,
            calm=self._calm,
            jumps=JUMPS,
            jpeg=camera in self._jpeg,
        )

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Meanwhile all cameras send images of one size, their largest, and none is broken."""
        self._calm.touch()
        try:
            yield
        finally:
            self._calm.unlink()

    def stop_filming(self, camera: str, number: int = signal.SIGTERM) -> None:
        """End a camera."""
        self._end(self._cameras.pop(camera), number)

    def listen(self, topics: Sequence[str]) -> Process:
        """Start a listener to topics of all cameras."""
        arguments = HERE / 'listener.py', '--cameras', *self._names, '--topics', *topics
        self.started['listener'] += 1
        log = self._folder / f'listener_{self.started["listener"]}.log'
        self.listeners.append(Process(log, *arguments))
        return self.listeners[-1]

    def wait_until_ready(self, listener: Process) -> None:
        """Wait until a listener has all its subscriptions; raises TimeoutError."""
        if not _has_said(listener, 'listening', READY_S):
            raise TimeoutError(f'a listener has ended, or not begun within {READY_S:.0f} s')

    def one_that_hears(self, topics: Sequence[str]) -> Process:
        """Start a listener, and wait until it has had a result of each topic of each camera.

        One that has heard nothing at all is replaced, and counted: others that were killed can
        stop it for good (``docs/reliability.md``). Raises TimeoutError where its successors hear
        nothing either, or where something does not come.
        """
        for _ in range(DEAF_IN_A_ROW):
            listener = self.listen(topics)
            self.wait_until_ready(listener)
            if _has_said(listener, 'heard everything', HEARING_S):
                return listener
            if 'heard something' in listener.log:
                raise TimeoutError('a listener has heard something, but not everything')
            self.deaf += 1
            self.stop_listening(listener, signal.SIGKILL)
        raise TimeoutError(f'{DEAF_IN_A_ROW} listeners in a row have heard nothing')

    def stop_listening(self, listener: Process, number: int = signal.SIGTERM) -> None:
        """End a listener, and take what it says."""
        self.listeners.remove(listener)
        self._end(listener, number)
        for line in listener.log.splitlines():
            if line.startswith('{'):
                self.heard.update(json.loads(line))
            elif line.startswith('VIOLATION'):
                self.violations.append(line)

    def go(self) -> None:
        """End everybody."""
        for camera in list(self._cameras):
            self.stop_filming(camera)
        for listener in list(self.listeners):
            self.stop_listening(listener)

    def _end(self, process: Process, number: int) -> None:
        if not process.is_running:
            self.violations.append(f'a process of the soak itself ended: {process.log[-500:]}')
            return
        mapped = shared_segments(process.pid)
        code, _ = process.stop(number)
        if number == signal.SIGKILL:
            self.abandoned |= mapped
            remove_abandoned(mapped)
        if code not in (0, -number):  # it may not have begun to look at signals
            self.violations.append(
                f'a process of the soak ended with {code}: {process.log[-500:]}'
            )
