# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What makes the memory of the perception node grow: one thing at a time, in a node of its own.

    python3 benchmarks/node_memory.py [--times 60] [--only cycles killed]

needs a sourced ROS 2 environment. The soak does everything at once; here it is

- *cycles*: the lifecycle, from unconfigured to active and back;
- *ended*, *killed*: a listener to all topics comes and ends, by SIGTERM or SIGKILL;
- *cameras*, *cameras_killed*: a camera comes and ends, likewise;
- *work*: some results of two cameras for a listener to all topics;
- *swaps*: another model is loaded and takes over;
- *parameters*: two are changed.

Each is judged unconfigured, after it has happened once, half-way and after the last time: what
the process holds alone (``RssAnon``), and its heap in use by its own account. Peers that were
killed are given up by DDS only after 20 s: those of that time are in it. The last line is a
node that has worked for two cameras and is paused: when two listeners have taken their results,
when one has stopped taking them, and once that was killed and DDS has given it up.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / 'benchmarks')]

from soaking.bundles import renamed_copy  # noqa: E402
from soaking.disturbance import (  # noqa: E402
    FULL_CYCLE,
    FULL_HOUSE,
    GIVEN_UP_S,
    PATIENCE_S,
    PAUSE_S,
    TOPICS,
)
from soaking.graph import NodeServices  # noqa: E402
from soaking.processes import Crowd, Process, perception_node  # noqa: E402
from soaking.sampling import remove_abandoned, typical_sample  # noqa: E402

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

CAMERAS = ('front', 'left')
RATE = 20.0  # images per second and camera
TAKEN_OVER = ', warm after'
UP, DOWN = ('configure', 'activate'), ('deactivate', 'cleanup')


@dataclass
class Rig:
    """A node, and who comes and goes around it."""

    node: Process
    services: NodeServices
    crowd: Crowd
    calm: Path
    models: Iterator[Path]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def go(self, *labels: str) -> None:
        """Go through transitions."""
        for label in labels:
            if not self.services.change_state(label):
                sys.exit(f'{label} failed: {self.node.log}')

    def rest(self) -> tuple[float, float]:
        """Memory of the node alone, and its heap in use, unconfigured; then it is active again."""
        self.go(*DOWN)
        time.sleep(PAUSE_S)
        held = self.held_mb(), float(self.services.told()['heap in use [MB]'])
        self.go(*UP)
        return held

    def held_mb(self) -> float:
        """Memory of the node alone."""
        return typical_sample(self.node.pid, 0.0).anonymous

    def paused_mb(self) -> float:
        """Memory of the node alone after it has worked, with no image in work."""
        self.services.hear_timings(CAMERAS, FULL_HOUSE)
        self.services.enable(False)
        time.sleep(PAUSE_S)
        held = self.held_mb()
        self.services.enable(True)
        return held

    def listener_that(self, ends_by: int) -> Callable[[], None]:
        """Let a listener come, and end by a signal."""

        def do() -> None:
            listener = self.crowd.listen(TOPICS)
            self.crowd.wait_until_ready(listener)
            self.crowd.stop_listening(listener, ends_by)

        return do

    def work(self) -> None:
        """Let both cameras have some results."""
        self.services.hear_timings(CAMERAS, FULL_HOUSE)

    def swap(self) -> None:
        """Let another model take over."""
        told, end = self.node.log.count(TAKEN_OVER), time.monotonic() + PATIENCE_S
        self.set_parameters({'model_path': str(next(self.models))})
        while self.node.log.count(TAKEN_OVER) == told:
            if time.monotonic() > end or not self.node.is_running:
                sys.exit(f'no other model took over: {self.node.log}')
            time.sleep(0.05)

    def change(self) -> None:
        """Change two parameters."""
        number = next(self.numbers)
        self.set_parameters({'overlay_opacity': number % 100 / 100, 'grid_rows': 1 + number % 40})

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Set parameters."""
        if refused := self.services.set_parameters(values):
            sys.exit(f'{values} were refused: {refused}')

    def camera_that(self, ends_by: int) -> Callable[[], None]:
        """Let a camera come, and end by a signal."""

        def do() -> None:
            self.crowd.film(CAMERAS[0])
            self.services.hear_timings(CAMERAS[:1], 1)
            self.crowd.stop_filming(CAMERAS[0], ends_by)

        return do


@contextmanager
def rig(model: Path) -> Iterator[Rig]:
    """Start a node that waits for its transitions; everybody ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        services = NodeServices()
        if strangers := services.strangers():
            services.close()
            sys.exit(f'{", ".join(strangers)} would take part: set another ROS_DOMAIN_ID')
        node = perception_node(Path(folder), model, CAMERAS, autostart=False)
        crowd = Crowd(Path(folder), CAMERAS, (), RATE)
        try:
            services.wait_until_there()
            models = itertools.cycle([renamed_copy(model, Path(folder) / 'other'), model])
            yield Rig(node, services, crowd, Path(folder) / 'calm', models)
        finally:
            crowd.go()
            services.close()
            node.stop()
            remove_abandoned(crowd.abandoned)


