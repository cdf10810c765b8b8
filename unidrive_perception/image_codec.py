# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``sensor_msgs`` images to RGB arrays and back, with NumPy and OpenCV.

Everything is duck-typed on the fields of ``sensor_msgs/Image`` and ``CompressedImage``, so the
messages of a live node and of a bag are decoded alike. The pixels are those that cv_bridge gives:
16 bits become 8 by the factor 255 / 65535. Encodings that name no colours (8UC3, 8UC4, 16UC3,
16UC4) are taken for OpenCV's order, blue first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from unidrive_perception.errors import UserError, one_line, quoted
from unidrive_perception.image_headers import ImageHeader, read_image_header


class ImageDecodeError(UserError):
    """A message is not an image that can be decoded; the sentence says why."""


MAX_PIXELS = 2**28
"""Of an image; what claims more is damaged, or not from a camera."""

MAX_PIXELS_PER_BYTE = 1024
"""Of a compressed image of more than 2**24 pixels, where a lie costs memory. JPEG and PNG need a
byte for 340 pixels of a single colour."""


LONGEST_JPEG_SIDE = 65_500
"""Pixels; libjpeg's JPEG_MAX_DIMENSION."""


@dataclass(frozen=True)
class _Encoding:
    """How the pixels of an encoding lie in memory, and what makes (H, W, 3) uint8 RGB of them."""

    to_rgb: Callable[[np.ndarray], np.ndarray]
    channels: int
    dtype: type = np.uint8
    bridged: bool = False  # cv_bridge converts it to rgb8, in all its versions
    rows: float = 1  # per image row: more than 1 where chroma planes follow the luma
    block: tuple[int, int] = (1, 1)  # (height, width) of the pixels that share one chroma value


def image_to_rgb(
    message: Any, bridge: Any = None, warn: Callable[[str], Any] | None = None
) -> np.ndarray:
    """Return the pixels of a ``sensor_msgs/Image``: (height, width, 3) uint8 RGB, contiguous.

    ``data`` may be bytes, array.array or a NumPy array, with any ``step`` and either byte order.
    An rgb8 image without padding is not copied: the result is a view and may be read-only.
    ``bridge``, a CvBridge (see :func:`unidrive_perception.image_bridge.find_cv_bridge`), converts
    what it converts well; where it fails all the same, we convert, and ``warn`` gets a sentence.
    Raises ImageDecodeError.
    """
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageDecodeError(
            f'the image encoding {quoted(message.encoding)} is not supported; '
            f'these are: {", ".join(SUPPORTED_ENCODINGS)}'
        )
    pixels = _pixels(message, encoding)
    # cv_bridge skews an image whose step is no multiple of its pixel size, and cannot swap bytes
    # with NumPy 2.
    if bridge and encoding.bridged and pixels.flags.c_contiguous and pixels.dtype.isnative:
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, 'rgb8'))
        except Exception as error:  # CvBridgeError, cv2.error, ValueError: versions differ
            if warn:
                warn(
                    f'cv_bridge cannot convert a {message.encoding} image, so OpenCV does '
                    f'({type(error).__name__}: {error})'
                )
    try:
        return encoding.to_rgb(np.require(pixels, pixels.dtype.newbyteorder('='), ['A']))
    except cv2.error as error:
        raise ImageDecodeError(
            f'a {message.encoding} image of {message.width}x{message.height} pixels cannot be '
            f'converted: {one_line(error.err)}'
        ) from error


