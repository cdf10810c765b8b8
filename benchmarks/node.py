# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Rate and latency of the perception node, and how much of its time is not the model's.

    python3 benchmarks/node.py [--model FOLDER] [--seconds 15] [--image PICTURE]

needs a sourced ROS 2 environment and an idle machine. For 1 and 4 cameras, raw and compressed, it
starts the node in a process of its own, sends it images over DDS and hears its results here: at
saturation (each result brings the next image, so one always waits) and at a fixed rate. Beside it,
the same with a relay that does nothing but publish each image again: the floor that rclpy and DDS
set. Prints tables in Markdown.

The stages are those of the thread that works on images. Taking an image from DDS and handing it
over is done by another thread and is no stage, so all but the model is judged from outside:

- *1/rate − inference*, saturated: what an image costs the node beside its share of inference, in
  mean; what both threads do at the same time counts once.
- *p50 − inference − relay's p50*, at the fixed rate: what the node adds to the latency of the
  relay, which receives and publishes an image too, beside inference; medians.
"""

from __future__ import annotations

import argparse
import array
import itertools
import os
import struct
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / 'benchmarks')]

from soaking.processes import Process  # noqa: E402

from unidrive_perception.bundle import default_bundle  # noqa: E402
from unidrive_perception.node.diagnostics import STAGES  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

OUTPUTS = {
    'detections': 'DetectionArray',
    'semantic_mask': 'SegmentationMask',
    'drivable_mask': 'SegmentationMask',
    'result': 'PerceptionResult',
}
RATE_COLUMNS = (
    *('cameras', 'transport', '', 'saturated', 'latency at', 'p50', 'p99', 'answered'),
    *('first result', '1/rate − inference', "p50 − inference − relay's p50"),
)
NAMES = ('front', 'left', 'right', 'rear')
WARM_UP = 5  # images that are sent before the measurement
START_S = 60.0  # within which there must be a result


@dataclass
class Run:
    """What is measured in one go."""

    options: argparse.Namespace
    cameras: int
    transport: str
    rate: float  # of each camera; 0: saturated
    relay: bool = False
    latencies: list[float] = field(default_factory=list)  # ms, image sent -> last output heard
    timings: list = field(default_factory=list)
    seconds: float = 0.0
    sent: int = 0
    started: float = 0.0  # seconds from the start of the process to the first result

    @property
    def names(self) -> list[str]:
        """Names of the cameras; a single one has none."""
        return [''] if self.cameras == 1 else list(NAMES[: self.cameras])

    @property
    def inference_ms(self) -> np.ndarray:
        """Of each image, (N,); of one in a batch, that of the whole batch, which it waits for."""
        return np.array([timing.inference_ms for timing in self.timings])

    @property
    def inference_shares_ms(self) -> np.ndarray:
        """Of each image, (N,); of one in a batch, its share."""
        return self.inference_ms / [timing.batch_size for timing in self.timings]


def main() -> None:
    """Measure and print."""
    options = arguments()
    os.environ.update(dds_environment())
    rgb = picture(options)
    print(f'{options.model.name}, {options.size}, outputs {", ".join(options.outputs)}\n')
    runs = []
    cases = itertools.product(options.cameras, options.transports)
    for cameras, transport in cases:
        for rate in (0.0, options.rate / cameras):
            for relay in (True, False):
                run = Run(options, cameras, transport, rate, relay)
                measure(run, rgb)
                runs.append(run)
    print_rates(runs)
    print_stages([run for run in runs if not run.relay])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, default=default_bundle(), help='bundle folder')
    parser.add_argument('--size', default='1280x720', help='WIDTHxHEIGHT of the images')
    parser.add_argument('--rate', type=float, default=10.0, help='images/s of all cameras')
    parser.add_argument('--seconds', type=float, default=15.0, help='of each run')
    parser.add_argument('--cameras', type=int, nargs='+', default=[1, 4])
    parser.add_argument(
        '--transports', nargs='+', choices=('raw', 'compressed'), default=['raw', 'compressed']
    )
    parser.add_argument('--threads', type=int, default=0, help='of the model; 0: all cores')
    parser.add_argument(
        '--outputs', nargs='+', choices=OUTPUTS, help='heard by us (default: all but result)',
        default=['detections', 'semantic_mask', 'drivable_mask'],
    )  # fmt: skip
    parser.add_argument('--parameters', nargs='*', default=[], help='NAME:=VALUE for the node')
    parser.add_argument('--image', type=Path, help='picture to send; default: drawn')
    return parser.parse_args()


def picture(options: argparse.Namespace) -> np.ndarray:
    """The image to send, (H, W, 3) uint8 RGB."""
    width, height = map(int, options.size.split('x'))
    if options.image:
        bgr = cv2.imread(str(options.image))
        if bgr is None:
            sys.exit(f'{options.image} is no picture that OpenCV can read')
        return cv2.cvtColor(cv2.resize(bgr, (width, height)), cv2.COLOR_BGR2RGB)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def command(run: Run) -> list[str]:
    """The Python program that is measured, with its arguments."""
    if run.relay:
        return [str(REPO / 'benchmarks' / 'relay.py'), run.transport, *run.names]
    parameters = [f'model_path:={run.options.model}', f'threads:={run.options.threads}']
    parameters += [f'image_transport:={run.transport}', *run.options.parameters]
    if run.cameras > 1:
        parameters.append(f'cameras:=[{",".join(run.names)}]')
    words = [word for parameter in parameters for word in ('-p', parameter)]
    return ['-m', 'unidrive_perception.perception_node', '--ros-args', *words]


def measure(run: Run, rgb: np.ndarray) -> None:
    """Start the process, exchange images and results with it, end it."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        process = Process(Path(folder) / 'log', *command(run))
        try:
            Exchange(run, rgb, begin, process).go()
        finally:
            process.stop()


