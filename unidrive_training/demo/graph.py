# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Node, player and recorder as processes of one ROS graph."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from unidrive_perception.errors import UserError
from unidrive_perception.image_topics import SUFFIX
from unidrive_perception.sources import FILE_TOPIC, BagSource, FrameSource
from unidrive_perception.transport import dds_environment, private_graph

RECORDED = ('result', 'labels', 'timing')
"""A result holds the boxes and both masks."""
_START_S = 60.0
_LAST_RESULTS_S = 2.0


@dataclass
class Replay:
    """One recording, played once to the node with the bundle in ``model``."""

    recording: Path
    source: FrameSource
    model: Path
    rate: float

    def record(self, results: Path, logs: Path) -> Path:
        """Play everything and record what the node publishes; returns the bag.

        Raises UserError with the end of a process's log when that process fails.
        """
        logs.mkdir(parents=True, exist_ok=True)
        environment = os.environ | dds_environment() | private_graph(os.getpid() % 100 + 1)
        if shutil.which('ros2'):
            self._launch(results, logs, environment)
        else:
            self._run(results, logs, environment)
        if not results.exists():
            raise UserError(f'nothing was recorded; the logs are in {logs}')
        return results

    def _launch(self, results: Path, logs: Path, environment: dict[str, str]) -> None:
        """With a ROS 2 distribution: everything through replay.launch.py."""
        transport, topic = self._camera()
        arguments = {
            'bag': self.recording.resolve(),
            'output': results.resolve(),
            'rate': self.rate,
            'model': self.model.resolve(),
            'image_topic': topic,
            'image_transport': transport,
        }
        command = ['ros2', 'launch', 'unidrive_perception', 'replay.launch.py']
        command += [f'{name}:={value}' for name, value in arguments.items()]
        launch = _Process('launch', command, logs, environment)
        try:
            launch.wait()
        finally:
            launch.stop()

    def _run(self, results: Path, logs: Path, environment: dict[str, str]) -> None:
        """Without one: the three executables as processes of their own."""
        background: list[_Process] = []
        try:
            for name, options in (('recorder', self._recorder(results)), ('node', self._node())):
                background.append(_Process(name, options, logs, environment))
            player = _Process('player', self._player(), logs, environment)
            background.insert(0, player)
            self._wait(player, background)
            time.sleep(_LAST_RESULTS_S)
        finally:
            for process in background:
                process.stop()

    def _wait(self, player: _Process, all_of_them: list[_Process]) -> None:
        while player.running():
            for process in all_of_them:
                if process is not player and not process.running():
                    process.fail()
            time.sleep(0.05)
        if player.exit_code:
            player.fail()

    def _recorder(self, results: Path) -> list[str]:
        topics = [f'/perception/{name}' for name in RECORDED]
        return [
            *_executable('bag_recorder_node'),
            str(results),
            '--topics',
            *topics,
            *_simulated_time(),
        ]

    def _node(self) -> list[str]:
        transport, topic = self._camera()
        remap = f'image:={topic}'
        parameters = [f'model_path:={self.model}', f'image_transport:={transport}']
        options = [word for parameter in parameters for word in ('-p', parameter)]
        return [*_executable('perception_node'), *_simulated_time(), '-r', remap, *options]

    def _camera(self) -> tuple[str, str]:
        """Transport and topic of the images, as the node is to be told."""
        if not isinstance(self.source, BagSource):
            return 'raw', FILE_TOPIC  # whatever the files hold, the player publishes pixels
        topic = self.source.topic
        return 'compressed' if topic.endswith(SUFFIX) else 'raw', topic.removesuffix(SUFFIX)

    def _player(self) -> list[str]:
        options = ['--clock', '--rate', str(self.rate), '--wait-for-subscribers', str(_START_S)]
        if isinstance(self.source, BagSource):
            options += ['--topics', self.source.topic]
        return [*_executable('bag_player_node'), str(self.recording), *options]


def _executable(module: str) -> list[str]:
    return [sys.executable, '-m', f'unidrive_perception.{module}']


def _simulated_time() -> list[str]:
    return ['--ros-args', '-p', 'use_sim_time:=true']


class _Process:
    """One executable of unidrive_perception with its log."""

    def __init__(
        self, name: str, command: list[str], logs: Path, environment: dict[str, str]
    ) -> None:
        self.name, self._log = name, logs / f'{name}.log'
        with self._log.open('w') as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def running(self) -> bool:
        return self.exit_code is None

    def wait(self) -> None:
        """Until it ends; UserError when it fails."""
        if self._process.wait():
            self.fail()

    def stop(self) -> None:
        """End it as Ctrl-C would, harder when it does not obey."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.running():
                self._process.send_signal(number)
                try:
                    self._process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    continue

    def fail(self) -> None:
        lines = [line for line in self._log.read_text().splitlines() if line.strip()]
        end = lines[-1] if lines else 'no output'
        raise UserError(f'the {self.name} ended with code {self.exit_code}: {end} ({self._log})')
