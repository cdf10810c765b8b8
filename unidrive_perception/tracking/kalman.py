# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Constant-velocity Kalman filters of many boxes at once, in real time units."""

from __future__ import annotations

import numpy as np

MEASUREMENT_STD = 0.08
"""Of a measured centre or size, in box scales (mean of width and height). The default bundle's
boxes are off by 0.05 to 0.12 scales; DeepSORT and ByteTrack take 0.05 of the height."""

ACCELERATION_STD = 1.0
"""Change of velocity, in box scales/s after one second: ByteTrack's 1/160 of the height per frame
at 30 frames/s is the same."""

FIRST_VELOCITY_STD = 1.5
"""Velocity of a new box before it was seen twice, in box scales/s."""

_LEAST_SIZE = 1.0  # px: a shrinking box that is not seen must not turn inside out


class BoxFilters:
    """Position and velocity of N boxes, with their uncertainty.

    The centre and the size (x, y, width, height) move independently, so a filter is four filters
    of two numbers each: its covariance is a 2×2 matrix per axis, kept as three (N, 4) arrays,
    and no matrix is ever inverted. All noise is in proportion to the size of the box, and grows
    with the time that passed and not with the number of frames.
    """

    def __init__(self) -> None:
        """Start without boxes."""
        # (5, N, 4): mean, velocity, and the covariance's mean-mean, mean-velocity, velocity²
        self._state = np.zeros((5, 0, 4))

    def __len__(self) -> int:
        """Return how many boxes are filtered."""
        return self._state.shape[1]

    def boxes(self) -> np.ndarray:
        """Where the boxes are now: (N, 4) xyxy."""
        centre, half = self._state[0, :, :2], self._state[0, :, 2:] / 2
        return np.concatenate([centre - half, centre + half], 1)

    def reach(self) -> np.ndarray:
        """How far off the next measured centre is to be expected: (N, 2) standard deviation."""
        return np.sqrt(self._state[2, :, :2] + _noise(self._state[0]))

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        mean, velocity, var, cov, var_velocity = self._state
        mean += velocity * seconds
        np.maximum(mean[:, 2:], _LEAST_SIZE, out=mean[:, 2:])
        noise = (ACCELERATION_STD * _scale(mean)) ** 2 * seconds  # white-noise acceleration
        var += seconds * (2 * cov + seconds * (var_velocity + noise / 3))
        cov += seconds * (var_velocity + noise / 2)
        var_velocity += noise

    def correct(self, rows: np.ndarray, boxes: np.ndarray) -> None:
        """Tell the filters ``rows`` (M,), each at most once, what was measured: (M, 4) xyxy."""
        mean, velocity, var, cov, var_velocity = self._state[:, rows]
        total = var + _noise(mean)
        gain, velocity_gain = var / total, cov / total
        surprise = _centre_and_size(boxes) - mean
        self._state[:, rows] = (
            mean + gain * surprise,
            velocity + velocity_gain * surprise,
            var - gain * var,
            cov - gain * cov,
            var_velocity - velocity_gain * cov,
        )

    def add(self, boxes: np.ndarray) -> None:
        """Add filters at the end for boxes (M, 4) xyxy that were measured once."""
        new = np.zeros((5, len(boxes), 4))
        new[0] = _centre_and_size(boxes)
        new[2] = _noise(new[0])
        new[4] = (FIRST_VELOCITY_STD * _scale(new[0])) ** 2
        self._state = np.concatenate([self._state, new], 1)

    def keep(self, rows: np.ndarray) -> None:
        """Forget all filters but ``rows``: indices or a mask."""
        self._state = self._state[:, rows]


def _centre_and_size(boxes: np.ndarray) -> np.ndarray:
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], 1)


def _scale(mean: np.ndarray) -> np.ndarray:
    """Mean of width and height, (N, 1): half of a thin pedestrian's width moves it little."""
    return mean[:, 2:].mean(1, keepdims=True)


def _noise(mean: np.ndarray) -> np.ndarray:
    return (MEASUREMENT_STD * _scale(mean)) ** 2
