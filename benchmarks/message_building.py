# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How long mask and detection messages of a 1280×720 frame take to build and to publish.

    python benchmarks/message_building.py [--repeat 50] [--objects 20]

Built as the node does, and as one would first write it: "naive" assigns
``mask.flatten().tolist()``, as much ROS 2 Python code does. Published are the detections and both
masks, each to a topic that somebody in another process hears; publishing includes to serialise,
which is measured beside it alone. Needs a sourced ROS 2 environment and an idle machine; prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from unidrive_perception.array_memory import new_uint8
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import (
    BagFactory,
    MessageFactory,
    RosFactory,
)
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import make_header
from unidrive_perception.node.frame_messages import FrameMessages
from unidrive_perception.node.memory import limit_heaps
from unidrive_perception.predictor import Prediction
from unidrive_perception.transport import dds_environment

SIZE = (720, 1280)
TOPICS = ('detections', 'semantic_mask', 'drivable_mask')
DEPTH = 5  # as the node's results
PERIOD_S = 0.03
"""Between frames, so that the listener has taken one before the next."""

PATIENCE_S = 10.0
NAIVE_REPEAT = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=50)
    parser.add_argument('--objects', type=int, default=20, help='detections in the frame')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    limit_heaps()  # as the node, which does so before it imports all this
    prediction = make_prediction(options.objects)
    audience = Audience()
    try:
        rows = [row(*case, audience) for case in cases(prediction, options.repeat)]
    finally:
        heard = audience.go()
    size = f'{SIZE[1]}×{SIZE[0]}'
    print(f'{size}, {options.objects} objects, median of {options.repeat} (naive: {NAIVE_REPEAT})')
    print(f'{heard} of {audience.published} messages were heard\n')
    print('| messages of | build | publish | both | serialise alone | bytes |')
    print('| --- | --- | --- | --- | --- | --- |')
    print('\n'.join(rows))


def make_prediction(objects: int) -> Prediction:
    """Make a prediction of random boxes and masks."""
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((objects, 2, 2), np.float32) * SIZE[0], axis=1)
    return Prediction(
        SIZE,
        corners.reshape(-1, 4),
        rng.random(objects, np.float32),
        rng.integers(0, 10, objects),
        random_mask(rng, 19),
        random_mask(rng, 3),
    )


def random_mask(rng: np.random.Generator, classes: int) -> np.ndarray:
    """Make a mask in the memory that the predictor puts it in."""
    mask = new_uint8(SIZE)
    mask[:] = rng.integers(0, classes, SIZE, np.uint8)
    return mask


class NaiveFactory:
    """Makes the same messages, with Python lists for the masks."""

    def __init__(self, make: RosFactory) -> None:
        """Make what ``make`` makes."""
        self._make = make

    def __call__(self, msgtype: str, **fields: object) -> object:
        """Make a message; data are assigned after it, as is usual."""
        data = fields.pop('data', None)
        message = self._make(msgtype, **fields)
        if data is not None:
            message.data = data
        return message

    @staticmethod
    def uint8_array(values: np.ndarray) -> list[int]:
        """Return the values as a list."""
        return values.flatten().tolist()


def build(make: MessageFactory, prediction: Prediction) -> list:
    """The messages of a frame, as the node builds them."""
    header = make_header(make, 1_700_000_000_000_000_000, 'camera_optical_frame')
    messages = FrameMessages(make, header, None, prediction, BDD100K_LABELS, {})
    return [messages.get(topic) for topic in TOPICS]


def cases(prediction: Prediction, repeat: int) -> list[tuple[str, Callable, Callable, int]]:
    """Name, builder, serialiser and repetitions of each row; those with ROS messages first."""
    from rclpy.serialization import serialize_message

    ros, store = RosFactory(), default_typestore()
    naive, bag = NaiveFactory(ros), BagFactory(store)
    return [
        ('the node', lambda: build(ros, prediction), serialize_message, repeat),
        ('naive', lambda: build(naive, prediction), serialize_message, NAIVE_REPEAT),
        (
            '`process-bag` (rosbags)',
            lambda: build(bag, prediction),
            lambda message: store.serialize_cdr(message, message.__msgtype__),
            repeat,
        ),
    ]


class Audience:
    """Publishers of the topics, and a process that hears them."""

    def __init__(self) -> None:
        """Begin when all topics are heard."""
        import rclpy

        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=hear, args=(theirs,), daemon=True)
        self._process.start()
        rclpy.init()
        self._node = rclpy.create_node('publishing')
        make = RosFactory()
        self._publishers = [
            self._node.create_publisher(type(message), topic, DEPTH)
            for topic, message in zip(TOPICS, build(make, make_prediction(0)), strict=True)
        ]
        self.published = 0
        end = time.monotonic() + PATIENCE_S
        while not all(p.get_subscription_count() for p in self._publishers):
            if time.monotonic() > end:
                sys.exit(f'nobody heard {", ".join(TOPICS)} within {PATIENCE_S:g} s')
            time.sleep(0.05)

    def publish(self, messages: list) -> None:
        """Publish a frame."""
        for publisher, message in zip(self._publishers, messages, strict=True):
            publisher.publish(message)
        self.published += len(messages)

    def go(self) -> int:
        """Send everybody home; how many messages were heard."""
        import rclpy

        time.sleep(0.5)
        self._pipe.send(None)
        heard = self._pipe.recv()
        self._process.join()
        self._node.destroy_node()
        rclpy.shutdown()
        return heard


def hear(pipe) -> None:
    """The other process: count messages, without a look into them, until told to tell."""
    import rclpy

    rclpy.init()
    node, heard = rclpy.create_node('hearing'), []
    for topic, message in zip(TOPICS, build(RosFactory(), make_prediction(0)), strict=True):
        node.create_subscription(
            type(message), topic, lambda data: heard.append(len(data)), DEPTH, raw=True
        )
    while not pipe.poll():
        rclpy.spin_once(node, timeout_sec=0.05)
    pipe.send(len(heard))
    node.destroy_node()
    rclpy.shutdown()


def row(name: str, build: Callable, serialise: Callable, repeat: int, audience: Audience) -> str:
    """Measure one case; messages that are not ROS's are not published."""
    times = []
    for _ in range(repeat + 1):  # the first is for warming up
        time.sleep(PERIOD_S)
        start = time.perf_counter()
        messages = build()
        built = published = time.perf_counter()
        can_be_published = not hasattr(messages[0], '__msgtype__')
        if can_be_published:
            audience.publish(messages)
            published = time.perf_counter()
        time.sleep(PERIOD_S)
        before = time.perf_counter()
        size = sum(len(serialise(message)) for message in messages)
        alone = time.perf_counter() - before
        times.append((built - start, published - built, published - start, alone))
    ms = [f'{statistics.median(t) * 1e3:.2f} ms' for t in zip(*times[1:], strict=True)]
    if not can_be_published:
        ms[1:3] = '', ''
    return f'| {name} | {" | ".join(ms)} | {size} |'


if __name__ == '__main__':
    main()
