# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Rate and latency of the perception node, and how much of its time is not the model's.

    python3 benchmarks/node_latency.py [--model FOLDER] [--rate 10] [--seconds 20]

needs a sourced ROS 2 environment. It starts the node in a process of its own, sends it images over
DDS, hears all its results in this process, and prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import array
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from unidrive_perception.bundle import Bundle, default_bundle  # noqa: E402
from unidrive_perception.messages import RosFactory, prediction_messages  # noqa: E402
from unidrive_perception.predictor import Predictor  # noqa: E402
from unidrive_perception.transport import dds_environment  # noqa: E402

STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'publish')
OUTPUTS = {
    'detections': 'DetectionArray',
    'semantic_mask': 'SegmentationMask',
    'drivable_mask': 'SegmentationMask',
    'result': 'PerceptionResult',
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', type=Path, default=default_bundle(), help='bundle folder')
    parser.add_argument('--size', default='1280x720', help='WIDTHxHEIGHT of the images')
    parser.add_argument('--rate', type=float, default=10.0, help='images per second')
    parser.add_argument('--seconds', type=float, default=20.0, help='how long to send')
    parser.add_argument('--transport', choices=('raw', 'compressed'), default='raw')
    parser.add_argument('--threads', type=int, default=0, help='of the model; 0: all cores')
    parser.add_argument(
        '--outputs', nargs='+', choices=OUTPUTS, default=list(OUTPUTS), help='heard by us'
    )
    parser.add_argument('--image', type=Path, help='picture to send; default: drawn')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    rgb = picture(options)
    print(f'{options.model.name}, {options.size} {options.transport} at {options.rate:g} Hz\n')
    measure_node(options, rgb)
    measure_building(options, rgb)


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


def measure_node(options: argparse.Namespace, rgb: np.ndarray) -> None:
    """The whole way: image in one process, results of the node in another."""
    node = subprocess.Popen(
        [
            *(sys.executable, '-m', 'unidrive_perception.perception_node', '--ros-args'),
            *('-p', f'model_path:={options.model}', '-p', f'threads:={options.threads}'),
            *('-p', f'image_transport:={options.transport}'),
        ],
        cwd=REPO,
        stderr=subprocess.DEVNULL,
    )
    try:
        latencies, timings, sent = exchange(options, rgb)
    finally:
        node.send_signal(signal.SIGINT)
        node.wait()
    report(options, latencies, timings, sent)


def exchange(options: argparse.Namespace, rgb: np.ndarray):
    """Send the images; ``latencies`` by topic in ms, the FrameTiming messages, images sent."""
    import rclpy
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy
    from sensor_msgs.msg import CompressedImage, Image

    import unidrive_msgs.msg as own

    rclpy.init()
    node = rclpy.create_node('benchmark')
    latencies: dict[str, list[float]] = {name: [] for name in options.outputs}
    timings: list = []

    def hear(name):
        def callback(message):
            stamp = message.header.stamp
            latencies[name].append((time.time_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)

        node.create_subscription(getattr(own, OUTPUTS[name]), f'/perception/{name}', callback, 5)

    for name in options.outputs:
        hear(name)
    node.create_subscription(own.FrameTiming, '/perception/timing', timings.append, 100)
    message, topic = image_message(options, rgb, Image, CompressedImage)
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(type(message), topic, qos)
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    wait(rclpy, node, time.monotonic() + 1.0)
    sent = round(options.rate * options.seconds)
    due = time.monotonic()
    for _ in range(sent):
        now = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
        publisher.publish(message)
        due += 1 / options.rate
        wait(rclpy, node, due)
    wait(rclpy, node, time.monotonic() + 1.0)
    node.destroy_node()
    rclpy.shutdown()
    return latencies, timings, sent


def wait(rclpy, node, until: float) -> None:
    """Receive until a moment of the steady clock."""
    while (rest := until - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=rest)


def image_message(options, rgb, raw_type, compressed_type):
    """The message to send and its topic."""
    height, width = rgb.shape[:2]
    if options.transport == 'compressed':
        data = cv2.imencode('.jpg', rgb[..., ::-1])[1].tobytes()
        message = compressed_type(format='rgb8; jpeg compressed bgr8')
        message.data = array.array('B', data)
        return message, '/image/compressed'
    message = raw_type(height=height, width=width, encoding='rgb8', step=3 * width)
    message.data = array.array('B', rgb.tobytes())
    return message, '/image'


def report(options: argparse.Namespace, latencies: dict, timings: list, sent: int) -> None:
    """Print what happened to the images and where the time went."""
    if not timings:
        sys.exit('no results: does the node start with this model?')
    last = timings[-1]
    print('| sent | received | processed | dropped | bad | failed | rate |')
    print('|' + ' --- |' * 7)
    rate = last.processed / options.seconds
    counts = (sent, last.received, last.processed, last.dropped, last.bad, last.failed)
    print(f'| {" | ".join(map(str, counts))} | {rate:.1f} Hz |\n')
    print('| from image to | heard | p50 | p99 |\n| --- | --- | --- | --- |')
    for name, values in latencies.items():
        if values:
            print(f'| {name} | {len(values)} | {p(values, 50)} | {p(values, 99)} |')
    print('\n| stage | p50 | p99 |\n| --- | --- | --- |')
    for stage in STAGES:
        values = [getattr(t, f'{stage}_ms') for t in timings]
        print(f'| {stage} | {p(values, 50)} | {p(values, 99)} |')
    rest = [sum(getattr(t, f'{s}_ms') for s in STAGES if s != 'inference') for t in timings]
    print(f'| all but inference | {p(rest, 50)} | {p(rest, 99)} |')


def measure_building(options: argparse.Namespace, rgb: np.ndarray) -> None:
    """The messages of one frame, built here without being published."""
    predictor = Predictor(Bundle.load(options.model), 'cpu', options.threads)
    predictor.score_threshold = 0.0  # every box that the model can give
    prediction = predictor.predict(rgb)
    from std_msgs.msg import Header

    make, header, times = RosFactory(), Header(), []
    for _ in range(100):
        start = time.perf_counter()
        prediction_messages(make, header, prediction, predictor.labels)
        times.append((time.perf_counter() - start) * 1e3)
    what = f'building all messages ({len(prediction.boxes)} boxes)'
    print(f'| {what} | {p(times, 50)} | {p(times, 99)} |')


def p(values: list[float], percent: int) -> str:
    """A percentile as text."""
    if percent == 50 or len(values) < 2:
        return f'{statistics.median(values):.1f} ms'
    return f'{np.percentile(values, percent):.1f} ms'


if __name__ == '__main__':
    main()
