# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Image messages of every encoding, and what RGB they are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

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


def mosaic(rgb, pattern):
    """Sample the colour image as the sensor does: ``pattern`` names the first 2x2 pixels."""
    out = np.empty(rgb.shape[:2], rgb.dtype)
    for i, color in enumerate(pattern):
        y, x = divmod(i, 2)
        out[y::2, x::2] = rgb[y::2, x::2, 'rgb'.index(color)]
    return out


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


def encoded(encoding, rgb):
    """Return the rows of ``rgb`` (H, W, 3) uint8, sides even, in any encoding."""
    if encoding in YUV:
        return yuv_rows(encoding, rgb)
    wide = '16' in encoding
    pixels = rgb.astype(np.uint16) * 257 if wide else rgb
    if encoding in BAYER:
        return mosaic(pixels, encoding[6:10])
    channels = PLAIN[encoding][0]
    if channels == 1:
        return pixels[..., 1]
    blue_first = encoding.startswith('bgr') or 'UC' in encoding
    pixels = pixels[..., ::-1] if blue_first else pixels
    return pixels if channels == 3 else np.dstack([pixels, pixels[..., :1]])
