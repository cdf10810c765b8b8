# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Every encoding against an independent reference, whatever the step, byte order and container."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    ImageDecodeError,
    compressed_to_rgb,
    image_to_rgb,
    rgb_to_compressed,
    rgb_to_image_data,
)

HEIGHT, WIDTH = 6, 10


def image(encoding, rows, *, height=HEIGHT, width=WIDTH, padding=0, big_endian=False):
    """Make an Image message of ``rows``, an array (rows, ...) whose rows are the image's."""
    rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder('>' if big_endian else '<'))
    row_bytes = rows.reshape(len(rows), -1).view(np.uint8)
    padded = np.pad(row_bytes, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=padded.shape[1],
        is_bigendian=int(big_endian),
        data=padded.tobytes(),
    )


def random_pixels(channels, dtype=np.uint8, height=HEIGHT, width=WIDTH):
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(3)
    return rng.integers(0, top, (height, width, channels), dtype, endpoint=True)


def gray(pixels):
    return np.repeat(pixels[..., :1], 3, axis=2)


def to_8(pixels):
    """Scale 16 bits to 8 with rounding, computed apart from OpenCV."""
    return np.rint(pixels / 257).astype(np.uint8)


PLAIN = {  # encoding: (channels, dtype, what RGB it is)
    'rgb8': (3, np.uint8, lambda p: p),
    'bgr8': (3, np.uint8, lambda p: p[..., ::-1]),
    'rgba8': (4, np.uint8, lambda p: p[..., :3]),
    'bgra8': (4, np.uint8, lambda p: p[..., 2::-1]),
    'mono8': (1, np.uint8, gray),
    '8UC1': (1, np.uint8, gray),
    '8UC3': (3, np.uint8, lambda p: p[..., ::-1]),
    '8UC4': (4, np.uint8, lambda p: p[..., 2::-1]),
    'rgb16': (3, np.uint16, to_8),
    'bgr16': (3, np.uint16, lambda p: to_8(p[..., ::-1])),
    'rgba16': (4, np.uint16, lambda p: to_8(p[..., :3])),
    'bgra16': (4, np.uint16, lambda p: to_8(p[..., 2::-1])),
    'mono16': (1, np.uint16, lambda p: to_8(gray(p))),
    '16UC1': (1, np.uint16, lambda p: to_8(gray(p))),
    '16UC3': (3, np.uint16, lambda p: to_8(p[..., ::-1])),
    '16UC4': (4, np.uint16, lambda p: to_8(p[..., 2::-1])),
}
BAYER = [f'bayer_{p}{bits}' for p in ('rggb', 'bggr', 'gbrg', 'grbg') for bits in (8, 16)]
YUV = ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21', 'nv24']


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


def mosaic(rgb, pattern):
    """Sample the colour image as the sensor does: ``pattern`` names the first 2x2 pixels."""
    out = np.empty(rgb.shape[:2], rgb.dtype)
    for i, color in enumerate(pattern):
        y, x = divmod(i, 2)
        out[y::2, x::2] = rgb[y::2, x::2, 'rgb'.index(color)]
    return out


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


def yuv_of(rgb):
    """BT.601 with limited range, the definition: Y in 16..235, U and V around 128."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return [np.rint(plane).astype(np.uint8) for plane in (y, u, v)]


def yuv_rows(encoding, rgb):
    """Lay out the image as the encoding does; its colours change only every 2x2 pixels."""
    y, u, v = yuv_of(rgb)
    if encoding in ('yuv422', 'uyvy'):
        pairs = np.stack([u[:, ::2], y[:, ::2], v[:, ::2], y[:, 1::2]], axis=-1)
        return pairs.reshape(len(y), -1)
    if encoding in ('yuv422_yuy2', 'yuyv'):
        pairs = np.stack([y[:, ::2], u[:, ::2], y[:, 1::2], v[:, ::2]], axis=-1)
        return pairs.reshape(len(y), -1)
    if encoding == 'nv24':
        return np.concatenate([y, np.stack([u, v], axis=-1).reshape(2 * len(y), -1)])
    order = [u, v] if encoding == 'nv12' else [v, u]
    chroma = np.stack([plane[::2, ::2] for plane in order], axis=-1)
    return np.concatenate([y, chroma.reshape(len(y) // 2, -1)])


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
        ({'height': 2**31}, 'bytes of data, not 180'),
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


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_round_trip_of_image_data(encoding):
    rgb = gray(random_pixels(1)) if encoding == 'mono8' else random_pixels(3)
    data, step = rgb_to_image_data(rgb, encoding)
    message = SimpleNamespace(
        encoding=encoding, height=HEIGHT, width=WIDTH, step=step, is_bigendian=0, data=data
    )
    np.testing.assert_array_equal(image_to_rgb(message), rgb)


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
