# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Image messages that nobody should send. See ``fuzzing.py``; run by ``test_fuzz_images.py``."""

from __future__ import annotations

import array
import random
import zlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import fuzzing
import numpy as np

from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    ImageDecodeError,
    compressed_to_rgb,
    image_to_rgb,
)
from unidrive_perception.image_headers import read_image_header

OTHER_ENCODINGS = [
    f'{bits}{kind}C{n}'
    for n in range(1, 5)
    for bits, kind in ((8, 'S'), (16, 'S'), (32, 'S'), (32, 'F'), (64, 'F'))
] + ['8UC2', '16UC2', '8UC5', 'yuv444', 'jpeg', 'h264', 'bayer_rgbg8', 'RGB8', 'rgb8 ', 'rgb8\0']
SMALL = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33]
HUGE = [2**15, 2**16, 2**24, 2**28 + 1, 2**31 - 1, 2**31, 2**32 - 1]
CONTAINERS = [
    bytes,
    bytearray,
    memoryview,
    lambda data: array.array('B', data),
    lambda data: np.frombuffer(data, np.uint8),
    lambda data: memoryview(b'x' + data)[1:],  # not aligned
]
MOST_BYTES = 1 << 16
LEAKED = 200
"""Bytes of each bad image that the leaky kinds keep, to see whether that is noticed."""


def raw_image(rng: random.Random, odd: float = 0.3) -> SimpleNamespace:
    """Make an Image, each of whose fields is wrong with the probability ``odd``."""

    def is_odd() -> bool:
        return rng.random() < odd

    encoding = odd_text(rng, OTHER_ENCODINGS) if is_odd() else rng.choice(SUPPORTED_ENCODINGS)
    height, width = (rng.choice([0, *HUGE]) if is_odd() else rng.choice(SMALL) for _ in 'hw')
    row_bytes = width * rng.choice([1, 2, 3, 4, 6, 8])
    step = rng.choice([0, 1, row_bytes - 1, *HUGE]) if is_odd() else row_bytes + rng.choice([0, 7])
    step = min(max(step, 0), 2**32 - 1)
    needed = step * height * rng.choice([1, 1.5, 3])
    length = rng.choice([0, 1, needed - 1, needed // 2]) if is_odd() else needed
    data = rng.randbytes(min(max(int(length), 0), MOST_BYTES))
    return SimpleNamespace(
        header=odd_header(rng),
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=rng.choice([0, 1, 255]),
        data=rng.choice(CONTAINERS)(data),
    )


def odd_text(rng: random.Random, known: list[str]) -> str:
    """Return a text that is no name of anything we know."""
    letters = 'abrg8\0\n\ud800é🚗 _/'
    return rng.choice(
        [
            '',
            rng.choice(known),
            ''.join(rng.choices(letters, k=rng.choice([1, 5, 4000]))),
            rng.choice(SUPPORTED_ENCODINGS)[:-1],
        ]
    )


def odd_header(rng: random.Random) -> SimpleNamespace:
    """Return a header with any stamp that the message can hold, right or not."""
    stamp = SimpleNamespace(
        sec=rng.choice([0, -1, 2**31 - 1, -(2**31), 1_700_000_000]),
        nanosec=rng.choice([0, 999_999_999, 10**9, 2**32 - 1]),
    )
    return SimpleNamespace(stamp=stamp, frame_id=rng.choice(['', 'camera', 'x' * 5000, '\0\n']))


def compressed_image(rng: random.Random) -> SimpleNamespace:
    """Make a CompressedImage of a real file that is then damaged."""
    data = bytearray(rng.choice(FILES))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 5, 20])):
        rng.choice(DAMAGES)(data, rng)
    if rng.random() < 0.5:
        _mend_checksums(data)
    formats = ['jpeg', 'png', 'rgb8; jpeg compressed bgr8', 'rgb8; png compressed rgb8', '']
    formats += ['bayer_rggb8; png compressed ', '32FC1; compressedDepth png', 'h264']
    text = odd_text(rng, formats) if rng.random() < 0.1 else rng.choice(formats)
    container = rng.choice(CONTAINERS)
    return SimpleNamespace(header=odd_header(rng), format=text, data=container(bytes(data)))


