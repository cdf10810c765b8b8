# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The messages of ``fuzz_images.py`` on their way through the node's pipeline, model and all."""

from __future__ import annotations

import random
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fuzz_images
import fuzzing
from tiny_bundle import tiny_bundle

from unidrive_perception.image_codec import ImageDecodeError, compressed_to_rgb, image_to_rgb
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import stamp_of
from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.frame_messages import TOPIC_TYPES
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameters import PARAMETERS
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor

STORE = default_typestore()
MAKE = BagFactory(STORE)
DECODERS = {'raw': image_to_rgb, 'compressed': compressed_to_rgb}
MOST_PIXELS = 10**5  # of what goes through the model; overlays of larger images take long


class Topic:
    """A publisher with a subscriber, to which every message can be sent."""

    def __init__(self, msgtype: str) -> None:
        self.msgtype = msgtype
        self.headers: list[Any] = []

    def get_subscription_count(self) -> int:
        return int(self.msgtype in STORE.fielddefs)

    def publish(self, message: Any) -> None:
        STORE.serialize_cdr(message, self.msgtype)
        self.headers.append(message.header)


def make_pipeline() -> tuple[Pipeline, dict[str, CameraStream]]:
    """The node's pipeline with a camera for each transport, all of whose results are wanted."""
    streams = {}
    for name, decode in DECODERS.items():
        types = {**TOPIC_TYPES, 'timing': 'unidrive_msgs/msg/FrameTiming'}
        publishers = {topic: Topic(msgtype) for topic, msgtype in types.items()}
        health = CameraHealth(f'/{name}', 0.0)
        streams[name] = CameraStream(name, health.topic, decode, Outputs(publishers), health)
    with tempfile.TemporaryDirectory() as folder:
        model = Predictor(tiny_bundle(Path(folder) / 'tiny', input_size=(32, 48)), 'cpu', 1)
    log = SimpleNamespace(**dict.fromkeys(('info', 'warning', 'error'), lambda *_, **__: None))
    return Pipeline(model, streams, MAKE, lambda: SETTINGS, lambda: NOW_NS, log), streams


SETTINGS = {spec.name: spec.default for spec in PARAMETERS} | {'tracking': True}
NOW_NS = 10**18
PIPELINE, STREAMS = make_pipeline()


def try_message(case: int, rng: random.Random) -> str:
    """Send one message: it is received once, and ends once, as late, bad or processed."""
    camera = rng.choice(list(DECODERS))
    make = {'raw': fuzz_images.raw_image, 'compressed': fuzz_images.compressed_image}[camera]
    message = make(rng)
    stamp = MAKE('builtin_interfaces/msg/Time', **vars(message.header.stamp))
    frame_id = message.header.frame_id
    message.header = MAKE('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)
    try:
        rgb = DECODERS[camera](message)
        if rgb.size > 3 * MOST_PIXELS:
            return 'large'
        expected = 'processed'
    except ImageDecodeError:
        expected = 'bad'
    SETTINGS['max_age'] = rng.choice((0.0, 0.0, 0.5))
    if SETTINGS['max_age'] and 0 != stamp_of(message.header) < NOW_NS - 5 * 10**8:
        expected = 'late'
    health, result = STREAMS[camera].health, STREAMS[camera].outputs.publishers['result']
    before, results = health.counters, len(result.headers)
    PIPELINE.receive(camera, message)
    PIPELINE.work(PIPELINE.frames.take(*PIPELINE.limits()))
    counted = {name: n for name, n in asdict(health.counters - before).items() if n}
    assert counted == {'received': 1, expected: 1}, (counted, expected)
    assert len(result.headers) == results + (expected == 'processed')
    if expected == 'processed':
        assert result.headers[-1] == message.header
    for topic in STREAMS[camera].outputs.publishers.values():
        del topic.headers[:-1]
    return expected


def try_leaky(case: int, rng: random.Random) -> str:
    """Send one message to a node that keeps a little of each bad image."""
    for stream in STREAMS.values():
        if stream.decode in DECODERS.values():
            stream.decode = fuzz_images.leaking(stream.decode)
    return try_message(case, rng)


KINDS = {'pipeline': try_message, 'leaky_pipeline': try_leaky}

if __name__ == '__main__':
    fuzzing.main(KINDS)
