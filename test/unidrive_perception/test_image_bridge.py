# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""cv_bridge, where there is one: asked only for what it does well, left out where it fails."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raw_images import HEIGHT, PLAIN, WIDTH, YUV, image, random_pixels

from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    image_to_rgb,
)


class SwappedBridge:
    """Stands for a cv_bridge, and shows by its pixels that it was asked."""

    def imgmsg_to_cv2(self, message, encoding):
        assert encoding == 'rgb8'
        return np.full((message.height, message.width, 3), 123, np.uint8)


@pytest.mark.parametrize(
    ('encoding', 'padding', 'big_endian', 'asked'),
    [
        ('bgr8', 0, False, True),
        ('bgr8', 1, False, False),  # its known defect: skewed images
        ('mono16', 0, True, False),  # ndarray.newbyteorder is gone in NumPy 2
        ('mono16', 0, False, True),
        ('8UC3', 0, False, False),  # it knows no colours for it
    ],
)
def test_bridge_converts_only_what_it_converts_well(encoding, padding, big_endian, asked):
    channels, dtype, _ = PLAIN[encoding]
    message = image(
        encoding, random_pixels(channels, dtype), padding=padding, big_endian=big_endian
    )
    assert (image_to_rgb(message, SwappedBridge()) == 123).all() == asked


@pytest.mark.parametrize('error', [RuntimeError, ValueError, cv2.error])
def test_bridge_that_fails_is_told_of_and_done_without(error):
    class FailingBridge:
        """Stands for a cv_bridge; CvBridgeError is not more than a TypeError of its own."""

        def imgmsg_to_cv2(self, message, encoding):
            raise error('no such conversion')

    pixels, told = random_pixels(3), []
    rgb = image_to_rgb(image('bgr8', pixels), FailingBridge(), told.append)
    np.testing.assert_array_equal(rgb, pixels[..., ::-1])
    (sentence,) = told
    assert 'cv_bridge cannot convert a bgr8 image' in sentence
    assert 'no such conversion' in sentence
    image_to_rgb(image('bgr8', pixels), FailingBridge())  # also where nobody wants to know


def test_same_pixels_as_cv_bridge():
    bridge, sentence = find_cv_bridge()
    if bridge is None:
        pytest.skip(sentence)
    rng = np.random.default_rng(0)
    for encoding in SUPPORTED_ENCODINGS:
        bytes_per_pixel = bytes_of_a_pixel(encoding)
        rows = rng.integers(0, 256, (HEIGHT * 3, WIDTH * bytes_per_pixel), np.uint8)
        message = image(encoding, rows[: {'nv12': 9, 'nv21': 9, 'nv24': 18}.get(encoding, HEIGHT)])
        np.testing.assert_array_equal(
            image_to_rgb(message, bridge, pytest.fail), image_to_rgb(message), err_msg=encoding
        )


def bytes_of_a_pixel(encoding):
    if encoding in PLAIN:
        channels, dtype, _ = PLAIN[encoding]
        return channels * np.dtype(dtype).itemsize
    return 2 if encoding in YUV[:4] or encoding.endswith('16') else 1


def broken_bridge(tmp_path, monkeypatch, source):
    folder = tmp_path / 'cv_bridge'
    folder.mkdir()
    (folder / '__init__.py').write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    find_cv_bridge.cache_clear()
    try:
        return find_cv_bridge()
    finally:
        find_cv_bridge.cache_clear()


def test_bridge_that_crashes_the_process_is_not_used(tmp_path, monkeypatch):
    source = 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'
    bridge, sentence = broken_bridge(tmp_path, monkeypatch, source)
    assert bridge is None and 'a trial of it ended with exit code -11' in sentence


def test_bridge_without_its_binary_is_not_used(tmp_path, monkeypatch):
    source = 'raise ImportError("numpy.core")\n'
    bridge, sentence = broken_bridge(tmp_path, monkeypatch, source)
    assert bridge is None and sentence.endswith('ImportError: numpy.core')
