# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Every encoding against an independent reference, whatever the step, byte order and container."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
import pytest
from raw_images import (
    BAYER,
    HEIGHT,
    PLAIN,
    WIDTH,
    YUV,
    gray,
    image,
    mosaic,
    random_pixels,
    to_8,
    yuv_rows,
)

from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    ImageDecodeError,
    image_to_rgb,
    rgb_to_image_data,
)


def test_every_encoding_is_tested():
    assert set(PLAIN) | set(BAYER) | set(YUV) == set(SUPPORTED_ENCODINGS)


# A padding of 1 makes the step odd, no multiple of any pixel size but 1.
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', PLAIN)
def test_plain_encodings(encoding, padding):
    channels, dtype, reference = PLAIN[encoding]
    pixels = random_pixels(channels, dtype)
    rgb = image_to_rgb(image(encoding, pixels, padding=padding))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, reference(pixels))


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', [name for name in PLAIN if PLAIN[name][1] == np.uint16])
def test_big_endian(encoding, padding):
    channels, dtype, reference = PLAIN[encoding]
    pixels = random_pixels(channels, dtype)
    rgb = image_to_rgb(image(encoding, pixels, padding=padding, big_endian=True))
    np.testing.assert_array_equal(rgb, reference(pixels))


@pytest.mark.parametrize('padding', [0, 1])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', BAYER)
def test_bayer(encoding, padding, big_endian):
    color = np.uint8([200, 100, 20])
    wide = encoding.endswith('16')
    scene = np.broadcast_to(color, (16, 20, 3)).astype(np.uint16 if wide else np.uint8)
    sensor = mosaic(scene * 257 if wide else scene, encoding[6:10])
    message = image(
        encoding, sensor, height=16, width=20, padding=padding, big_endian=big_endian and wide
    )
    # A flat colour comes back exactly; a wrong pattern would swap channels.
    rgb = image_to_rgb(message)
    assert rgb.shape == (16, 20, 3)
    assert (rgb == color).all()


@pytest.mark.parametrize('encoding', YUV)
def test_yuv(encoding):
    blocks = random_pixels(3, height=HEIGHT // 2, width=WIDTH // 2)
    rgb = blocks.repeat(2, 0).repeat(2, 1)
    got = image_to_rgb(image(encoding, yuv_rows(encoding, rgb)))
    assert got.shape == rgb.shape
    # 8-bit YUV has fewer colours than RGB: rounding costs a few grey levels.
    assert np.abs(got.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize('encoding', YUV[:-1])
def test_yuv_with_padding_is_the_same(encoding):
    rgb = random_pixels(3, height=HEIGHT // 2, width=WIDTH // 2).repeat(2, 0).repeat(2, 1)
    rows = yuv_rows(encoding, rgb)
    np.testing.assert_array_equal(
        image_to_rgb(image(encoding, rows, padding=7)), image_to_rgb(image(encoding, rows))
    )


def test_rows_of_nv24_chroma_are_two_steps_long():
    """V4L2: "if the Y plane has pad bytes, then the CbCr plane has twice as many"."""
    rgb = random_pixels(3)
    rows = yuv_rows('nv24', rgb)
    luma = np.pad(rows[:HEIGHT], ((0, 0), (0, 7)))
    chroma = np.pad(rows[HEIGHT:].reshape(HEIGHT, 2 * WIDTH), ((0, 0), (0, 14)))
    padded = image('nv24', np.concatenate([luma, chroma.reshape(2 * HEIGHT, WIDTH + 7)]))
    np.testing.assert_array_equal(image_to_rgb(padded), image_to_rgb(image('nv24', rows)))


def test_planar_image_with_the_step_of_two_bytes_per_pixel():
    rgb = random_pixels(3, height=HEIGHT // 2, width=WIDTH // 2).repeat(2, 0).repeat(2, 1)
    message = image('nv12', yuv_rows('nv12', rgb))
    expected = image_to_rgb(message)
    message.step = 2 * WIDTH  # as some drivers say
    np.testing.assert_array_equal(image_to_rgb(message), expected)


@pytest.mark.parametrize(
    'container',
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: array.array('B', b),
        lambda b: np.frombuffer(b, 'u1'),
    ],
)
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr16'])
def test_containers(encoding, container):
    channels, dtype, reference = PLAIN[encoding]
    pixels = random_pixels(channels, dtype)
    message = image(encoding, pixels)
    message.data = container(message.data)
    np.testing.assert_array_equal(image_to_rgb(message), reference(pixels))


def test_unaligned_16_bit_data():
    pixels = random_pixels(1, np.uint16)
    message = image('mono16', pixels)
    message.data = memoryview(b'x' + message.data)[1:]
    np.testing.assert_array_equal(image_to_rgb(message), to_8(gray(pixels)))


def test_rgb8_without_padding_is_not_copied():
    message = image('rgb8', random_pixels(3))
    message.data = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(image_to_rgb(message), message.data)


def test_last_row_may_lack_its_padding():
    pixels = random_pixels(3)
    message = image('bgr8', pixels, padding=5)
    message.data = message.data[:-5]
    np.testing.assert_array_equal(image_to_rgb(message), pixels[..., ::-1])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'encoding': 'hsv9'}, "'hsv9' is not supported; these are: rgb8, bgr8"),
        ({'encoding': '32FC1'}, "'32FC1' is not supported"),
        ({'width': 0}, 'no pixels'),
        ({'height': 0}, 'no pixels'),
        ({'step': 29}, 'a step of 30 bytes or more, not 29'),
        ({'step': 0}, 'a step of 30'),
        ({'data': b'\0' * 179}, 'needs 180 bytes of data, not 179'),
        ({'data': b''}, 'needs 180 bytes of data, not 0'),
        ({'height': 2**20}, 'bytes of data, not 180'),
        ({'height': 2**31}, '10x2147483648 pixels in rgb8 is larger than any camera'),
        ({'height': 2**32 - 1, 'width': 2**32 - 1, 'data': b''}, 'larger than any camera'),
        ({'encoding': 'x' * 10**6}, "'xxxxxxxxxxxx.*… is not supported"),
        ({'encoding': 'nv12', 'width': 9}, 'must be a multiple of 2'),
        ({'encoding': 'yuyv', 'width': 9}, 'its width of 2'),
    ],
)
def test_bad_images(change, words):
    message = image('rgb8', random_pixels(3))
    vars(message).update(change)
    with pytest.raises(ImageDecodeError, match=words):
        image_to_rgb(message)


@pytest.mark.parametrize('encoding', SUPPORTED_ENCODINGS)
@pytest.mark.parametrize('size', [(1, 1), (1, 2), (2, 2), (3, 5)])
def test_smallest_images_never_crash(encoding, size):
    height, width = size
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=8 * width, is_bigendian=0
    )
    message.data = bytes(message.step * height * 3)
    try:
        assert image_to_rgb(message).shape == (height, width, 3)
    except ImageDecodeError as error:
        assert 'multiple' in str(error) or 'cannot be converted' in str(error)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_round_trip_of_image_data(encoding):
    rgb = gray(random_pixels(1)) if encoding == 'mono8' else random_pixels(3)
    data, step = rgb_to_image_data(rgb, encoding)
    message = SimpleNamespace(
        encoding=encoding, height=HEIGHT, width=WIDTH, step=step, is_bigendian=0, data=data
    )
    np.testing.assert_array_equal(image_to_rgb(message), rgb)