class Exchange:
    """The cameras and the listener, in this process."""

    def __init__(self, run: Run, rgb: np.ndarray, begin: float, process: Process) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._run, self._begin, self._process = run, begin, process
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('benchmark', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._missing: dict[int, int] = {}  # stamp -> outputs that are still to come
        self._free: deque[str] = deque()
        self._message, self._type = image_message(run.transport, rgb)
        self._cameras = {name: self._camera(name) for name in run.names}
        for name in run.names:
            self._listen(name)

    def go(self) -> None:
        """Wait for the first result, then measure."""
        run, cameras = self._run, list(self._cameras)
        while not run.latencies:
            self._check(time.monotonic() - self._begin < START_S)
            self._send(cameras[0])
            self._spin(0.05)
        run.started = time.monotonic() - self._begin
        for name in cameras * WARM_UP:
            self._send(name)
            self._spin(0.3)
        run.latencies.clear()
        run.timings.clear()
        self._free.clear()
        begin = time.monotonic()
        if run.rate:
            self._at_rate(begin)
        else:
            self._saturated(begin)
        run.seconds = time.monotonic() - begin
        self._spin(0.5)
        self._check(bool(run.latencies))
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _check(self, has_results: bool) -> None:
        """End the program with what the process says, where that has ended or gives no results."""
        if not (self._process.is_running and has_results):
            state = 'gives no results' if self._process.is_running else 'ended'
            sys.exit(f'{" ".join(command(self._run))} {state}:\n{self._process.log[-2000:]}')

    def _at_rate(self, begin: float) -> None:
        """Each camera at its rate, one after the other."""
        run, due = self._run, begin
        period = 1 / run.rate / run.cameras
        for name in itertools.cycle(self._cameras):
            if due - begin >= run.options.seconds:
                return
            self._send(name)
            run.sent += 1
            due += period
            self._spin(due - time.monotonic())

    def _saturated(self, begin: float) -> None:
        """Two images of each camera on their way at any time: one in work, one that waits."""
        self._free.extend([*self._cameras] * 2)
        last = begin
        while (now := time.monotonic()) - begin < self._run.options.seconds:
            if self._free:
                self._send(self._free.popleft())
                self._run.sent += 1
                last = now
            elif now - last > 1.0:  # one was dropped
                self._free.extend(self._cameras)
            self._spin(0.0005)

    def _send(self, name: str) -> None:
        stamp = time.time_ns()
        header = self._message.header
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
        header.frame_id = name
        self._missing[stamp] = len(self._run.options.outputs)
        self._cameras[name].publish(self._message)

    def _spin(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._executor.spin_once(timeout_sec=max(0.0, seconds))
        while (rest := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=rest)

    def _camera(self, name: str):
        from rclpy.qos import QoSProfile, QoSReliabilityPolicy

        qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        suffix = '/compressed' if self._run.transport == 'compressed' else ''
        topic = f'/{name}/image'.replace('//', '/') + suffix
        return self._node.create_publisher(self._type, topic, qos)

    def _listen(self, name: str) -> None:
        import unidrive_msgs.msg as own

        prefix = f'/perception/{name}/'.replace('//', '/')
        if self._run.relay:  # one output; the others are counted as if they came with it
            outputs, weight = {'relayed': self._type}, len(self._run.options.outputs)
        else:
            outputs, weight = {n: getattr(own, OUTPUTS[n]) for n in self._run.options.outputs}, 1
            self._node.create_subscription(
                own.FrameTiming, f'{prefix}timing', self._run.timings.append, 100
            )
        for output, kind in outputs.items():
            self._node.create_subscription(
                kind, prefix + output, lambda data: self._heard(name, data, weight), 5, raw=True
            )

    def _heard(self, name: str, data: bytes, weight: int) -> None:
        seconds, nanoseconds = struct.unpack_from('<iI', data, 4)  # behind the CDR's own header
        stamp = seconds * 10**9 + nanoseconds
        self._missing[stamp] -= weight
        if not self._missing[stamp]:
            del self._missing[stamp]
            self._run.latencies.append((time.time_ns() - stamp) / 1e6)
            self._free.append(name)


def image_message(transport: str, rgb: np.ndarray):
    """The message to send and its class."""
    from sensor_msgs.msg import CompressedImage, Image

    if transport == 'compressed':
        data = cv2.imencode('.jpg', rgb[..., ::-1])[1].tobytes()
        message = CompressedImage(format='rgb8; jpeg compressed bgr8')
        message.data = array.array('B', data)
        return message, CompressedImage
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    message.data = array.array('B', rgb.tobytes())
    return message, Image


def print_rates(runs: list[Run]) -> None:
    """Rate at saturation, latency at the fixed rate, beside the relay."""
    print(f'| {" | ".join(RATE_COLUMNS)} |')
    print('|' + ' --- |' * len(RATE_COLUMNS))
    pairs = [(a, b) for a in runs for b in runs if same(a, b) and not a.rate and b.rate]
    floors = {(b.cameras, b.transport): b for _, b in pairs if b.relay}
    for full, fixed in pairs:
        own = ('', '')
        if not full.relay:
            floor = floors[fixed.cameras, fixed.transport]
            own = (f'{ms:.1f} ms' for ms in (beside_inference_ms(full), added_ms(fixed, floor)))
        cells = (
            *(full.cameras, full.transport, 'relay (floor)' if full.relay else '**node**'),
            f'{len(full.latencies) / full.seconds:.1f} images/s',
            f'{fixed.cameras} × {fixed.rate:g} Hz',
            *(f'{np.percentile(fixed.latencies, p):.1f} ms' for p in (50, 99)),
            f'{len(fixed.latencies)} of {fixed.sent}',
            f'{fixed.started:.1f} s',
            *own,
        )
        print(f'| {" | ".join(map(str, cells))} |')


def beside_inference_ms(full: Run) -> float:
    """What an image costs a saturated node beside its share of inference."""
    return 1e3 * full.seconds / len(full.latencies) - float(full.inference_shares_ms.mean())


def added_ms(fixed: Run, floor: Run) -> float:
    """What the node adds beside inference to the latency of the relay at the same rate."""
    node, relay = (np.median(run.latencies) for run in (fixed, floor))
    return float(node - np.median(fixed.inference_ms) - relay)


def same(a: Run, b: Run) -> bool:
    """Whether two runs differ in their rate only."""
    return (a.cameras, a.transport, a.relay) == (b.cameras, b.transport, b.relay)


def print_stages(runs: list[Run]) -> None:
    """Where the time of an image goes in the thread that works on it, medians."""
    print('\n| cameras | transport | rate |', ' | '.join(STAGES), '| stages but inference |')
    print('|' + ' --- |' * (len(STAGES) + 4))
    for run in runs:
        medians = [np.median([getattr(t, f'{s}_ms') for t in run.timings]) for s in STAGES]
        own = np.median(
            [sum(getattr(t, f'{s}_ms') for s in STAGES if s != 'inference') for t in run.timings]
        )
        rate = f'{run.rate:g} Hz' if run.rate else 'saturated'
        cells = ' | '.join(f'{m:.2f} ms' for m in medians)
        print(f'| {run.cameras} | {run.transport} | {rate} | {cells} | {own:.2f} ms |')


if __name__ == '__main__':
    main()
