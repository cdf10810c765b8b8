# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs the perception node for long under everything that may happen to it, and checks it.

    python3 benchmarks/soak.py [--minutes 34] [--report FILE]

needs a sourced ROS 2 environment. Two cameras, one raw and one compressed, send more than the
model can work on, some of it broken, and their stamps jump back now and then; cameras and
listeners come and go, parameters change at random, the model is swapped, now and then for one that
is damaged, the lifecycle is cycled, down to freeing the model and loading it anew, and after each
cycle every camera must be heard. Prints a table in Markdown; exits with 1 where anything was not
as it must be, with 2 where the memory is not shown to stay flat (``soaking/trend.py``).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / 'benchmarks')]

from soaking.bundles import damaged_copy, renamed_copy  # noqa: E402
from soaking.disturbance import Disturbance  # noqa: E402
from soaking.graph import NodeServices  # noqa: E402
from soaking.processes import Crowd, Process, perception_node  # noqa: E402
from soaking.report import TREND_S, Soak, report, unsure, violations  # noqa: E402
from soaking.sampling import (  # noqa: E402
    Sampler,
    States,
    remove_abandoned,
    sample,
    shared_segments,
)

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

CAMERAS, JPEG = ('front', 'left'), ('left',)
CRASHES = 16
"""In the rehearsal: DDS keeps room for as many peers as there ever were at once, and some 13 are
there later at the worst, those that it has not yet given up among them."""

SETTLE_S = 60.0
"""Within which the node must be as it was at the start; a peer that was killed is given up by
DDS after 20 s."""


def main() -> int:
    """Soak and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=34.0, help='the first tenth warms up')
    parser.add_argument('--model', type=Path, default=default_bundle(), help='bundle folder')
    parser.add_argument('--rate', type=float, default=20.0, help='images per second and camera')
    parser.add_argument(
        '--cycles', type=int, help='full ones of the lifecycle; default: 100 in 30 minutes'
    )
    parser.add_argument('--seed', type=int, default=0, help='of all that is random')
    parser.add_argument('--report', type=Path, help='file for the table, beside the output')
    parser.add_argument('--keep', type=Path, help='folder for all logs, and what was sampled')
    options = parser.parse_args()
    if options.cycles is None:
        options.cycles = max(1, round(options.minutes * 100 / 30))
    os.environ.update(dds_environment())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ['ROS_LOG_DIR'] = str(folder / 'ros')
        found = soak(options, folder)
    text = report(found)
    print(text, flush=True)
    if options.report:
        options.report.write_text(text + '\n')
    return 1 if violations(found) else 2 if unsure(found) else 0


def soak(options: argparse.Namespace, folder: Path) -> Soak:
    """Start the node, disturb it, and end it."""
    services = NodeServices()
    if strangers := services.strangers():
        services.close()
        sys.exit(f'{", ".join(strangers)} would take part: set another ROS_DOMAIN_ID')
    other = renamed_copy(options.model, folder / 'other')
    node = perception_node(folder, options.model, CAMERAS, autostart=False, jpeg=JPEG)
    crowd = Crowd(folder, CAMERAS, JPEG, options.rate)
    states = States(node.pid, services.told, folder / 'states.csv')
    disturbance = Disturbance(
        node=node,
        services=services,
        crowd=crowd,
        models=(options.model, other),
        damaged=damaged_copy(options.model, folder / 'damaged'),
        cameras=CAMERAS,
        states=states,
        seed=options.seed,
    )
    own: set[Path] = set()
    try:
        services.wait_until_there()
        own = shared_segments(node.pid)  # nobody else is there yet whose memory it could have
        disturbance.rehearse(CRASHES if options.minutes * 60 >= TREND_S else 0)
        before = sample(node.pid)
        sampler = Sampler(node.pid, folder / 'samples.csv')
        start = time.monotonic()
        try:
            disturbance.run(options.minutes * 60, options.cycles)
        except TimeoutError as error:  # there is something to report all the same
            disturbance.violations.append(f'broken off: {error}')
        seconds = time.monotonic() - start
        samples = sampler.stop()
        disturbance.stop()
        after = when_settled(node, before)
    finally:
        crowd.go()
        services.close()
        time.sleep(1.0)
        mapped = shared_segments(node.pid) if node.is_running else set()
        code, ending = node.stop()
        remove_abandoned(crowd.abandoned - own)  # the node had them until now, but not made them
    return Soak(
        seconds=seconds,
        samples=samples,
        states=states.samples,
        before=before,
        after=after,
        exit_code=code,
        ending_seconds=ending,
        segments_left=sorted(str(path) for path in mapped if path.exists()),
        node_log=node.log,
        disturbance=disturbance,
        crowd=crowd,
    )


def when_settled(node: Process, before):
    """What the node holds once everybody has gone, as soon as that is no more than before."""
    end = time.monotonic() + SETTLE_S
    while True:
        now = sample(node.pid)
        if now.threads <= before.threads and now.files <= before.files:
            return now
        if time.monotonic() > end:
            return now
        time.sleep(1.0)


if __name__ == '__main__':
    sys.exit(main())
