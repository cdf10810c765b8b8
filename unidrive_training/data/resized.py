# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Shrunk copies of images and masks on disk: decoded once at full size, then never again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_training.data.bdd100k import read_image, read_mask
from unidrive_training.data.headers import image_size

_JPEG_QUALITY = 95


class ResizedCopies:
    """Copies below ``folder`` with ``longest_side`` pixels, each made when it is first asked for.

    Many processes may use the folder at once, and it may be deleted between runs. A copy belongs
    to the path, size and time of change of its original, so a changed original gets a new one. The
    first use reads the copy too: a sample is the same whoever made it, and when.
    """

    def __init__(self, folder: str | Path, longest_side: int) -> None:
        self.folder, self.longest_side = Path(folder), longest_side

    def image(self, path: Path) -> tuple[np.ndarray, tuple[int, int]]:
        """(H, W, 3) uint8 RGB, and the (height, width) of the original, to scale its boxes."""
        copy = self._place(path, '.jpg')
        if copy.is_file():
            return read_image(copy), image_size(path)
        image = read_image(path)
        size = image.shape[:2]
        if max(size) <= self.longest_side:
            return image, size
        image = resize_image(image, shrunk_size(size, self.longest_side))
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        self._write(copy, bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return read_image(copy), size

    def mask(self, path: Path) -> np.ndarray:
        """(H, W) uint8 class ids."""
        copy = self._place(path, '.png')
        if copy.is_file():
            return read_mask(copy)
        mask = read_mask(path)
        if max(mask.shape) > self.longest_side:
            mask = resize_mask(mask, shrunk_size(mask.shape, self.longest_side))
            self._write(copy, mask, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        return mask

    def _place(self, original: Path, suffix: str) -> Path:
        try:
            status = original.stat()
        except OSError as error:
            raise UserError(f'{original}: {error.strerror}; complete the dataset') from error
        what = (original.absolute(), status.st_size, status.st_mtime_ns, self.longest_side)
        key = hashlib.sha256('\0'.join(map(str, what)).encode()).hexdigest()[:32]
        return self.folder / key[:2] / f'{key[2:]}{suffix}'

    def _write(self, copy: Path, pixels: np.ndarray, options: list[int]) -> None:
        aside = copy.with_name(f'{copy.name}.{secrets.token_hex(4)}.part')
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(cv2.imencode(copy.suffix, pixels, options)[1])
            os.replace(aside, copy)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise UserError(
                f'{self.folder}: cannot hold resized copies ({error.strerror}); make room, give '
                'another folder, or do without'
            ) from error


def shrunk_size(size: tuple[int, int], longest_side: int | None) -> tuple[int, int]:
    """(height, width) with at most ``longest_side`` pixels a side."""
    factor = min(1.0, longest_side / max(size)) if longest_side else 1.0
    return round(size[0] * factor), round(size[1] * factor)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 at ``size`` (height, width): the mean of the area under each pixel."""
    if image.shape[:2] == size:
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 at ``size`` (height, width): the id at each pixel's centre."""
    if mask.shape == size:
        return mask
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
