# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What an encoded image says of itself, read without decoding it.

A few hundred damaged bytes may claim 60000x60000 pixels, and a decoder allocates what is claimed.
Only the formats below are known here, so only those reach OpenCV's decoders: JPEG and PNG, which
cameras send, and TIFF, WebP, BMP and PNM, which are found in folders of images.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

MOST_SEGMENTS = 10_000
"""Of a JPEG's or TIFF's header; photographs have some tens, with a large profile some hundreds."""

MOST_CHUNKS = 100_000
"""Of a PNG; many writers put 8 KiB in one."""

_PNG_PIXELS = frozenset(
    [(kind, bits) for kind, most in ((0, 16), (3, 8)) for bits in (1, 2, 4, 8, 16) if bits <= most]
    + [(kind, bits) for kind in (2, 4, 6) for bits in (8, 16)]
)
"""(colour type, bit depth) that a PNG may have (PNG 3rd edition, table 11.1)."""

_START_OF_SCAN = 0xDA
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_PNM_SPACE = rb'\s+(?:#[^\n]*\n\s*)*'
_PNM = re.compile(rb'P[1-6]' + _PNM_SPACE + rb'(\d{1,9})' + _PNM_SPACE + rb'(\d{1,9})\s')


class ImageHeader(NamedTuple):
    """``channels`` and ``end``, the number of bytes, are None where nobody needs to know."""

    codec: str
    width: int
    height: int
    channels: int | None = None
    is_complete: bool = True
    damage: str = ''
    end: int | None = None


def read_image_header(data: bytes) -> ImageHeader | None:
    """Return what the data say of themselves; None where that is no image of a known format.

    ``is_complete`` tells whether a JPEG or PNG has its end: OpenCV gives a cut one with its last
    rows grey. ``damage`` says what is wrong with a PNG, each of whose parts has a checksum: OpenCV
    4.11 gives some damaged ones with pixels of other images, and never frees memory of others.
    """
    for signature, read in _READERS.items():
        if data.startswith(signature):
            return read(data)
    return None


def _jpeg(data: bytes) -> ImageHeader | None:
    """Read the segments up to the first scan, as libjpeg does (ITU-T T.81, annex B)."""
    frame, position = None, 2
    for _ in range(MOST_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == _START_OF_SCAN:
            # Headers may hold a thumbnail, with an end of its own, so look behind them.
            return frame and frame._replace(is_complete=data.rfind(b'\xff\xd9') > position)
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            if marker in _START_OF_FRAME and len(data) >= position + 10:
                height, width = _big(data, position + 5, 2), _big(data, position + 7, 2)
                frame = ImageHeader('JPEG', width, height, data[position + 9])
            position += 2 + _big(data, position + 2, 2)
    # It ends, or is garbled, within its headers.
    return (frame or ImageHeader('JPEG', 0, 0))._replace(is_complete=False)


def _png(data: bytes) -> ImageHeader | None:
    """Read the first chunk, and see that all are there, up to the last (PNG 3rd edition, 5.3).

    OpenCV 4.11 allocates, and fills with zeros, as many bytes as a chunk says that it has.
    """
    header, position = ImageHeader('PNG', _big(data, 16, 4), _big(data, 20, 4)), 8
    if len(data) >= 29 and (
        (data[25], data[24]) not in _PNG_PIXELS or any(data[26:28]) or data[28] > 1
    ):
        header = header._replace(damage='its header tells of pixels that no PNG has')
    view = memoryview(data)
    for _ in range(MOST_CHUNKS):
        begin, kind = position + 4, data[position + 4 : position + 8]
        position += 12 + _big(data, position, 4)
        if position > len(data) or (position == 33) != (kind == b'IHDR'):
            break
        if zlib.crc32(view[begin : position - 4]) != _big(data, position - 4, 4):
            return header._replace(damage=f'the checksum of a part ({kind!r}) is wrong')
        if kind == b'IEND':  # padding may follow, which OpenCV may take for chunks
            return header._replace(end=position)
    return header._replace(is_complete=False)


def _webp(data: bytes) -> ImageHeader | None:
    """Read a RIFF file's first chunk (RFC 9649)."""
    if data[8:12] != b'WEBP' or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b'VP8X':
        width, height = 1 + _little(data, 24, 3), 1 + _little(data, 27, 3)
    elif kind == b'VP8L':
        bits = _little(data, 21, 4)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    return ImageHeader('WebP', width, height)


def _bmp(data: bytes) -> ImageHeader | None:
    if len(data) < 26:
        return None
    if _little(data, 14, 4) == 12:  # the header of OS/2
        return ImageHeader('BMP', _little(data, 18, 2), _little(data, 20, 2))
    width, height = (int.from_bytes(data[i : i + 4], 'little', signed=True) for i in (18, 22))
    return ImageHeader('BMP', width, abs(height))  # negative: the first row is the top one


def _pnm(data: bytes) -> ImageHeader | None:
    found = _PNM.match(data[:4096])
    return ImageHeader('PNM', int(found[1]), int(found[2])) if found else None


def _tiff(data: bytes) -> ImageHeader | None:
    """Read the largest width (tag 256, of tiles 322) and height (257, 323) of the first image."""
    order = 'little' if data[:1] == b'I' else 'big'

    def number(position: int, size: int) -> int:
        return int.from_bytes(data[position : position + size], order)

    directory, sizes = number(4, 4), [0, 0]
    entries = number(directory, 2)
    if entries > MOST_SEGMENTS or directory + 2 + 12 * entries > len(data):
        return None
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind = number(entry, 2), number(entry + 2, 2)
        if tag in (256, 257, 322, 323):
            size = number(entry + 8, {1: 1, 3: 2}.get(kind, 4))
            sizes[tag % 2] = max(size, sizes[tag % 2])
    return ImageHeader('TIFF', sizes[0], sizes[1])


def _big(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], 'big')


def _little(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], 'little')


_READERS: dict[bytes, Callable[[bytes], ImageHeader | None]] = {
    b'\xff\xd8': _jpeg,
    b'\x89PNG\r\n\x1a\n': _png,
    b'RIFF': _webp,
    b'BM': _bmp,
    b'II*\0': _tiff,
    b'MM\0*': _tiff,
    **{f'P{i}'.encode(): _pnm for i in range(1, 7)},
}
