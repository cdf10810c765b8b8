# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A pipeline with cameras and all that a node gives it, without ROS."""

import pytest
from tiny_bundle import street, tiny_bundle

from unidrive_perception.image_codec import image_to_rgb
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import image_message, make_header
from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.frame_messages import TOPIC_TYPES
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameters import PARAMETERS
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor

MAKE = BagFactory(default_typestore())
SMALL = street(96, 160)
ENDS = ('processed', 'dropped', 'late', 'limited', 'bad', 'failed')
SECOND = 10**9


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp('pipeline') / 'tiny')


class Topic:
    """A publisher that keeps what it is given, or raises ``error``."""

    def __init__(self):
        self.subscribers, self.heard, self.error = 0, [], None

    def get_subscription_count(self):
        return self.subscribers

    def publish(self, message):
        if self.error:
            raise self.error
        self.heard.append(message)


class Log:
    """Keeps what a node would log."""

    def __init__(self):
        self.infos, self.warnings, self.errors = [], [], []

    def info(self, text, **_):
        self.infos.append(text)

    def warning(self, text):
        self.warnings.append(text)

    def error(self, text):
        self.errors.append(text)


class Rig:
    """A pipeline with cameras, and everything that a node would give it."""

    def __init__(self, bundle, cameras=('front',), topics=('result', 'timing'), **settings):
        self.settings = {spec.name: spec.default for spec in PARAMETERS} | settings
        self.now_ns, self.log, self.announced = 1_000 * SECOND, Log(), []
        self.streams = {}
        for name in cameras:
            publishers = {topic: Topic() for topic in (*TOPIC_TYPES, 'timing')}
            for topic in topics:
                publishers[topic].subscribers = 1
            health = CameraHealth(f'/{name}/image', now=0.0)
            self.streams[name] = CameraStream(
                name, health.topic, image_to_rgb, Outputs(publishers), health
            )
        self.pipeline = Pipeline(
            Predictor(bundle, 'cpu', 1),
            self.streams,
            MAKE,
            settings=lambda: self.settings,
            now_ns=lambda: self.now_ns,
            log=self.log,
            announce=self.announced.append,
        )

    def send(self, camera='front', second=1_000, rgb=SMALL, **wrong):
        header = make_header(MAKE, second * SECOND, camera)
        message = image_message(MAKE, header, rgb)
        for field, value in wrong.items():
            setattr(message, field, value)
        self.pipeline.receive(camera, message)
        return header

    def work(self):
        self.pipeline.work(self.pipeline.frames.take(*self.pipeline.limits()))

    def topic(self, name, camera='front'):
        return self.streams[camera].outputs.publishers[name]

    def heard(self, name='result', camera='front'):
        return self.topic(name, camera).heard

    def counts(self, camera='front'):
        """All counters that are not zero; ``received`` must be the sum of the others."""
        counters = self.streams[camera].health.counters
        found = {name: getattr(counters, name) for name in ENDS if getattr(counters, name)}
        waiting = counters.received - sum(found.values())
        assert 0 <= waiting <= 1
        return found | ({'waiting': waiting} if waiting else {})


def ids(rig, camera='front'):
    return {d.track_id for d in rig.heard(camera=camera)[-1].detections.detections}
