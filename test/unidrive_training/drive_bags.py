# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A drive with two cameras as a bag, and ``unidrive frames`` at work on bags."""

from __future__ import annotations

import json

import numpy as np
from sample_bags import PERIOD_NS, RECORDING_DELAY_NS, START_NS, picture

from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_training.cli import main

FRONT, REAR = '/front/image', '/rear/image/compressed'
STANDING = range(6, 12)


def frames(*arguments, status=0):
    assert main(['frames', *map(str, arguments)]) == status


def book(out):
    return [json.loads(line) for line in (out / 'provenance.jsonl').read_text().splitlines()]


def content(out):
    """All that a run leaves, hidden files too."""
    return {path.relative_to(out): path.read_bytes() for path in out.rglob('*') if path.is_file()}


def noisy(rgb, seed, gain=1.0):
    noise = np.random.default_rng(seed).normal(0, 4, rgb.shape)
    return np.clip(rgb * gain + noise, 0, 255).astype(np.uint8)


def front_picture(i):
    return noisy(picture(6), i, 1 + i / 200) if i in STANDING else picture(i)


def rear_jpeg(i):
    return rgb_to_compressed(picture(1000 + i))


def write_drive(path, storage='mcap', count=20):
    """Two cameras at 10 Hz, the front one raw and standing still for six frames."""
    with BagWriter(path, storage) as writer:
        make = BagFactory(writer.typestore)
        for i in range(count):
            stamp_ns = START_NS + i * PERIOD_NS
            header = make_header(make, stamp_ns, 'front')
            raw = image_message(make, header, front_picture(i))
            writer.write(FRONT, raw, stamp_ns + RECORDING_DELAY_NS)
            header = make_header(make, stamp_ns + 1, 'rear')
            jpeg = compressed_message(make, header, rear_jpeg(i), 'jpeg')
            writer.write(REAR, jpeg, stamp_ns + RECORDING_DELAY_NS)
    return path
