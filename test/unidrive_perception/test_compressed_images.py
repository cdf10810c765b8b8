# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG images: exact, cut off, mislabelled, from real cameras."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raw_images import gray, mosaic, random_pixels, to_8

from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import (
    ImageDecodeError,
    compressed_to_rgb,
    rgb_to_compressed,
)
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import jpeg_message, make_header


def street(height=90, width=160):
    """Make a smooth picture, which JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, 200 - x], axis=-1).astype(np.uint8)


def compressed(data, text=''):
    return SimpleNamespace(format=text, data=np.asarray(data).tobytes())


@pytest.mark.parametrize('text', ['', 'jpeg', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg'])
def test_jpeg(text):
    rgb = street()
    got = compressed_to_rgb(compressed(rgb_to_compressed(rgb, 'jpeg', 98), text))
    assert got.flags.c_contiguous
    assert np.abs(got.astype(int) - rgb).max() < 12


def test_png_is_exact():
    rgb = street()
    got = compressed_to_rgb(compressed(rgb_to_compressed(rgb, 'png'), 'png'))
    np.testing.assert_array_equal(got, rgb)


def test_swapped_channels_are_told_by_the_format():
    rgb = street()
    data = rgb_to_compressed(rgb[..., ::-1], 'png')  # the writer gave RGB to a BGR encoder
    got = compressed_to_rgb(compressed(data, 'rgb8; png compressed rgb8'))
    np.testing.assert_array_equal(got, rgb)


def test_png_with_16_bits_alpha_or_gray():
    wide = random_pixels(3, np.uint16)
    got = compressed_to_rgb(compressed(cv2.imencode('.png', wide)[1], 'bgr16; png'))
    np.testing.assert_array_equal(got, to_8(wide[..., ::-1]))
    alpha = random_pixels(4)
    got = compressed_to_rgb(compressed(cv2.imencode('.png', alpha)[1]))
    np.testing.assert_array_equal(got, alpha[..., 2::-1])
    mono = random_pixels(1, np.uint16)
    got = compressed_to_rgb(compressed(cv2.imencode('.png', mono)[1], 'mono16; png compressed '))
    np.testing.assert_array_equal(got, to_8(gray(mono)))


def test_compressed_bayer():
    color = np.uint8([200, 100, 20])
    sensor = mosaic(np.broadcast_to(color, (16, 20, 3)).copy(), 'gbrg')
    data = cv2.imencode('.png', sensor)[1]
    assert (compressed_to_rgb(compressed(data, 'bayer_gbrg8; png compressed ')) == color).all()


@pytest.mark.parametrize('codec', ['jpeg', 'png'])
@pytest.mark.parametrize('kept', [0.01, 0.2, 0.6, 0.95, 0.999])
def test_truncated(codec, kept):
    data = rgb_to_compressed(random_pixels(3, height=90, width=160), codec)
    cut = data[: int(len(data) * kept)]
    with pytest.raises(ImageDecodeError, match=r'cut off|damaged'):
        compressed_to_rgb(compressed(cut, codec))


def test_jpeg_cut_behind_its_thumbnail_is_truncated():
    thumbnail = rgb_to_compressed(street(24, 32)).tobytes()
    photo = rgb_to_compressed(random_pixels(3, height=90, width=160)).tobytes()
    header = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    with_thumbnail = photo[:2] + header + photo[2:]
    whole = np.frombuffer(with_thumbnail, np.uint8)
    assert compressed_to_rgb(compressed(whole)).shape == (90, 160, 3)
    with pytest.raises(ImageDecodeError, match='cut off'):
        compressed_to_rgb(compressed(whole[: len(whole) * 2 // 3]))


def test_jpeg_with_padding_behind_its_end():
    rgb = street()
    data = rgb_to_compressed(rgb).tobytes() + bytes(500)
    assert compressed_to_rgb(compressed(np.frombuffer(data, np.uint8))).shape == rgb.shape


def checked(png, position, value):
    """The PNG with another byte, and the checksum of its first chunk made right again."""
    damaged = bytearray(png)
    damaged[position] = value
    damaged[29:33] = zlib.crc32(damaged[12:29]).to_bytes(4, 'big')
    return bytes(damaged)


def test_a_png_whose_checksums_are_wrong_is_damaged():
    png = rgb_to_compressed(random_pixels(3, height=40, width=60), 'png').tobytes()
    for position in (len(png) // 2, 24, len(png) - 2):  # in IDAT, IHDR and IEND
        damaged = bytearray(png)
        damaged[position] ^= 1
        with pytest.raises(ImageDecodeError, match='the checksum of a part'):
            compressed_to_rgb(compressed(np.frombuffer(bytes(damaged), np.uint8), 'png'))


@pytest.mark.parametrize(
    ('position', 'value'), [(24, 3), (24, 32), (25, 1), (25, 7), (26, 1), (28, 2)]
)
def test_a_png_of_impossible_pixels_is_damaged(position, value):
    png = rgb_to_compressed(random_pixels(3), 'png').tobytes()
    data = np.frombuffer(checked(png, position, value), np.uint8)
    with pytest.raises(ImageDecodeError, match='pixels that no PNG has'):
        compressed_to_rgb(compressed(data, 'png'))


def test_a_jpeg_has_no_endless_sides():
    long = np.zeros((2, 70_000, 3), np.uint8)
    with pytest.raises(UserError, match='an image of 70000x2 pixels is no JPEG: none has more'):
        rgb_to_compressed(long, 'jpeg')
    make = BagFactory(default_typestore())
    message = jpeg_message(make, make_header(make, 0, 'line camera'), long, 80)
    assert compressed_to_rgb(message).shape == (1, 65_500, 3)  # a picture for people is shrunk


@pytest.mark.parametrize('data', [b'', b'x', b'not an image at all', b'\xff\xd8', b'\xff\xd8\xff'])
def test_no_image(data):
    with pytest.raises(ImageDecodeError):
        compressed_to_rgb(SimpleNamespace(format='jpeg', data=data))


def test_real_camera_images(shared_data):
    files = sorted((shared_data / 'stills').rglob('*.jpg'))[:5]
    assert files
    for file in files:
        got = compressed_to_rgb(SimpleNamespace(format='jpeg', data=file.read_bytes()))
        reference = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        np.testing.assert_array_equal(got, reference[..., ::-1])
