# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a recording are worth keeping: not too close in time, and not seen already.

Two images are compared by their *thumbnails*: 32×18 grey cells, each the mean of what it covers,
brought to mean 0 and a contrast (standard deviation) of 48 grey levels. So exposure, noise and
the JPEG quality do not matter. The *change* between two images is the share of cells that differ
by more than 8 levels. That share, and not the mean difference, because it looks at where
something moved and not at how bright it is; and not a difference hash, whose bits flip with the
noise in an even sky while they stay the same on an even road.

Measured: the same scene with sensor noise (σ 5 of 255), exposure ±10 % and JPEG quality 60
changes by 0.0 %. A car on a motorway changes by 10 % or more in half a second, one in town by
15 % to 80 %. A car that waits while another comes closer changes by 3 % to 5 % in half a second.
"""

from __future__ import annotations

import cv2
import numpy as np

WIDTH, HEIGHT = 32, 18
MIN_CHANGE = 0.03
_CONTRAST = 48.0
_LEAST_CONTRAST = 12.0
"""Where there is less, nothing is to be seen: noise must not be made a picture."""
_CHANGED = 8
_SAMPLE = slice(None, None, 9)
"""Every ninth cell: spread over the image, they tell most pairs apart alone."""
_EARLY = 0.1
"""Share of a period by which a frame may come early: cameras and recorders are not exact, and
10 Hz taken at 5 Hz would otherwise skip two frames each time that one comes a little early."""


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    """What is compared of an image (H, W, 3) uint8: its cells, (576,) int8."""
    size = (WIDTH, HEIGHT)
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    cells = small.astype(np.float32) - small.mean()
    cells *= _CONTRAST / max(float(cells.std()), _LEAST_CONTRAST)
    return np.rint(cells).clip(-127, 127).astype(np.int8).ravel()


class SeenImages:
    """All images that were kept, so that none comes twice: from this recording or another.

    Not a bounded number of them: one comparison with 100 000 takes about 2 ms, and 64 MB.
    """

    def __init__(self, min_change: float = MIN_CHANGE) -> None:
        """Images of which a share of less than ``min_change`` differs are near-duplicates."""
        self._min_cells = min_change * WIDTH * HEIGHT
        self._count = 0
        self._kept = np.empty((256, WIDTH * HEIGHT), np.int8)
        self._samples = self._kept[
            :, _SAMPLE
        ].T.copy()  # image by image it takes ten times as long

    def has_near_duplicate(self, image: np.ndarray) -> bool:
        """Whether an image with nearly this thumbnail was kept."""
        # Where the sample alone differs in too many cells, the rest need not be looked at.
        samples = self._samples[:, : self._count]
        alike = np.flatnonzero(_changed_cells(samples, image[_SAMPLE]) < self._min_cells)
        return bool((_changed_cells(self._kept[alike].T, image) < self._min_cells).any())

    def add(self, image: np.ndarray) -> None:
        """Remember the thumbnail of an image that is kept."""
        if self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)])
            self._samples = np.concatenate([self._samples, np.empty_like(self._samples)], axis=1)
        self._kept[self._count] = image
        self._samples[:, self._count] = image[_SAMPLE]
        self._count += 1


def _changed_cells(kept: np.ndarray, image: np.ndarray) -> np.ndarray:
    """How many cells of each of ``kept`` (cells, N) differ from ``image`` (cells,), int8: (N,)."""
    wide = image.astype(np.int16)[:, None]
    darkest = np.maximum(wide - _CHANGED, -128).astype(np.int8)
    brightest = np.minimum(wide + _CHANGED, 127).astype(np.int8)
    return ((kept < darkest) | (kept > brightest)).sum(0, dtype=np.uint16)


class Pace:
    """Lets at most ``rate`` frames a second of each camera through; 0 lets all through.

    It looks at stamps only, so the frames chosen do not depend on what is seen on them.
    """

    def __init__(self, rate: float) -> None:
        """Start with no frame taken."""
        self._gap_ns = round((1 - _EARLY) * 1e9 / rate) if rate else 1
        self._last: dict[str, int] = {}

    def is_due(self, camera: str, stamp_ns: int) -> bool:
        """Whether enough time has passed since the last frame taken (or the clock was set)."""
        last = self._last.get(camera)
        return last is None or abs(stamp_ns - last) >= self._gap_ns

    def take(self, camera: str, stamp_ns: int) -> None:
        """Note that this frame is taken."""
        self._last[camera] = stamp_ns
