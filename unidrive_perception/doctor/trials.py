# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trials: modules of ours at work in processes of their own, where they may crash or hang.

A trial says what it learns as lines of JSON on its standard output, each as soon as it is known,
so that much of it is heard even where the trial comes to a bad end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 300
"""After which a trial ends itself, should nobody be there to end it."""
CLEAN_END_S = 1.0
NOISE = re.compile(r'\033\[[\d;]*m|\[ERROR\] \[[\d.]+\] ')
"""Colours of DDS, and the beginning of a line of a ROS log."""


class Told(NamedTuple):
    """What a trial said; ``problem`` says how it ended badly, '' where it did not.

    ``late``: it did not end in its time, which may be the fault of a busy machine.
    """

    values: dict[str, Any]
    problem: str = ''
    late: bool = False


class Trial:
    """A process at work; ``result`` waits for what it tells."""

    def __init__(
        self, module: str, args: list[str], environment: Mapping[str, str], end: float
    ) -> None:
        """Start ``python -m module``, which must be done at ``end`` of the monotonic clock."""
        paths = filter(None, [str(PACKAGE_ROOT), environment.get('PYTHONPATH')])
        self._began, self._end = time.monotonic(), end
        self._told: Told | None = None
        self._process = subprocess.Popen(
            [sys.executable, '-m', f'{__package__}.{module}', *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors='replace',
            env={**environment, 'PYTHONPATH': os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is ours; we end what we started
        )

    def result(self) -> Told:
        """Wait for its end, at most until its time is up."""
        if self._told is None:
            try:
                out, err = self._process.communicate(
                    timeout=max(0.1, self._end - time.monotonic())
                )
                self._told = Told(_merged(out), _ending(self._process.returncode, err))
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - self._began
                out, _ = self._stop()
                self._told = Told(_merged(out), f'took longer than {seconds:.0f} s', late=True)
        return self._told

    def finish(self, within: float) -> Told:
        """Ask it to end, if it has not done so in ``within`` seconds: no problem that it did."""
        if self._told is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
            ended = self._process.returncode
            out, err = self._stop()
            self._told = Told(_merged(out), _ending(ended or 0, err))
        return self._told

    def stop(self) -> None:
        """End it, and whatever it started."""
        if self._told is None:
            self._told = Told(_merged(self._stop()[0]), 'stopped')

    def _stop(self) -> tuple[str, str]:
        """SIGTERM first: a DDS participant that is killed leaves its memory in /dev/shm."""
        for number, patience in ((signal.SIGTERM, CLEAN_END_S), (signal.SIGKILL, CLEAN_END_S)):
            if self._process.poll() is None:
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.communicate(timeout=patience)
        return '', ''


class Trials:
    """Starts trials within a time that is limited for all, and ends those that are left."""

    def __init__(self, seconds: float) -> None:
        """All must be done in so many seconds from now."""
        self.began = time.monotonic()
        self._end = self.began + seconds
        self._started: list[Trial] = []

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        for trial in self._started:
            trial.stop()

    @property
    def left(self) -> float:
        """Seconds that are left for all."""
        return max(0.0, self._end - time.monotonic())

    def start(
        self,
        module: str,
        *args: object,
        seconds: float,
        environment: Mapping[str, str] = os.environ,
    ) -> Trial:
        """Start a module of this package; it gets ``seconds``, less where fewer are left."""
        end = min(time.monotonic() + seconds, self._end)
        trial = Trial(module, [str(arg) for arg in args], environment, end)
        self._started.append(trial)
        return trial


def say(**values: Any) -> None:
    """In a trial: tell something."""
    print(json.dumps(values), flush=True)


def run_trial(work: Callable[[list[str]], None]) -> None:
    """In a trial: do the work, and end in any case."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST_S)
    work(sys.argv[1:])
    sys.stdout.flush()


def _merged(text: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for line in (text or '').splitlines():
        if line.startswith('{'):  # ROS and libraries may print too
            with contextlib.suppress(json.JSONDecodeError):
                values.update(json.loads(line))
    return values


def _ending(code: int | None, errors: str | None) -> str:
    """A few words on a bad end, '' for a good one."""
    if not code:
        return ''
    if code < 0:
        return f'crashed with {signal.Signals(-code).name}'
    lines = [NOISE.sub('', line).strip() for line in (errors or '').splitlines()]
    lines = [line for line in lines if line]
    return lines[-1] if lines else f'exit code {code}'
