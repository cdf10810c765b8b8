# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How long the messages of one 1280×720 frame take to make: ours, and as one would first write it.

Both masks, the detections and the result that holds all three are built and serialised. "naive"
assigns ``mask.flatten().tolist()``, as much ROS 2 Python code does, and builds each mask anew for
each message it is in. Prints a Markdown table; needs a sourced ROS environment for the ROS rows.

    python benchmarks/message_building.py [--repeat 50] [--objects 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from unidrive_perception.array_memory import new_uint8
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.message_factories import BagFactory, RosFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import make_header, prediction_messages
from unidrive_perception.node.memory import limit_heaps
from unidrive_perception.predictor import Prediction, StageTimes

SIZE = (720, 1280)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=50)
    parser.add_argument('--objects', type=int, default=20, help='detections in the frame')
    args = parser.parse_args()
    limit_heaps()  # as the node does
    prediction = make_prediction(args.objects)
    print(f'{SIZE[1]}×{SIZE[0]}, {args.objects} objects, median of {args.repeat} (naive: 5)\n')
    print('| messages of | build [ms] | serialise [ms] | bytes |')
    print('| --- | --- | --- | --- |')
    for name, build, serialise, repeat in cases(prediction, args.repeat):
        print(row(name, build, serialise, repeat), flush=True)


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
        StageTimes(0, 0, 0),
    )


def random_mask(rng: np.random.Generator, classes: int) -> np.ndarray:
    """Make a mask in the memory that the predictor puts it in."""
    mask = new_uint8(SIZE)
    mask[:] = rng.integers(0, classes, SIZE, np.uint8)
    return mask


def cases(prediction: Prediction, repeat: int) -> list[tuple[str, Callable, Callable, int]]:
    """Return (name, builder, serialiser, repetitions) of each row."""
    from rclpy.serialization import serialize_message

    ros = RosFactory()
    store = default_typestore()
    bag = BagFactory(store)
    return [
        ('the node (ROS)', lambda: ours(ros, prediction), serialize_message, repeat),
        (
            'process-bag (rosbags)',
            lambda: ours(bag, prediction),
            lambda message: store.serialize_cdr(message, message.__msgtype__),
            repeat,
        ),
        ('naive (ROS)', lambda: naive(ros, prediction), serialize_message, 5),
    ]


def ours(make: RosFactory | BagFactory, prediction: Prediction) -> tuple:
    """Build what the node builds."""
    header = make_header(make, 1_700_000_000_000_000_000, 'camera_optical_frame')
    return prediction_messages(make, header, prediction, BDD100K_LABELS)


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


def naive(ros: RosFactory, prediction: Prediction) -> tuple:
    """Build the parts for their topics, and once more for the result."""
    make = NaiveFactory(ros)
    parts = ours(make, prediction)
    return (*parts[:3], ours(make, prediction)[3])


def row(name: str, build: Callable, serialise: Callable, repeat: int) -> str:
    """Measure one case."""
    times = []
    for _ in range(repeat + 1):  # the first is for warming up
        start = time.perf_counter()
        messages = build()
        built = time.perf_counter()
        size = sum(len(serialise(message)) for message in messages)
        times.append((built - start, time.perf_counter() - built))
    build_ms, serialise_ms = (statistics.median(t) * 1e3 for t in zip(*times[1:], strict=True))
    return f'| {name} | {build_ms:.2f} | {serialise_ms:.2f} | {size} |'


if __name__ == '__main__':
    main()
