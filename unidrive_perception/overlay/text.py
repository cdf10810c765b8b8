# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Text on pictures, smooth at every size, and the plates that carry it."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np

from unidrive_perception.geometry import Size
from unidrive_perception.labels import Color
from unidrive_perception.overlay.kept import kept

WHITE, BLACK = (255, 255, 255), (16, 16, 16)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 22  # pixels that a capital letter of the font is high at scale 1
_FINER = 4  # OpenCV draws small letters raggedly: they are drawn larger, and shrunk


def text_size(image_size: Size) -> int:
    """Height of a line of text, in pixels, that is easy to read in a picture of this size."""
    return min(40, max(9, round(min(image_size) / 42)))


def line_width(image_size: Size) -> int:
    """Width of a line, in pixels, that is seen but hides little."""
    return max(1, round(min(image_size) / 400))


def text_cover(text: str, size: int) -> np.ndarray:
    """(size, width) uint8: how much of each pixel the letters cover, 0..255.

    What is not ASCII is written without its accents, or left out.
    """
    plain = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode()
    space = np.zeros((size, round(0.45 * size)), np.uint8)
    parts = [part for word in plain.split() for part in (space, _word_cover(word, size))]
    return np.hstack(parts[1:] or [space])


@kept(1024)  # classes, tracks and scores come again and again
def _word_cover(word: str, size: int) -> np.ndarray:
    high = size * _FINER
    scale = 0.62 * high / _CAPITAL
    thick = max(_FINER, round(0.08 * high))
    width = cv2.getTextSize(word, _FONT, scale, thick)[0][0] - thick
    canvas = np.zeros((high, width), np.uint8)
    cv2.putText(canvas, word, (0, round(0.78 * high)), _FONT, scale, 255, thick, cv2.LINE_AA)
    return cv2.resize(canvas, (round(width / _FINER), size), interpolation=cv2.INTER_AREA)


def write(picture: np.ndarray, cover: np.ndarray, place: tuple[int, int], ink: Color) -> None:
    """Write what :func:`text_cover` gave, with its upper left corner at ``place`` (x, y)."""
    (x, y), (height, width) = place, cover.shape
    ground = picture[y : y + height, x : x + width]
    share = cover[..., None].astype(np.uint16)
    ground[:] = (share * np.array(ink, np.uint16) + (255 - share) * ground) // 255


def plate(height: int, width: int) -> np.ndarray:
    """A dark ground for bright text."""
    return np.full((height, width, 3), BLACK[0], np.uint8)  # one value is a tenth of the work


def lay(picture: np.ndarray, ground: np.ndarray, place: tuple[int, int]) -> None:
    """Lay a plate over ``picture``, which shines through, its corner at ``place`` (x, y)."""
    (x, y), (height, width) = place, ground.shape[:2]
    under = picture[y : y + height, x : x + width]
    under[:] = cv2.addWeighted(under, 0.2, ground, 0.8, 0)
