# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is built and published depends on who listens."""

import numpy as np
import pytest
from tiny_bundle import LABELS, street, tiny_bundle

from unidrive_perception.image_codec import compressed_to_rgb
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import make_header
from unidrive_perception.node.frame_messages import TOPIC_TYPES, FrameMessages
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameters import PARAMETERS
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
    publishers = {name: Listener(int(name in listened)) for name in (*TOPIC_TYPES, 'timing')}
    header = make_header(make, 5_000_000_007, 'camera')
    image = street(90, 160)
    settings = {spec.name: spec.default for spec in PARAMETERS}
    info = make(
        'sensor_msgs/msg/CameraInfo',
        **dict.fromkeys(('header', 'height', 'width', 'distortion_model', 'd', 'k', 'r', 'p')),
        **dict.fromkeys(('binning_x', 'binning_y', 'roi')),
    )
    messages = FrameMessages(make, header, image, predictor.predict(image), LABELS, settings, info)
    Outputs(publishers).publish(messages)
    heard = {name: p.heard for name, p in publishers.items() if p.heard}
    assert set(heard) == set(listened) - {'timing'}  # the pipeline's
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
        (('semantic_mask', 'semantic_image', 'result'), 2),
        (('overlay', 'overlay/compressed'), 2),
        (('drivable_color', 'timing'), 1),
        (('camera_info', 'drivable_area'), 0),
        (('drivable_grid',), 2),  # a layer each
    ],
)
def test_only_what_is_heard_is_built(predictor, listened, conversions):
    assert publish(predictor, *listened)[1] == conversions


def test_the_result_holds_the_parts(predictor):
    parts = ('detections', 'semantic_mask', 'drivable_mask', 'semantic_image', 'drivable_image')
    heard, _ = publish(predictor, 'result', *parts)
    (whole,) = heard['result']
    assert whole.detections is heard['detections'][0]
    assert whole.semantic_mask is heard['semantic_mask'][0]
    assert whole.drivable_mask is heard['drivable_mask'][0]
    assert (whole.semantic_mask.task, whole.drivable_mask.task) == (1, 2)


def test_overlay_is_an_rgb_image(predictor):
    (image,) = publish(predictor, 'overlay')[0]['overlay']
    assert (image.height, image.width, image.step, image.encoding) == (90, 160, 480, 'rgb8')
    assert np.asarray(image.data).size == 90 * 480


def test_mask_images_are_the_masks(predictor):
    heard, _ = publish(predictor, 'drivable_mask', 'drivable_image', 'drivable_color')
    (mask,), (image,), (color,) = heard.values()
    assert (image.encoding, image.step, image.height, image.width) == ('mono8', 160, 90, 160)
    np.testing.assert_array_equal(image.data, mask.data)
    pixels = np.asarray(color.data).reshape(90, 160, 3)
    bright = np.asarray(mask.data).reshape(90, 160) == 0
    assert (pixels[bright] == (240, 240, 240)).all() and not pixels[~bright].any()


def test_jpeg_of_the_overlay(predictor):
    (message,) = publish(predictor, 'overlay/compressed')[0]['overlay/compressed']
    assert compressed_to_rgb(message).shape == (90, 160, 3)


def test_a_model_without_a_task_gives_empty_masks_and_no_pictures(tmp_path):
    predictor = Predictor(tiny_bundle(tmp_path / 'boxes', tasks=('detection',)), threads=1)
    make = BagFactory(default_typestore())
    image, header = street(90, 160), make_header(make, 5, 'camera')
    settings = {spec.name: spec.default for spec in PARAMETERS}
    messages = FrameMessages(
        make, header, image, predictor.predict(image), predictor.labels, settings
    )
    assert messages.result.semantic_mask.height == 0
    assert messages.get('semantic_color') is messages.get('drivable_image') is None
    assert messages.get('camera_info') is None
    assert messages.get('drivable_area').polygons == []
