# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Do large raw images arrive? From one process to another, with each configuration of Fast DDS.

    python3 benchmarks/dds_transport.py [--size 1280x720] [--rate 30] [--count 100]

needs a sourced ROS 2 environment with rmw_fastrtps. It prints a table: images received of those
sent, and the latency from before ``publish`` to the subscriber's callback, both sides in Python.
``unidrive doctor`` measures the same for the configuration of its shell.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
from unidrive_perception.doctor.image_load import ImageLoad  # noqa: E402
from unidrive_perception.doctor.round_trip import RELIABILITIES, Plan, measure  # noqa: E402
from unidrive_perception.doctor.trials import Trials  # noqa: E402

CONFIG = REPO / 'config'
PROFILES = ('fastdds.xml', 'fastdds_small.xml')
STARTING_S = 20

# ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST makes rmw_fastrtps replace the built-in transports, and
# with them whatever FASTDDS_BUILTIN_TRANSPORTS says; a profile is used in both cases.
CONFIGURATIONS = {
    'defaults': {},
    'LARGE_DATA': {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
    'LARGE_DATA, range SUBNET': {
        'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET',
    },
}


def profile_environment(path: Path | str) -> dict[str, str]:
    """The variables that make every distribution read the profile."""
    names = ['FASTDDS_DEFAULT_PROFILES_FILE']
    if os.environ.get('ROS_DISTRO') in ('humble', 'iron', 'jazzy'):
        names.append('FASTRTPS_DEFAULT_PROFILES_FILE')
    return dict.fromkeys(names, os.path.abspath(path))


def main() -> None:
    """Run every configuration with every reliability, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', default='1280x720', help='WIDTHxHEIGHT of the rgb8 images')
    parser.add_argument('--rate', type=float, default=30.0, help='images per second')
    parser.add_argument('--count', type=int, default=100, help='images sent')
    parser.add_argument('--profile', action='append', default=[], help='another profile to try')
    compare(parser.parse_args())


def compare(options: argparse.Namespace) -> None:
    """Print the table."""
    profiles = [CONFIG / name for name in PROFILES] + [Path(path) for path in options.profile]
    configurations = {
        **CONFIGURATIONS,
        **{path.name: profile_environment(path) for path in profiles},
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('FASTDDS_', 'FASTRTPS_'))}
    load = ImageLoad.of(*map(int, options.size.split('x')), 'rgb8')
    seconds = STARTING_S + options.count / options.rate
    print(f'{options.count} images {options.size} rgb8 at {options.rate:g} Hz, depth 1')
    print('| configuration | reliability | received | latency p50 | p99 |')
    print('| --- | --- | --- | --- | --- |')
    for name, variables in configurations.items():
        environment = {**clean, **variables}
        for reliability in RELIABILITIES:
            plan = Plan(options.count, options.rate, depth=1, reliabilities=[reliability])
            with Trials(seconds) as trials:
                trips = measure(trials, load.size, plan, environment, environment, seconds)
            trip = trips[reliability]
            cells = [name, reliability, f'{len(trip.latencies)} of {trip.sent}']
            cells += [f'{v:.1f} ms' if trip.latencies else '–' for v in (trip.median, trip.p99)]
            print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