def again_and_again(model: Path, cause: str, times: int) -> str:
    """The line of one cause."""
    with rig(model) as r:
        do = {
            'cycles': lambda: r.go(*FULL_CYCLE),
            'ended': r.listener_that(signal.SIGTERM),
            'killed': r.listener_that(signal.SIGKILL),
            'cameras': r.camera_that(signal.SIGTERM),
            'cameras_killed': r.camera_that(signal.SIGKILL),
            'work': r.work,
            'swaps': r.swap,
            'parameters': r.change,
        }[cause]
        if cause == 'work':
            for camera in CAMERAS:
                r.crowd.film(camera)
            r.crowd.listen(TOPICS)
        r.go(*UP)
        do()
        held = [r.rest()]
        for number in range(1, times + 1):
            do()
            if number in (times // 2, times):
                held.append(r.rest())
    memory, in_use = zip(*held, strict=True)
    cells = [f'{mb:.1f} MB' for mb in memory] + [f'{mb:.2f} MB' for mb in in_use]
    return f'| {cause}, {times} times | {" | ".join(cells)} |'


def full(model: Path) -> list[float]:
    """Memory when results were taken, are still to be taken, and will never be taken."""
    with rig(model) as r:
        r.go(*UP)
        r.calm.touch()
        for camera in CAMERAS:
            r.crowd.film(camera)
        r.crowd.one_that_hears(TOPICS)
        listener = r.crowd.one_that_hears(TOPICS)
        held = [r.paused_mb()]
        listener.send(signal.SIGSTOP)
        held.append(r.paused_mb())
        r.crowd.stop_listening(listener, signal.SIGKILL)
        time.sleep(GIVEN_UP_S)
        return [*held, r.paused_mb()]


def main() -> None:
    """Measure and print."""
    causes = (
        *('cycles', 'ended', 'killed', 'cameras', 'cameras_killed', 'work', 'swaps'),
        *('parameters', 'full'),
    )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, default=default_bundle(), help='bundle folder')
    parser.add_argument('--times', type=int, default=60, help='how often each is done')
    parser.add_argument('--only', nargs='+', choices=causes, default=causes)
    options = parser.parse_args()
    os.environ.update(dds_environment())
    print('| | memory before | half-way | after | in use before | half-way | after |')
    print('| --- ' * 7 + '|')
    for cause in options.only:
        if cause != 'full':
            print(again_and_again(options.model, cause, options.times), flush=True)
    if 'full' in options.only:
        taken, full_mb, given_up = full(options.model)
        print(
            f'\nPaused after work: {taken:.0f} MB; {full_mb:.0f} MB with a listener that has '
            f'stopped; {given_up:.0f} MB once it was given up'
        )


if __name__ == '__main__':
    main()