def compressed_to_rgb(message: Any) -> np.ndarray:
    """Return the pixels of a ``sensor_msgs/CompressedImage``: (height, width, 3) uint8 RGB.

    ``format`` is "ORIGINAL; CODEC compressed STORED" (CompressedImage.msg), or any part of it; the
    codec is told from the data. Only two things are taken from it: "compressed rgb" says that the
    writer had swapped red and blue, and a Bayer ORIGINAL whose data are grey is a mosaic.
    Raises ImageDecodeError, also for a JPEG or PNG without its end and for an impossible size.
    """
    data = _flat(message.data)
    what = f'the compressed image (format {quoted(message.format)}, {data.size} bytes)'
    if not data.size:
        raise ImageDecodeError(f'{what} is empty')
    header = read_image_header(data.tobytes())
    _check_header(header, what, data.size)
    try:
        rgb = _decode(data[: header.end], header, message.format)
    except cv2.error as error:
        raise ImageDecodeError(f'{what} cannot be decoded: {one_line(error.err)}') from error
    if rgb is None:
        raise ImageDecodeError(f'{what} is damaged')
    return rgb


def rgb_to_image_data(rgb: np.ndarray, encoding: str = 'rgb8') -> tuple[np.ndarray, int]:
    """Return the pixels (H, W, 3) uint8 as flat Image data and its ``step``; a view for rgb8.

    ``encoding`` is 'rgb8', 'bgr8' or 'mono8'.
    """
    if encoding == 'rgb8':
        pixels = np.ascontiguousarray(rgb)
    elif encoding in ('bgr8', 'mono8'):
        gray = encoding == 'mono8'
        pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY if gray else cv2.COLOR_RGB2BGR)
    else:
        raise ValueError(f'encoding must be rgb8, bgr8 or mono8, not {encoding!r}')
    return pixels.reshape(-1), pixels.size // pixels.shape[0]


def rgb_to_compressed(rgb: np.ndarray, codec: str = 'jpeg', quality: int = 95) -> np.ndarray:
    """Return the pixels as flat uint8 data of a JPEG or PNG file; ``quality`` 0..100 is JPEG's.

    Raises ``ValueError`` for another codec, UserError for sides that a JPEG cannot have.
    """
    if codec not in ('jpeg', 'png'):
        raise ValueError(f'codec must be jpeg or png, not {codec!r}')
    if codec == 'jpeg' and max(rgb.shape) > LONGEST_JPEG_SIDE:
        height, width = rgb.shape[:2]
        raise UserError(
            f'an image of {width}x{height} pixels is no JPEG: none has more than '
            f'{LONGEST_JPEG_SIDE} on a side'
        )
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if codec == 'jpeg' else []
    _, data = cv2.imencode(f'.{codec}', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return data.reshape(-1)


def picture_to_compressed(rgb: np.ndarray, codec: str, quality: int = 95) -> np.ndarray:
    """As :func:`rgb_to_compressed`, for people: what is too long for a JPEG is shrunk to fit."""
    factor = LONGEST_JPEG_SIDE / max(rgb.shape)
    if codec == 'jpeg' and factor < 1:
        height, width = (max(1, int(side * factor)) for side in rgb.shape[:2])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return rgb_to_compressed(rgb, codec, quality)


def _flat(data: Any) -> np.ndarray:
    """Return message data as a flat uint8 array, not copied."""
    return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)


def _pixels(message: Any, encoding: _Encoding) -> np.ndarray:
    """Return a view (rows, width, channels) of the data, once they are found to be enough."""
    data = _flat(message.data)
    height, width, step = message.height, message.width, message.step
    what = f'an image of {width}x{height} pixels in {message.encoding}'
    block_height, block_width = encoding.block
    if height < 1 or width < 1:
        raise ImageDecodeError(f'{what} has no pixels')
    if height * width > MAX_PIXELS:
        raise ImageDecodeError(
            f'{what} is larger than any camera makes them ({MAX_PIXELS} pixels)'
        )
    if height % block_height or width % block_width:
        raise ImageDecodeError(
            f'{what} cannot be: its height must be a multiple of {block_height}, '
            f'its width of {block_width}'
        )
    rows = int(height * encoding.rows)
    dtype = np.dtype(encoding.dtype).newbyteorder('>' if message.is_bigendian else '<')
    pixel_bytes = encoding.channels * dtype.itemsize
    row_bytes = width * pixel_bytes
    # Drivers do not agree on what the step of a planar format is; without padding it is known.
    if encoding.rows > 1 and data.size == rows * row_bytes:
        step = row_bytes
    if step < row_bytes:
        raise ImageDecodeError(f'{what} needs a step of {row_bytes} bytes or more, not {step}')
    needed = (rows - 1) * step + row_bytes  # the last row may come without its padding
    if data.size < needed:
        raise ImageDecodeError(
            f'{what} with a step of {step} needs {needed} bytes of data, not {data.size}'
        )
    # The step of a single row is never taken, so it may be anything.
    strides = (step if rows > 1 else row_bytes, pixel_bytes, dtype.itemsize)
    return np.ndarray((rows, width, encoding.channels), dtype, data, strides=strides)


