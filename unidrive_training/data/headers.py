# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Size and kind of an image or label mask from the first bytes of its file, no pixel decoded."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from unidrive_perception.errors import UserError

_PNG = b'\x89PNG\r\n\x1a\n'
_GREY = 0  # colour type of a PNG: one channel, no palette
_ORIENTATION = 0x0112  # EXIF tag; from 5 on the picture lies on its side
_TAIL = 1024  # bytes that some cameras append to a picture, and more
_MAX_PIXELS = 200_000_000  # 0.6 GB when decoded: of more, a few at once end a process for memory
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which warns from 89 million on


@dataclass(frozen=True)
class MaskHeader:
    """``size``: (height, width)."""

    size: tuple[int, int]
    bits: int
    one_channel: bool


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) that ``read_image`` gives; UserError when the header cannot be read.

    OpenCV turns a JPEG as its EXIF orientation says.
    """
    _check_file(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.format == 'JPEG' and image.getexif().get(_ORIENTATION, 1)
    except UnidentifiedImageError:
        raise _bad(path, 'no image') from None
    except Exception as error:  # Pillow's parsers raise whatever a damaged header makes them meet
        raise _bad(path, f'no readable image header ({error!r})') from error
    return _sane(path, *((width, height) if turned in (5, 6, 7, 8) else (height, width)))


def check_end(path: Path) -> None:
    """UserError when a JPEG or PNG lacks its end: half a file decodes, to half a picture."""
    ends = {'.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9', '.png': b'IEND'}
    end = ends.get(path.suffix.lower())
    if end is None:
        return
    with path.open('rb') as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL))
        if end not in file.read():
            raise _bad(path, 'cut off')


def mask_header(path: Path) -> MaskHeader:
    """The header of a PNG; UserError when it is none."""
    _check_file(path)
    try:
        with path.open('rb') as file:
            head = file.read(26)
    except OSError as error:
        raise _bad(path, str(error.strerror)) from error
    if len(head) < 26 or not head.startswith(_PNG) or head[12:16] != b'IHDR':
        raise _bad(path, 'no PNG')
    width, height, bits, colour_type = struct.unpack('>IIBB', head[16:26])
    return MaskHeader(_sane(path, height, width), bits, colour_type == _GREY)


def _check_file(path: Path) -> None:
    if not path.is_file():  # a broken link, a folder; a pipe would be waited for
        raise _bad(path, 'no regular file')
    try:
        str(path).encode()
    except UnicodeEncodeError:  # OpenCV crashes at such a name
        raise _bad(path, 'the name is not UTF-8') from None


def _sane(path: Path, height: int, width: int) -> tuple[int, int]:
    if not 0 < width * height <= _MAX_PIXELS:
        most = f'{_MAX_PIXELS // 1_000_000} million'
        raise _bad(path, f'{width}×{height} pixels, where 1 to {most} are usable')
    return height, width


def _bad(path: Path, reason: str) -> UserError:
    return UserError(f'{path}: {reason}; delete or replace the file')
