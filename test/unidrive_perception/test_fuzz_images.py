# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""140,000 image messages that nobody should send: right pixels or one sentence, never a crash.

Takes about a minute on one core.
"""

from __future__ import annotations

import itertools
import random
import struct
from types import SimpleNamespace

import cv2
import fuzz_images
import fuzz_pipeline
import numpy as np
import pytest
from fuzzing import run_cases
from raw_images import BAYER, PLAIN, YUV

from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    ImageDecodeError,
    compressed_to_rgb,
    image_to_rgb,
    rgb_to_compressed,
)

RAW, COMPRESSED, PIPELINE, REFERENCE = 80_000, 50_000, 6_000, 4_000
FEW = 12_000

MOST_KEPT = {
    'raw': 3,
    'compressed': 5,
    # what is kept for images of each size fills up: 50 bytes after 6,000 cases, 10 after 24,000
    'pipeline': 90,
}
"""Bytes that a case may leave behind."""


@pytest.mark.parametrize(
    ('kind', 'count', 'peak_mb'), [('raw', RAW, 150), ('compressed', COMPRESSED, 400)]
)
def test_no_message_crashes_or_leaks(kind, count, peak_mb):
    said = run_cases(fuzz_images.__file__, kind, seed=1, count=count, timeout=300)
    assert sum(said['outcomes'].values()) == count
    assert min(said['outcomes'].values()) > count / 10, said  # both outcomes are tried
    assert said['peak_mb'] < peak_mb
    assert said['grown_mb'] < 64  # the allocator keeps what large images needed
    assert kept(said) < MOST_KEPT[kind], said


def test_each_bad_message_is_counted_once_by_the_pipeline():
    said = run_cases(fuzz_pipeline.__file__, 'pipeline', seed=1, count=PIPELINE, timeout=300)
    assert min(said['outcomes'][name] for name in ('bad', 'processed')) > PIPELINE / 5, said
    assert said['outcomes']['late'] > PIPELINE / 8, said
    assert said['peak_mb'] < 500 and said['grown_mb'] < 64
    assert kept(said) < MOST_KEPT['pipeline'], said


def kept(said):
    """Bytes that each case left behind."""
    if said['kept_per_case'] is None:
        pytest.skip('the C library does not tell how much is allocated')
    return said['kept_per_case']


@pytest.mark.parametrize(
    ('file', 'kind', 'count'),
    [
        (fuzz_images.__file__, 'raw', FEW),
        (fuzz_images.__file__, 'compressed', FEW),
        (fuzz_pipeline.__file__, 'pipeline', PIPELINE),
    ],
)
def test_a_leak_of_some_bytes_per_bad_image_would_be_noticed(file, kind, count):
    said = run_cases(file, f'leaky_{kind}', seed=1, count=count, timeout=300)
    bad = said['outcomes'].get('refused', said['outcomes'].get('bad')) / count
    assert kept(said) > MOST_KEPT[kind]
    assert kept(said) > 0.9 * bad * fuzz_images.LEAKED, said  # all of it, not a part


def slow_reference(message):
    """Decode an Image pixel by pixel, by what the encoding's name says; None where that fails.

    Bayer mosaics are given as they are, in three equal channels: see ``check_mosaic``.
    """
    name, height, width = message.encoding, message.height, message.width
    data = bytes(message.data)
    if name not in SUPPORTED_ENCODINGS or not height or not width or height * width > 2**28:
        return None
    if len(data) < height * width:  # before the loop begins: the image may be huge
        return None
    try:
        rows = [[slow_pixel(message, data, y, x) for x in range(width)] for y in range(height)]
    except IndexError:  # data or step end too early
        return None
    return np.uint8(rows)


def slow_pixel(message, data, y, x):
    name, width, step = message.encoding, message.width, message.step
    if name in YUV:
        return slow_yuv(name, data, y, x, message.height, width, step)
    channels = PLAIN[name][0] if name in PLAIN else 1
    depth = 2 if '16' in name else 1
    if step < width * channels * depth:
        raise IndexError
    values = []
    for channel in range(channels):
        begin = y * step + (x * channels + channel) * depth
        sample = data[begin : begin + depth]
        if len(sample) < depth:
            raise IndexError
        sample = int.from_bytes(sample, 'big' if message.is_bigendian else 'little')
        values.append(round(sample / 257) if depth == 2 else sample)
    if channels == 1:
        return values * 3
    return values[:3] if name.startswith('rgb') else values[2::-1]


def slow_yuv(name, data, y, x, height, width, step):
    """BT.601, limited range. The step of planes without padding may be anything."""
    if name.startswith('nv'):
        rows = {'nv24': 3 * height}.get(name, height * 3 // 2)
        if height % 2 + width % 2 and name != 'nv24':
            raise IndexError
        step = width if len(data) == rows * width else step
        if step < width or len(data) < (rows - 1) * step + width:
            raise IndexError
        half = 1 if name == 'nv24' else 2
        pair = (height + y // half * (2 // half)) * step + x // half * 2
        at = y * step + x, pair, pair + 1
    else:
        if width % 2 or step < 2 * width:
            raise IndexError
        pair = y * step + x // 2 * 4
        at = {
            'u': [pair + 2 * (x % 2) + 1, pair, pair + 2],
            'y': [pair + 2 * (x % 2), pair + 1, pair + 3],
        }['y' if name in ('yuyv', 'yuv422_yuy2') else 'u']
    luma, u, v = (data[i] for i in at)
    if name == 'nv21':
        u, v = v, u
    luma, u, v = 1.164 * (max(luma, 16) - 16), u - 128, v - 128
    rgb = luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u
    return [min(max(round(value), 0), 255) for value in rgb]


def check_mosaic(rgb, sensor, pattern):
    """Where a pixel's own sensor has a colour, it is that; else it is the mean of those near."""
    for y in range(1, len(sensor) - 1):
        for x in range(1, len(sensor[0]) - 1):
            near = {color: [] for color in 'rgb'}
            for j, i in itertools.product((-1, 0, 1), repeat=2):
                color = pattern[(y + j) % 2 * 2 + (x + i) % 2]
                near[color].append(int(sensor[y + j, x + i, 0]))
            near[pattern[y % 2 * 2 + x % 2]] = [int(sensor[y, x, 0])]
            expected = [sum(near[color]) / len(near[color]) for color in 'rgb']
            assert np.abs(rgb[y, x] - expected).max() <= 1


