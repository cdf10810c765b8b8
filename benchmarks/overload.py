# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How old a result is when the cameras send ten times what the node can work on.

    python3 benchmarks/overload.py [--model FOLDER] [--cameras 1 3] [--seconds 20]

needs a sourced ROS 2 environment and an otherwise idle machine. The rate of the node is measured
first. The service time is one over the rate that is left under overload, as receiving what is
dropped costs time too. Keep-latest promises a latency of about one service time and one period of
the camera. Prints a table in Markdown; exits with 1 where the 99th percentile is beyond two
service times and a period, or an image has no end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / 'benchmarks')]

from soaking.listener import ENDS, UNDERWAY  # noqa: E402
from soaking.processes import Process, film, perception_node  # noqa: E402

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

NAMES = ('front', 'left', 'right', 'rear')
FIRST_RATE = 30.0  # images per second and camera while the rate of the node is measured
WARM_UP_S = 3.0


@dataclass
class Heard:
    """What is heard of one camera."""

    latencies_ms: list[float]  # from the stamp of an image to its detections here
    timings: list


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, default=default_bundle(), help='bundle folder')
    parser.add_argument('--cameras', type=int, nargs='+', default=[1, 3], help='how many')
    parser.add_argument('--size', default='640x360', help='WIDTHxHEIGHT of the images')
    parser.add_argument('--times', type=float, default=10.0, help='what the node can work on')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    print(
        f'{options.model.name}, images of {options.size}, {options.times:g} times the capacity\n'
    )
    print(
        '| cameras | capacity [1/s] | sent [1/s] | received | processed | dropped '
        '| service time | latency p50 | p99 | bound |'
    )
    print('|' + ' --- |' * 10)
    kept = [measure(count, options) for count in options.cameras]
    return 0 if all(kept) else 1


def measure(count: int, options: argparse.Namespace) -> bool:
    """One line of the table; whether the bound was kept and every image has its end."""
    import rclpy

    names = NAMES[:count]
    with tempfile.TemporaryDirectory() as folder:
        rclpy.init()
        listener = rclpy.create_node('overload')
        heard = {name: listen(listener, name) for name in names}
        node = perception_node(Path(folder), options.model, names, autostart=True)
        try:
            flood(listener, folder, heard, options, FIRST_RATE)
            capacity = rate(heard)
            each = options.times * capacity / count
            flood(listener, folder, heard, options, each)
        finally:
            node.stop()
            listener.destroy_node()
            rclpy.shutdown()
    return report(heard, capacity, each)


def listen(listener, camera: str) -> Heard:
    """Subscribe to the results of a camera."""
    from unidrive_msgs.msg import DetectionArray, FrameTiming

    heard = Heard([], [])

    def time_it(message) -> None:
        stamp = message.header.stamp
        heard.latencies_ms.append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)

    prefix = f'/perception/{camera}'
    listener.create_subscription(DetectionArray, f'{prefix}/detections', time_it, 100)
    listener.create_subscription(FrameTiming, f'{prefix}/timing', heard.timings.append, 100)
    return heard


def flood(
    listener, folder: str, heard: dict[str, Heard], options: argparse.Namespace, rate: float
) -> None:
    """Let every camera send ``rate`` images per second; keeps what is heard after the warm-up."""
    start = partial(film, Path(folder), rate=rate, broken=0.0, size=options.size)
    cameras = [start(name) for name in heard]
    wait_for(listener, lambda: all(h.timings for h in heard.values()), cameras)
    spin(listener, WARM_UP_S)
    for camera in heard.values():
        camera.latencies_ms.clear()
        camera.timings.clear()
    spin(listener, options.seconds)
    for camera in cameras:
        camera.stop()


def wait_for(listener, condition, cameras: list[Process]) -> None:
    """Receive until the condition holds; ends the program where it does not come to hold."""
    end = time.monotonic() + 60
    while not condition():
        spin(listener, 0.1)
        if time.monotonic() > end or not all(camera.is_running for camera in cameras):
            sys.exit(f'no results; a camera says: {cameras[0].log}')


def spin(listener, seconds: float) -> None:
    """Receive for a while."""
    import rclpy

    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        rclpy.spin_once(listener, timeout_sec=rest)


def rate(heard: dict[str, Heard]) -> float:
    """Images that the node worked on per second, of all cameras."""
    return sum(
        (len(h.timings) - 1) / (stamp_s(h.timings[-1]) - stamp_s(h.timings[0]))
        for h in heard.values()
    )


def stamp_s(message) -> float:
    """The stamp of a message in seconds."""
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


def report(heard: dict[str, Heard], capacity: float, each: float) -> bool:
    """Print the line; whether all is as it must be."""
    first = [h.timings[0] for h in heard.values()]
    last = [h.timings[-1] for h in heard.values()]
    received, processed, dropped = (
        sum(getattr(b, name) - getattr(a, name) for a, b in zip(first, last, strict=True))
        for name in ('received', 'processed', 'dropped')
    )
    underway = [t.received - sum(getattr(t, end) for end in ENDS) for t in last]
    latencies = np.concatenate([h.latencies_ms for h in heard.values()])
    p50, p99 = np.percentile(latencies, (50, 99))
    service_ms = 1e3 / rate(heard)
    bound = 2 * service_ms + 1e3 / each
    print(
        f'| {len(heard)} | {capacity:.1f} | {each * len(heard):.0f} | {received} | {processed} '
        f'| {dropped} | {service_ms:.0f} ms | {p50:.0f} ms | {p99:.0f} ms | {bound:.0f} ms |',
        flush=True,
    )
    return p99 <= bound and all(0 <= count <= UNDERWAY for count in underway)


if __name__ == '__main__':
    sys.exit(main())