def encoded_files() -> list[bytes]:
    """Return small images as files of all sorts."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
    smooth = cv2.resize(noise[:3, :4], (32, 24))
    exif = (
        b'\xff\xe1' + (36).to_bytes(2, 'big') + b'Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6'
    )
    exif = exif.ljust(38, b'\0')
    files = []
    for pixels in (smooth[..., :3], noise[..., :3], noise[..., 0]):
        for option in (cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_RST_INTERVAL):
            jpeg = cv2.imencode('.jpg', pixels, [option, 1])[1].tobytes()
            files += [jpeg, jpeg[:2] + exif + jpeg[2:]]
        for suffix in ('.png', '.webp', '.bmp', '.ppm', '.tiff'):
            if suffix != '.ppm' or pixels.ndim == 3:
                files.append(cv2.imencode(suffix, pixels)[1].tobytes())
    wide = noise.astype(np.uint16) * 257
    for pixels in (wide[..., :3], wide, noise, wide[..., 0]):
        files.append(cv2.imencode('.png', pixels)[1].tobytes())
    files.append(animated(cv2.imencode('.png', noise)[1].tobytes()))
    files.append(cv2.imencode('.tiff', noise.astype(np.float32))[1].tobytes())
    files.append(b'\0\0\0\x0cjP  \r\n\x87\n' + bytes(60))  # JPEG 2000, which no camera sends
    files.append(bytes(12) + cv2.imencode('.png', wide[..., 0])[1].tobytes())  # compressedDepth
    return files


def animated(png: bytes) -> bytes:
    """Return the PNG as an animation of one frame, which OpenCV 4.11 and later know."""
    control = chunk(b'acTL', (1).to_bytes(4, 'big') + bytes(4))
    frame = chunk(b'fcTL', bytes(4) + png[16:24] + bytes(8) + b'\0\1\0\1\0\0')
    return png[:33] + control + frame + png[33:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    checksum = zlib.crc32(kind + data).to_bytes(4, 'big')
    return len(data).to_bytes(4, 'big') + kind + data + checksum


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_in_header(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(min(len(data), 64))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _cut_before_end(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) : -12]


def _remove(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data) + 1)
    del data[begin : begin + rng.choice([1, 2, 4, 30])]


def _insert(data: bytearray, rng: random.Random) -> None:
    begin = rng.randrange(len(data) + 1)
    data[begin:begin] = rng.choice([b'\xff\xd9', b'\xff\xfe\xff\xff', b'\0' * 9, rng.randbytes(5)])


def _claim_a_size(data: bytearray, rng: random.Random) -> None:
    """Write another size where JPEG or PNG have theirs; PNG would notice by its checksum."""
    size = rng.choice([0, 1, 2, 33, 4096, 60000, 65535])
    frame = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2'))
    if frame > 0:
        side = frame + rng.choice([5, 7])
        data[side : side + 2] = size.to_bytes(2, 'big')
    elif data.startswith(b'\x89PNG'):
        side = rng.choice([16, 20])
        data[side : side + 4] = rng.choice([size, size << 16]).to_bytes(4, 'big')


def _mend_checksums(data: bytearray) -> None:
    """Make the checksums of a PNG right again, so that its damage is seen by what lies behind."""
    position = 8
    while data.startswith(b'\x89PNG') and position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], 'big')
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[position + 4 : end]).to_bytes(4, 'big')
        position = end + 4


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice([1, 100, 1000]))


DAMAGES = [
    _flip, _flip, _flip, _flip_in_header, _cut, _cut_before_end, _remove, _insert, _claim_a_size,
    _append,
]  # fmt: skip
FILES = encoded_files()


Decoder = Callable[[Any], np.ndarray]


def leaking(decode: Decoder) -> Decoder:
    """Make a decoder that keeps a little of each image that it refuses."""
    kept = []

    def decode_or_keep(message: Any) -> np.ndarray:
        try:
            return decode(message)
        except ImageDecodeError:
            kept.append(bytes(LEAKED))
            raise

    return decode_or_keep


def try_raw(case: int, rng: random.Random, decode: Decoder = image_to_rgb) -> str:
    """Decode one Image."""
    message = raw_image(rng, rng.choice([0, 0.1, 0.3]))
    return _outcome(_decoded(decode, message), (message.height, message.width))


def try_compressed(case: int, rng: random.Random, decode: Decoder = compressed_to_rgb) -> str:
    """Decode one CompressedImage, now and then twice.

    OpenCV 4.10 has shown what an earlier image left in memory for the rows that it had no data
    for (opencv/opencv issue 26488); then two runs differ.
    """
    message = compressed_image(rng)
    header = read_image_header(bytes(message.data))
    rgb = _decoded(decode, message)
    if rgb is not None and case % 4 == 0 and rgb.size < 10**6:
        first = rgb.copy()
        for grey in (7, 200):
            del rgb
            _leave_in_memory(first.shape, grey)
            rgb = decode(message)
            assert (rgb == first).all()
    return _outcome(rgb, header and (header.height, header.width))


def _decoded(decode: Decoder, message: Any) -> np.ndarray | None:
    """The pixels, or None where they are refused in one short line."""
    try:
        return decode(message)
    except ImageDecodeError as error:
        sentence = str(error)
        assert sentence.isprintable() and len(sentence) < 600, sentence
    return None


def _outcome(rgb: np.ndarray | None, size: tuple[int, int] | None) -> str:
    if rgb is None:
        return 'refused'
    assert rgb.dtype == np.uint8 and rgb.shape == (*size, 3), (rgb.dtype, rgb.shape, size)
    assert rgb.flags.c_contiguous
    int(rgb.sum())  # reads every byte: a view of too little memory would crash
    return 'image'


def _leave_in_memory(shape: tuple[int, ...], value: int) -> None:
    for _ in range(8):
        np.full(shape, value, np.uint8)


KINDS = {
    'raw': try_raw,
    'compressed': try_compressed,
    'leaky_raw': partial(try_raw, decode=leaking(image_to_rgb)),
    'leaky_compressed': partial(try_compressed, decode=leaking(compressed_to_rgb)),
}

if __name__ == '__main__':
    fuzzing.main(KINDS)