def test_pixels_are_those_of_a_slow_reference():
    counts = {'image': 0, 'refused': 0}
    for case in range(REFERENCE):
        message = fuzz_images.raw_image(random.Random(9 << 32 | case), odd=0.05)
        expected = slow_reference(message)
        try:
            rgb = image_to_rgb(message)
        except ImageDecodeError as error:
            # OpenCV has no mosaic so small that no pixel has all its neighbours.
            assert expected is None or 'cannot be converted' in str(error), (case, error)
            counts['refused'] += 1
            continue
        counts['image'] += 1
        assert expected is not None and rgb.shape == expected.shape, case
        if message.encoding in BAYER:
            check_mosaic(rgb, expected, message.encoding[6:10])
        else:
            off = np.abs(rgb.astype(int) - expected).max()
            assert off <= (2 if message.encoding in YUV else 0), (case, message.encoding, off)
    assert min(counts.values()) > 500, counts


def claiming(codec, width, height):
    """Return a small image file whose header claims the size."""
    data = bytearray(cv2.imencode(f'.{codec}', np.zeros((24, 32, 3), np.uint8))[1].tobytes())
    if codec == 'jpeg':
        frame = data.index(b'\xff\xc0')
        data[frame + 5 : frame + 9] = struct.pack('>HH', height, width)
    elif codec == 'png':
        data[8:33] = fuzz_images.chunk(b'IHDR', struct.pack('>II', width, height) + data[24:29])
    elif codec == 'bmp':
        data[18:26] = struct.pack('<ii', width, -height)
    elif codec == 'ppm':
        data[:9] = b'P6\n# a comment 1 1\n%d\t%d\n255\n' % (width, height)
    elif codec == 'webp':
        data[21:25] = struct.pack('<I', width - 1 | (height - 1) << 14)
    else:
        directory = int.from_bytes(data[4:8], 'little')
        for tag, size in ((256, width), (257, height)):
            entry = data.index(tag.to_bytes(2, 'little'), directory)
            data[entry : entry + 12] = struct.pack('<HHII', tag, 4, 1, size)
    return bytes(data)


@pytest.mark.parametrize('codec', ['jpeg', 'png', 'tiff', 'webp', 'bmp', 'ppm'])
@pytest.mark.parametrize('size', [(60000, 60000), (5000, 4000), (32, 24)])
def test_size_that_is_claimed_is_checked_before_the_decoder_allocates_it(codec, size, monkeypatch):
    if codec == 'webp' and size[0] > 16383:
        size = (16383, 16383)  # its largest
    message = SimpleNamespace(format=codec, data=claiming(codec, *size))
    if size == (32, 24):  # the truth
        assert compressed_to_rgb(message).shape == (24, 32, 3)
        return
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('the decoder was asked'))
    with pytest.raises(ImageDecodeError, match=f'it claims {size[0]}x{size[1]} pixels, too many'):
        compressed_to_rgb(message)


def test_large_picture_of_one_colour_is_no_lie():
    for codec in ('jpeg', 'png'):
        data = rgb_to_compressed(np.zeros((4100, 4100, 3), np.uint8), codec)
        assert compressed_to_rgb(SimpleNamespace(format=codec, data=data)).shape == (4100, 4100, 3)


def test_png_chunk_that_claims_gigabytes_is_refused_before_they_are_allocated(monkeypatch):
    data = bytearray(rgb_to_compressed(np.zeros((24, 32, 3), np.uint8), 'png').tobytes())
    data[data.index(b'IDAT') - 4] ^= 0x80  # one bit, two gigabytes
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('the decoder was asked'))
    with pytest.raises(ImageDecodeError, match='its end is missing'):
        compressed_to_rgb(SimpleNamespace(format='png', data=bytes(data)))


@pytest.mark.parametrize(
    'text', ['32FC1; compressedDepth png', '16UC1; compressedDepth rvl', 'h264']
)
def test_depth_and_video_are_one_clear_error(text):
    png = rgb_to_compressed(np.zeros((24, 32, 3), np.uint8), 'png').tobytes()
    data = bytes(12) + png if 'Depth' in text else b'\0\0\0\1\x67' + bytes(200)
    with pytest.raises(ImageDecodeError, match=r'depth maps \(compressedDepth\) and video'):
        compressed_to_rgb(SimpleNamespace(format=text, data=data))
