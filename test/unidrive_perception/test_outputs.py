# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is built and published depends on who listens."""

import numpy as np
import pytest
from tiny_bundle import LABELS, street, tiny_bundle

from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import BagFactory, make_header
from unidrive_perception.outputs import RESULT_TYPES, Outputs
from unidrive_perception.predictor import Predictor


class Listener:
    """A publisher with a given number of subscribers, which keeps what they would get."""

    def __init__(self, subscribers):
        self.subscribers, self.heard = subscribers, []

    def get_subscription_count(self):
        return self.subscribers

    def publish(self, message):
        self.heard.append(message)


class CountingFactory(BagFactory):
    """Counts the conversions of arrays, which are what costs time."""

    converted = 0

    def uint8_array(self, values):
        self.converted += 1
        return super().uint8_array(values)


@pytest.fixture(scope='module')
def predictor(tmp_path_factory):
    return Predictor(tiny_bundle(tmp_path_factory.mktemp('tiny')), threads=1)


def publish(predictor, *listened):
    make = CountingFactory(default_typestore())
    names = (*RESULT_TYPES, 'overlay')
    publishers = {name: Listener(int(name in listened)) for name in names}
    header = make_header(make, 5_000_000_007, 'camera')
    image = street(90, 160)
    outputs = Outputs(publishers, make, LABELS)
    outputs.publish(header, image, predictor.predict(image))
    heard = {name: p.heard for name, p in publishers.items() if p.heard}
    assert set(heard) == set(listened)
    assert all(m.header is header for messages in heard.values() for m in messages)
    return heard, make.converted


@pytest.mark.parametrize(
    ('listened', 'conversions'),
    [
        ((), 0),
        (('detections',), 0),
        (('semantic_mask',), 1),
        (('overlay',), 1),
        (('result',), 2),
        (('semantic_mask', 'drivable_mask', 'result', 'detections'), 2),
    ],
)
def test_only_what_is_heard_is_built(predictor, listened, conversions):
    assert publish(predictor, *listened)[1] == conversions


def test_the_result_holds_the_parts(predictor):
    heard, _ = publish(predictor, *RESULT_TYPES)
    (whole,) = heard['result']
    assert whole.detections is heard['detections'][0]
    assert whole.semantic_mask is heard['semantic_mask'][0]
    assert whole.drivable_mask is heard['drivable_mask'][0]
    assert (whole.semantic_mask.task, whole.drivable_mask.task) == (1, 2)


def test_overlay_is_an_rgb_image(predictor):
    (image,) = publish(predictor, 'overlay')[0]['overlay']
    assert (image.height, image.width, image.step, image.encoding) == (90, 160, 480, 'rgb8')
    assert np.asarray(image.data).size == 90 * 480
