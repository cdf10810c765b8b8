# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What tests of bags read from one, and see in it."""

from __future__ import annotations

import numpy as np
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    picture,
    stamp_of,
)

from unidrive_perception.bags.reader import open_bag
from unidrive_perception.image_codec import image_to_rgb


def read(path, topics=None, start_ns=None):
    with open_bag(path) as bag:
        messages = list(bag.messages(topics, start_ns))
        return messages, [bag.deserialize(message) for message in messages], bag.damage


def check_pictures(path, count=5):
    messages, objects, damage = read(path, [TOPIC])
    assert damage is None
    assert len(objects) == count
    for i, (message, image) in enumerate(zip(messages, objects, strict=True)):
        assert message.stamp_ns == START_NS + i * PERIOD_NS + RECORDING_DELAY_NS
        assert stamp_of(image.header) == START_NS + i * PERIOD_NS
        assert image.header.frame_id == FRAME_ID
        np.testing.assert_array_equal(image_to_rgb(image), picture(i))