def _check_header(header: ImageHeader | None, what: str, data_bytes: int) -> None:
    """Refuse what cannot be a camera's image, before the decoder allocates what it claims."""
    if header is None:
        raise ImageDecodeError(
            f'{what} is no JPEG, PNG, TIFF, WebP, BMP or PNM image; depth maps (compressedDepth) '
            'and video streams (h264, ...) cannot be decoded here'
        )
    if not header.is_complete:
        raise ImageDecodeError(f'{what} is cut off: its end is missing')
    size = f'{header.width}x{header.height} pixels'
    if header.damage:
        raise ImageDecodeError(f'{what} is damaged: {header.damage}')
    if header.width < 1 or header.height < 1:
        raise ImageDecodeError(f'{what} is damaged: it has {size}')
    pixels = header.width * header.height
    if pixels > min(MAX_PIXELS, max(2**24, data_bytes * MAX_PIXELS_PER_BYTE)):
        raise ImageDecodeError(
            f'{what} is damaged: it claims {size}, too many for a {header.codec}'
            ' image of that length'
        )


def _decode(data: np.ndarray, header: ImageHeader, text: str) -> np.ndarray | None:
    """Return the RGB pixels, None where OpenCV finds the data damaged."""
    if _IMREAD_RGB is not None and (header.codec, header.channels) == ('JPEG', 3):
        order = cv2.IMREAD_COLOR if _RGB_WAS_STORED in text else _IMREAD_RGB
        return cv2.imdecode(data, order | cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return None if pixels is None else _decoded_to_rgb(pixels, text)


def _decoded_to_rgb(pixels: np.ndarray, text: str) -> np.ndarray:
    """Turn what cv2.imdecode gave (grey, BGR or BGRA, 8 or 16 bits) into RGB."""
    original = text.partition(';')[0].strip()
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageDecodeError(f'compressed images of {pixels.dtype} values are not supported')
    if pixels.ndim == 2:
        is_mosaic = original.startswith('bayer_') and original in _ENCODINGS
        pixels = cv2.cvtColor(pixels, _BAYER[original[6:10]] if is_mosaic else cv2.COLOR_GRAY2RGB)
    elif pixels.shape[2] == 4:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    elif _RGB_WAS_STORED not in text:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return _to_eight_bits(pixels)


def _to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scale 16 bits to 8 as cv_bridge does."""
    if pixels.dtype == np.uint8:
        return pixels
    return cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def _with(code: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the conversion to 8 bits, then by an OpenCV colour code that only orders channels."""
    return lambda pixels: cv2.cvtColor(_to_eight_bits(pixels), code)


def _demosaic(code: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the conversion of a Bayer mosaic, which averages, then to 8 bits."""
    return lambda pixels: _to_eight_bits(cv2.cvtColor(pixels, code))


def _nv24_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert YUV 4:4:4 (a luma plane, then one of U, V pairs), which OpenCV has no code for.

    A row of chroma is as long as two of luma, with their padding. With every pixel doubled
    sideways it is a YUYV image, so it gets the same colours as those.
    """
    rows, width, _ = pixels.shape
    height = rows // 3
    strides = (2 * pixels.strides[0], 2, 1)
    chroma = np.lib.stride_tricks.as_strided(pixels[height:], (height, width, 2), strides)
    yuyv = np.empty((height, width, 4), np.uint8)
    cv2.mixChannels([pixels[:height], chroma], [yuyv], [0, 0, 1, 1, 0, 2, 2, 3])
    doubled = cv2.cvtColor(yuyv.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_YUY2)
    return cv2.resize(doubled, (width, height), interpolation=cv2.INTER_NEAREST)


# OpenCV names a mosaic by the second and third pixel of its second row, ROS by its first four.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}

_RGB_WAS_STORED = 'compressed rgb'
_IMREAD_RGB = getattr(cv2, 'IMREAD_COLOR_RGB', None)  # OpenCV 4.11 and later; saves a pass

_UYVY = _with(cv2.COLOR_YUV2RGB_UYVY)
_YUYV = _with(cv2.COLOR_YUV2RGB_YUY2)

_ENCODINGS = {
    'rgb8': _Encoding(np.ascontiguousarray, 3),
    'bgr8': _Encoding(_with(cv2.COLOR_BGR2RGB), 3, bridged=True),
    'rgba8': _Encoding(_with(cv2.COLOR_RGBA2RGB), 4, bridged=True),
    'bgra8': _Encoding(_with(cv2.COLOR_BGRA2RGB), 4, bridged=True),
    'mono8': _Encoding(_with(cv2.COLOR_GRAY2RGB), 1, bridged=True),
    '8UC1': _Encoding(_with(cv2.COLOR_GRAY2RGB), 1),
    '8UC3': _Encoding(_with(cv2.COLOR_BGR2RGB), 3),
    '8UC4': _Encoding(_with(cv2.COLOR_BGRA2RGB), 4),
    'rgb16': _Encoding(_to_eight_bits, 3, np.uint16, bridged=True),
    'bgr16': _Encoding(_with(cv2.COLOR_BGR2RGB), 3, np.uint16, bridged=True),
    'rgba16': _Encoding(_with(cv2.COLOR_RGBA2RGB), 4, np.uint16, bridged=True),
    'bgra16': _Encoding(_with(cv2.COLOR_BGRA2RGB), 4, np.uint16, bridged=True),
    'mono16': _Encoding(_with(cv2.COLOR_GRAY2RGB), 1, np.uint16, bridged=True),
    '16UC1': _Encoding(_with(cv2.COLOR_GRAY2RGB), 1, np.uint16),
    '16UC3': _Encoding(_with(cv2.COLOR_BGR2RGB), 3, np.uint16),
    '16UC4': _Encoding(_with(cv2.COLOR_BGRA2RGB), 4, np.uint16),
    **{f'bayer_{p}8': _Encoding(_demosaic(code), 1, bridged=True) for p, code in _BAYER.items()},
    **{
        f'bayer_{p}16': _Encoding(_demosaic(code), 1, np.uint16, bridged=True)
        for p, code in _BAYER.items()
    },
    'yuv422': _Encoding(_UYVY, 2, bridged=True, block=(1, 2)),
    'uyvy': _Encoding(_UYVY, 2, block=(1, 2)),
    'yuv422_yuy2': _Encoding(_YUYV, 2, bridged=True, block=(1, 2)),
    'yuyv': _Encoding(_YUYV, 2, block=(1, 2)),
    'nv12': _Encoding(_with(cv2.COLOR_YUV2RGB_NV12), 1, rows=1.5, block=(2, 2)),
    'nv21': _Encoding(_with(cv2.COLOR_YUV2RGB_NV21), 1, rows=1.5, block=(2, 2)),
    'nv24': _Encoding(_nv24_to_rgb, 1, rows=3),
}

SUPPORTED_ENCODINGS = tuple(_ENCODINGS)
