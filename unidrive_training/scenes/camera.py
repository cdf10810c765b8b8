# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a point of the street lands in the image.

Street coordinates: ``t`` metres along the road, ``s`` metres to the right of its centreline, ``y``
metres up. Camera coordinates: ``x`` right, ``y`` up (0 is the ground), ``z`` ahead of the camera.
The road bends by shearing: a piece of street at distance ``z`` is displaced sideways by the
centreline, which keeps every cross-section parallel to the image and the truth exact on a curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NEAR = 0.6  # metres; nothing closer to the camera is drawn
FAR = 190.0  # metres; nothing farther is drawn


@dataclass(frozen=True)
class Centreline:
    """Sideways displacement of the road: a few sines whose periods divide the world's length."""

    waves: tuple[tuple[float, float, float], ...]  # amplitude in m, wave number in rad/m, phase

    def offset(self, t: float) -> float:
        """Displacement in metres at ``t`` metres."""
        return sum(a * math.sin(k * t + p) for a, k, p in self.waves)

    def offsets(self, t: np.ndarray) -> np.ndarray:
        """Displacements at many places."""
        return sum(a * np.sin(k * t + p) for a, k, p in self.waves)

    def slope(self, t: float) -> float:
        """Its derivative: the heading of the road in radians (small angles)."""
        return sum(a * k * math.cos(k * t + p) for a, k, p in self.waves)


def sample_centreline(rng: np.random.Generator, length: float, bend: float) -> Centreline:
    """A closed centreline of period ``length``; ``bend`` 0 is straight, 1 a winding street."""
    orders = (1, 2, 3)
    radii = bend * np.array([14.0, 6.0, 3.0]) * rng.uniform(0.2, 1.0, 3)
    phases = rng.uniform(0, 2 * math.pi, 3)
    return Centreline(
        tuple(
            (float(a), 2 * math.pi * n / length, float(p))
            for a, n, p in zip(radii, orders, phases, strict=True)
        )
    )


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: image size, focal length and mounting, the same for a whole drive."""

    height_px: int
    width_px: int
    focal: float  # px
    centre_u: float  # px
    horizon_v: float  # px, row of the horizon at rest
    mount: float  # metres above the ground
    roll: float  # radians

    @property
    def scale(self) -> float:
        """Image size relative to 640×360, for line widths and texture grain."""
        return self.height_px / 360.0


def sample_camera(rng: np.random.Generator, image_size: tuple[int, int]) -> Camera:
    """A dash or roof camera: field of view 48..78°, 1.15..1.9 m high (3 in ten: up to 2.6 m)."""
    height, width = image_size
    fov = math.radians(rng.uniform(48, 78))
    mount = rng.uniform(1.15, 1.9) if rng.random() < 0.75 else rng.uniform(1.9, 2.6)
    return Camera(
        height,
        width,
        focal=width / 2 / math.tan(fov / 2),
        centre_u=width * rng.uniform(0.46, 0.54),
        horizon_v=height * rng.uniform(0.36, 0.58),
        mount=float(mount),
        roll=float(rng.normal(0, 0.008)),
    )


@dataclass(frozen=True)
class Pose:
    """The camera at one instant: where it is on the street and which way it looks."""

    t: float
    s: float
    yaw: float  # radians relative to the road, positive to the right
    pitch_px: int  # the horizon's shift in this frame
    line: Centreline
    line_offset: float
    line_slope: float

    @classmethod
    def on(cls, line: Centreline, t: float, s: float, yaw: float, pitch_px: int) -> Pose:
        """The pose at ``t``, ``s`` of a street with this centreline."""
        return cls(t, s, yaw, pitch_px, line, line.offset(t), line.slope(t))

    def bends(self, z: np.ndarray) -> np.ndarray:
        """Sideways shift in metres of the road at ``z`` metres ahead, as the camera sees it."""
        ahead = self.line.offsets(self.t + z) - self.line_offset
        return ahead - (self.line_slope + self.yaw) * z

    def heading(self, z: float) -> float:
        """Direction of the road at ``z`` metres ahead in radians, as the camera sees it."""
        return self.line.slope(self.t + z) - self.line_slope - self.yaw

    def locate(self, s: float, z: float) -> float:
        """Camera ``x`` in metres of what stands at ``s``, ``z`` metres ahead."""
        ahead = self.line.offset(self.t + z) - self.line_offset
        return s - self.s + ahead - (self.line_slope + self.yaw) * z


class Projector:
    """Projects camera coordinates to pixels for one pose."""

    def __init__(self, camera: Camera, pose: Pose) -> None:
        """Prepare for this pose of the camera."""
        self.camera = camera
        self.focal = camera.focal
        self.centre_u = camera.centre_u
        self.horizon = camera.horizon_v + pose.pitch_px
        self.mount = camera.mount
        self.cos, self.sin = math.cos(camera.roll), math.sin(camera.roll)
        self.left = -camera.centre_u / camera.focal - 0.03
        self.right = (camera.width_px - camera.centre_u) / camera.focal + 0.03

    def misses(self, x: float, z: float, reach: float) -> bool:
        """Whether what stays within ``reach`` metres of x, z is surely out of the picture."""
        far = z + reach
        return far < NEAR or x + reach < self.left * far or x - reach > self.right * far

    def points(self, xyz: np.ndarray) -> np.ndarray:
        """(N, 3) camera coordinates with z > 0 -> (N, 2) float pixels."""
        k = self.focal / np.maximum(xyz[:, 2], 1e-3)
        a = xyz[:, 0] * k
        b = (self.mount - xyz[:, 1]) * k
        uv = np.empty((len(xyz), 2))
        uv[:, 0] = self.centre_u + a * self.cos - b * self.sin
        uv[:, 1] = self.horizon + a * self.sin + b * self.cos
        return uv

    def point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """One point, without arrays."""
        k = self.focal / max(z, 1e-3)
        a, b = x * k, (self.mount - y) * k
        return (
            self.centre_u + a * self.cos - b * self.sin,
            self.horizon + a * self.sin + b * self.cos,
        )


class GroundTable:
    """For every pixel under the horizon, which point of the flat ground it sees.

    Built once per drive with a margin of rows, so that the pitch of a frame is only a shift.
    """

    MARGIN = 12

    def __init__(self, camera: Camera) -> None:
        """Cast a ray through every pixel below the horizon."""
        self.first_row = math.floor(camera.horizon_v) - self.MARGIN
        rows = np.arange(self.first_row, camera.height_px + self.MARGIN)
        u = np.arange(camera.width_px, dtype=np.float32) - camera.centre_u
        v = (rows - camera.horizon_v).astype(np.float32)
        cos, sin = math.cos(camera.roll), math.sin(camera.roll)
        a = u[None, :] * cos + v[:, None] * sin
        b = -u[None, :] * sin + v[:, None] * cos
        self.valid = b > 0.35  # rows of sky where the camera is rolled
        depth = camera.mount * camera.focal / np.maximum(b, 0.35)
        self.depth = np.minimum(depth, FAR * 1.5).astype(np.float32)
        self.lateral = (a / camera.focal * self.depth).astype(np.float32)
        self.cell = (self.depth * 4).astype(np.intp)  # quarter metres, for look-up tables

    def window(self, camera: Camera, pitch_px: int) -> tuple[int, slice]:
        """First image row of the ground, and the table rows from there to the bottom."""
        first = max(0, self.first_row + self.MARGIN + pitch_px)
        begin = first - pitch_px - self.first_row
        return first, slice(begin, begin + camera.height_px - first)
