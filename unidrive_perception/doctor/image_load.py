# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How many bytes the images of a camera have, for the measured transport."""

from __future__ import annotations

from typing import NamedTuple

BITS_PER_PIXEL = {
    **dict.fromkeys(('rgb8', 'bgr8'), 24),
    **dict.fromkeys(('rgba8', 'bgra8'), 32),
    **dict.fromkeys(('mono8', 'bayer_rggb8'), 8),
    **dict.fromkeys(('mono16', 'yuv422', 'yuv422_yuy2'), 16),
    'nv12': 12,
    'jpeg': 3,  # quality 90 of a street; other content and qualities give a third to the double
}


class ImageLoad(NamedTuple):
    """Images as the transport sees them: a name for people, bytes, whether a camera sends them."""

    name: str
    size: int
    live: bool = False

    @classmethod
    def of(cls, width: int, height: int, encoding: str) -> ImageLoad:
        """Images of a size and one of the encodings above."""
        size = width * height * BITS_PER_PIXEL[encoding] // 8
        return cls(f'{width}×{height} {encoding}', size)
