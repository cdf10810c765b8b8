# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How old a result is when the cameras send ten times what the node can work on.

    python3 benchmarks/overload.py [--model FOLDER] [--cameras 1 3] [--seconds 60] [--jpeg]

needs a sourced ROS 2 environment and an otherwise idle machine. Keep-latest promises that a result
is at most two service times and one period of the camera old, as an image waits for the one in
work and for nothing else. The service time is the median of what the stages of ``~/timing`` take
together. It is measured twice, and so there are two bounds:

- *before*: with cameras that send half of what the node can work on, when hardly an image waits;
- *under load*: during the overload, when cameras and reception take their share of the cores.

Cameras of a car are no programs that take the cores of the node, those here are: ``--nice 19``
leaves them what the node does not want, and ``--jpeg`` lets them send what costs little to send.

What the node can work on is one over the service time, first for that half with cameras that send
one image per second, then for the overload with those that send the half. Beside the images that
were received stands how many there were for each that was worked on, and beside the service time
under load one over the rate, which has in it all that the node does between two images. In
brackets: the age of the image when the node was done, without the way to the listener. That age
is parted into what the image waited, from its stamp on, and the work on it, so that it shows
whether a bound was missed by a queue or by work that other programs held up. Prints a table in
Markdown; exits with 1 where either bound is not kept or an image has no end.
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

from soaking.listener import UNDERWAY  # noqa: E402
from soaking.processes import Process, film, perception_node  # noqa: E402

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.node.diagnostics import ENDS, STAGES  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

NAMES = ('front', 'left', 'right', 'rear')
FIRST_RATE = 1.0  # images per second and camera while the service time is first measured
FIRST_S = 10.0
LOAD_BEFORE = 0.5  # of what the node can work on
WARM_UP_S = 3.0
LATE_S = 1.0  # in which the last results of cameras that have ended come
COLUMNS = (
    *('cameras', 'capacity', 'sent', 'received', 'processed', 'dropped', 'no end'),
    *('service time before', 'under load', 'one over the rate under load'),
    *('latency p50 (age)', 'p99 (age)', 'of that waited p99', 'worked on p99'),
    *('bound before', 'under load'),
)


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
    parser.add_argument('--jpeg', action='store_true', help='cameras send CompressedImage')
    parser.add_argument('--nice', type=int, default=0, help='of the cameras')
    parser.add_argument('--times', type=float, default=10.0, help='what the node can work on')
    parser.add_argument('--seconds', type=float, default=60.0, help='of each measurement')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    print(
        f'{options.model.name}, {"JPEG" if options.jpeg else "raw"} images of {options.size} from '
        f'cameras at nice {options.nice}, {options.times:g} times the capacity\n'
    )
    print(f'| {" | ".join(COLUMNS)} |')
    print('|' + ' --- |' * len(COLUMNS))
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
        jpeg = names if options.jpeg else ()
        node = perception_node(Path(folder), options.model, names, autostart=True, jpeg=jpeg)
        try:
            kind = {'size': options.size, 'jpeg': options.jpeg, 'nice': options.nice}
            send = partial(flood, listener, Path(folder), heard, kind)
            send(FIRST_RATE, FIRST_S)
            send(LOAD_BEFORE * service(heard).capacity / count, options.seconds)
            before = service(heard)
            each = options.times * before.capacity / count
            send(each, options.seconds)
        finally:
            node.stop()
            listener.destroy_node()
            rclpy.shutdown()
    return report(heard, before, each)


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
    listener, folder: Path, heard: dict[str, Heard], kind: dict, rate: float, seconds: float
) -> None:
    """Let every camera send ``rate`` images per second; keeps what is heard after the warm-up.

    ``kind`` has further options of the cameras.
    """
    spin(listener, LATE_S)
    forget(heard)  # or a camera that starts slowly would seem to be there
    cameras = [film(folder, name, rate=rate, broken=0.0, **kind) for name in heard]
    wait_for(listener, lambda: all(h.timings for h in heard.values()), cameras)
    spin(listener, WARM_UP_S)
    forget(heard)
    spin(listener, seconds)
    for camera in cameras:
        camera.stop()


def forget(heard: dict[str, Heard]) -> None:
    """Begin anew."""
    for camera in heard.values():
        camera.latencies_ms.clear()
        camera.timings.clear()


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


@dataclass(frozen=True)
class Service:
    """How fast the node worked."""

    ms: float  # the median of all stages of an image together
    rate: float  # images per second, of all cameras

    @property
    def capacity(self) -> float:
        """Images per second that could be worked on if there always were one."""
        return 1e3 / self.ms

    def bound_ms(self, period_ms: float) -> float:
        """What keep-latest promises: the one in work, the own work, and until the next is sent."""
        return 2 * self.ms + period_ms


def worked_ms(heard: dict[str, Heard]) -> np.ndarray:
    """The stages together, of each image that was heard of since the warm-up."""
    return np.array(
        [
            sum(getattr(timing, f'{stage}_ms') for stage in STAGES)
            for camera in heard.values()
            for timing in camera.timings
        ]
    )


def service(heard: dict[str, Heard]) -> Service:
    """The service of these images."""
    return Service(float(np.median(worked_ms(heard))), rate(heard))


def report(heard: dict[str, Heard], before: Service, each: float) -> bool:
    """Print the line; whether all is as it must be. ``each`` camera sent so many per second."""
    under_load = service(heard)
    first = [h.timings[0] for h in heard.values()]
    last = [h.timings[-1] for h in heard.values()]
    received, processed, dropped = (
        sum(getattr(b, name) - getattr(a, name) for a, b in zip(first, last, strict=True))
        for name in ('received', 'processed', 'dropped')
    )
    underway = [t.received - sum(getattr(t, end) for end in ENDS) for t in last]
    p50, p99 = np.percentile(np.concatenate([h.latencies_ms for h in heard.values()]), (50, 99))
    ages = np.concatenate([[t.age_ms for t in h.timings] for h in heard.values()])
    age50, age99 = np.percentile(ages, (50, 99))
    worked = worked_ms(heard)
    bounds = [service.bound_ms(1e3 / each) for service in (before, under_load)]
    cells = [
        *(len(heard), f'{before.capacity:.1f}/s', f'{each * len(heard):.0f}/s'),
        *(f'{received} ({received / processed:.1f} ×)', processed, dropped, sum(underway)),
        *(f'{service.ms:.1f} ms' for service in (before, under_load)),
        f'{1e3 / under_load.rate:.1f} ms',
        *(f'{p50:.0f} ms ({age50:.0f})', f'{p99:.0f} ms ({age99:.0f})'),
        *(f'{np.percentile(part, 99):.0f} ms' for part in (ages - worked, worked)),
        *(f'{bound:.0f} ms, {"kept" if p99 <= bound else "NOT KEPT"}' for bound in bounds),
    ]
    print(f'| {" | ".join(map(str, cells))} |', flush=True)
    return p99 <= min(bounds) and all(0 <= count <= UNDERWAY for count in underway)


if __name__ == '__main__':
    sys.exit(main())
