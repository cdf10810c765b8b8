# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of the perception node when many of its listeners crash at the same moment.

    python3 benchmarks/crashes.py [--rounds 100] [--busy 3] [--watchdog 20]

needs a sourced ROS 2 environment. In each round eight listeners to all topics are killed (SIGKILL)
at once, on a machine that is kept busy; then both cameras must be heard again. When the node ends,
it is started again after 2 s, as ``respawn:=true`` does. Prints how long that took; exits with 1
when the cameras were not heard within 90 s, after which node and cameras begin anew.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / 'benchmarks')]

from soaking.disturbance import TOPICS  # noqa: E402
from soaking.graph import NodeServices  # noqa: E402
from soaking.processes import Crowd, perception_node  # noqa: E402
from soaking.sampling import remove_abandoned, shared_segments  # noqa: E402

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

CAMERAS, JPEG = ('front', 'left'), ('left',)
LISTENERS = 8
RATE = 20.0  # images per second and camera
RESPAWN_S, LISTEN_S, PATIENCE_S = 2.0, 2.0, 90.0
RESULTS = 3  # of each camera; one may be from before
LOOP = 'while True: pass'

Hear = Callable[[int, float], None]


class World:
    """Two cameras, a node that is started again when it ends, and one listener that stays."""

    def __init__(self, folder: Path, watchdog_s: float) -> None:
        """Begin with nobody."""
        self._folder, self._watchdog_s = folder, watchdog_s
        self.silence = ''  # why a camera was not heard
        self.ends: list[str] = []  # the logs of nodes that ended by themselves
        self._crowd = Crowd(folder, CAMERAS, JPEG, RATE)

    def __enter__(self) -> World:
        """Start them all."""
        self._start_node()
        for camera in CAMERAS:
            self._crowd.film(camera)
        self._crowd.wait_until_ready(self._crowd.listen(TOPICS))
        return self

    def __exit__(self, *_: object) -> None:
        """End everybody, the node last."""
        self._crowd.go()
        self._node.stop(signal.SIGTERM)
        remove_abandoned(self._crowd.abandoned | self._mapped)
        for violation in self._crowd.violations:
            print(violation, flush=True)

    def _start_node(self) -> None:
        self._mapped: set[Path] = set()  # shared memory that the node would leave
        self._node = perception_node(
            *(self._folder, default_bundle(), CAMERAS), True, JPEG, watchdog_s=self._watchdog_s
        )

    def crash(self) -> None:
        """Let the listeners come, and kill them all."""
        listeners = [self._crowd.listen(TOPICS) for _ in range(LISTENERS)]
        for listener in listeners:
            self._crowd.wait_until_ready(listener)
        if self._node.is_running:
            self._mapped = shared_segments(self._node.pid)
        for listener in listeners:
            self._crowd.stop_listening(listener, signal.SIGKILL)

    def seconds_until_heard(self, hear: Hear) -> float:
        """Until each camera is heard again, by a node that was started again if it ended."""
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE_S:
            if not self._node.is_running:
                self.ends.append(self._node.log)
                remove_abandoned(self._mapped)
                time.sleep(RESPAWN_S)
                self._start_node()
            try:
                hear(RESULTS, LISTEN_S)
                return time.monotonic() - start
            except TimeoutError as error:
                self.silence = f'{error}; the node said last: {last_words(self._node.log)}'
        return math.inf


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=100)
    parser.add_argument('--busy', type=int, default=3, help='programs that want a core each')
    parser.add_argument('--watchdog', type=float, default=20.0, help='seconds; 0 for none')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    services = NodeServices()
    if strangers := services.strangers():
        services.close()
        sys.exit(f'{", ".join(strangers)} would take part: set another ROS_DOMAIN_ID')
    busy = [subprocess.Popen([sys.executable, '-c', LOOP]) for _ in range(options.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder, services.timings(CAMERAS) as hear:
            return watch(Path(folder), hear, options.rounds, options.watchdog)
    finally:
        for process in busy:
            process.kill()
        services.close()


def watch(folder: Path, hear: Hear, rounds: int, watchdog_s: float) -> int:
    """Go through the rounds and print what came of them."""
    went_on: list[float] = []
    restarted: list[float] = []
    while (done := len(went_on) + len(restarted)) < rounds:
        with World(folder, watchdog_s) as world:
            hear(RESULTS, PATIENCE_S)
            go_through(world, hear, range(done + 1, rounds + 1), went_on, restarted)
    back = [gap for gap in restarted if gap < math.inf]
    lost = (went_on + restarted).count(math.inf)
    again = f', and both cameras were heard again after at most {max(back):.1f} s' if back else ''
    print(
        f'{rounds} rounds: {len(restarted)} times the node ended{again}; else they were heard '
        f'after {statistics.median(went_on or [math.nan]):.1f} s (median); not again {lost} times'
    )
    return 1 if lost else 0


def go_through(
    world: World, hear: Hear, numbers: range, went_on: list[float], restarted: list[float]
) -> None:
    """Let listeners crash until both cameras are not heard again; notes how long that took."""
    for number in numbers:
        world.crash()
        ended = len(world.ends)
        gap = world.seconds_until_heard(hear)
        (went_on if len(world.ends) == ended else restarted).append(gap)
        for log in world.ends[ended:]:
            print(f'round {number}: the node ended: {last_words(log)}', flush=True)
        if gap == math.inf:
            print(f'round {number}: for {PATIENCE_S:.0f} s {world.silence}', flush=True)
            return


def last_words(log: str) -> str:
    """Why a node ended: what its watchdog says, or its last line."""
    lines = log.splitlines()
    barked = [line for line in lines if line.startswith('Timeout') or 'watchdog_s' in line]
    return (barked or lines or ['nothing'])[-1]


if __name__ == '__main__':
    sys.exit(main())
