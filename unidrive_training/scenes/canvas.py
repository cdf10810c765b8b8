# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is drawn on: one picture and, pixel for pixel, the entity that each pixel shows.

Everything is painted back to front into both, so the truth is what the picture shows. An *entity*
is a small number: a semantic id 0..18, a part of the road, or one object from ``FIRST_OBJECT`` on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from unidrive_perception.labels import UNKNOWN
from unidrive_training.scenes.camera import NEAR, Projector
from unidrive_training.scenes.textures import Texture
from unidrive_training.scenes.weather import Weather

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN, SKY = range(11)
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(11, 19)

HIDDEN = 19  # the own bonnet: no class
DIRECT = 20  # road, own lane
ALTERNATIVE = 21  # road, another lane
FIRST_OBJECT = 32

DETECTION_OF = {
    PERSON: 0, RIDER: 1, CAR: 2, TRUCK: 3, BUS: 4, TRAIN: 5, MOTORCYCLE: 6, BICYCLE: 7,
    LIGHT: 8, SIGN: 9,
}  # fmt: skip
"""Semantic id -> detection id of the classes that are counted."""

_LIMIT = 30000  # px; OpenCV's polygons need coordinates that fit 16 bits


def near_clipped(xyz: np.ndarray) -> np.ndarray:
    """The part of a polygon (N, 3) in front of the near plane; (0, 3) when there is none."""
    inside = xyz[:, 2] >= NEAR
    if inside.all():
        return xyz
    if not inside.any():
        return xyz[:0]
    kept = []
    for i in range(len(xyz)):
        a, b = xyz[i - 1], xyz[i]
        if inside[i] != inside[i - 1]:
            kept.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
        if inside[i]:
            kept.append(b)
    return np.array(kept)


def whole_pixels(uv: np.ndarray) -> np.ndarray:
    """(N, 2) pixel points -> the int32 that OpenCV draws with."""
    return np.minimum(np.maximum(np.rint(uv), -_LIMIT), _LIMIT).astype(np.int32)


class Glow(NamedTuple):
    """A lamp's spread: pixel, radius in px, RGB, and what it sits on."""

    u: float
    v: float
    radius: float
    color: tuple[float, float, float]
    entity: int


class Canvas:
    """The picture in the making. Colours given to it are lit already, 0..255."""

    def __init__(self, projector: Projector, weather: Weather) -> None:
        """Start a black picture of the camera's size."""
        camera = projector.camera
        self.projector = projector
        self.weather = weather
        self.height, self.width = camera.height_px, camera.width_px
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.entity = np.zeros((self.height, self.width), np.uint16)
        self.semantics: list[int] = []  # of each object, in order of their entities
        self.painted: list[int] = []  # pixels each object would show if nothing hid it
        self.glows: list[Glow] = []

    def new_object(self, semantic: int) -> int:
        """Entity number for one more object of this semantic class."""
        self.semantics.append(semantic)
        self.painted.append(0)
        return FIRST_OBJECT + len(self.semantics) - 1

    def grow(self, entity: int, pixels: int) -> None:
        """Note that an object was given ``pixels`` more."""
        self.painted[entity - FIRST_OBJECT] += pixels

    def area(self, uv: np.ndarray, margin: int = 2) -> tuple[slice, slice] | None:
        """The image's part around pixel points, or None when they lie outside."""
        (u0, v0), (u1, v1) = uv.min(0).tolist(), uv.max(0).tolist()
        if u1 < 0 or v1 < 0 or u0 >= self.width or v0 >= self.height:
            return None
        rows = slice(max(int(v0) - margin, 0), int(min(v1, self.height)) + margin + 1)
        return rows, slice(max(int(u0) - margin, 0), int(min(u1, self.width)) + margin + 1)

    def count(self, entity: int, area: tuple[slice, slice]) -> int:
        """Pixels of ``entity`` in a part of the image."""
        return cv2.countNonZero(cv2.compare(self.entity[area], float(entity), cv2.CMP_EQ))

    def polygon(self, uv: np.ndarray, color: Sequence[float], entity: int | None) -> None:
        """Fill a convex polygon of pixel points; ``entity`` None changes the picture only."""
        self.fill(whole_pixels(uv), color, entity)

    def fill(self, points: np.ndarray, color: Sequence[float], entity: int | None) -> None:
        """Fill a convex polygon of (N, 2) int32 ``whole_pixels``."""
        cv2.fillConvexPoly(self.image, points, color)
        if entity is not None:
            cv2.fillConvexPoly(self.entity, points, entity)

    def flat(self, xyz: np.ndarray, color: Sequence[float], entity: int | None) -> None:
        """Fill a convex polygon of camera coordinates, clipped at the near plane."""
        xyz = near_clipped(np.asarray(xyz, float))
        if len(xyz) >= 3:
            self.polygon(self.projector.points(xyz), color, entity)

    def line(self, a, b, width: float, color: Sequence[float], entity: int | None) -> None:
        """A round bar of ``width`` metres between two camera points (x, y, z)."""
        if a[2] < NEAR or b[2] < NEAR:
            return
        thick = width * self.projector.focal * 2 / (a[2] + b[2])
        p, q = self.projector.point(*a), self.projector.point(*b)
        if max(abs(p[0]), abs(q[0]), abs(p[1]), abs(q[1])) > _LIMIT:
            return
        p, q = (round(p[0]), round(p[1])), (round(q[0]), round(q[1]))
        if thick < 1.0:  # thinner than a pixel: a faint line, which is no ground for a label
            if thick > 0.3:
                cv2.line(self.image, p, q, color, 1, cv2.LINE_AA)
                if thick > 0.55 and entity is not None:
                    cv2.line(self.entity, p, q, entity, 1)
            return
        cv2.line(self.image, p, q, color, round(thick))
        if entity is not None:
            cv2.line(self.entity, p, q, entity, round(thick))

    def glow(
        self, uv: Sequence[float], radius: float, color: Sequence[float], entity: int
    ) -> None:
        """Light that spreads around pixel ``uv``, if ``entity`` still shows there at the end."""
        self.glows.append(
            Glow(float(uv[0]), float(uv[1]), radius, tuple(map(float, color)), entity)
        )

    def shows(self, u: float, v: float, entity: int) -> bool:
        """Whether ``entity`` is seen at, or just beside, a pixel."""
        column, row = round(u), round(v)
        if not (-2 < column < self.width + 2 and -2 < row < self.height + 2):
            return False
        spot = self.entity[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        return bool((spot == entity).any())

    def strip(
        self,
        texture: Texture,
        corners: np.ndarray,
        span: tuple[float, float],
        entity: int,
    ) -> None:
        """A texture on a standing quad.

        ``corners`` (4, 3): bottom and top of the one end, top and bottom of the other, in camera
        coordinates. ``span``: the part of the texture's width from the one end to the other.
        """
        a, b = corners[0, 2], corners[3, 2]
        if max(a, b) < NEAR * 1.2:
            return
        corners, span = _cut_quad(corners, span)
        uv = self.projector.points(corners)
        (u0, v0), (u1, v1) = uv.min(0).tolist(), uv.max(0).tolist()
        u0, v0 = max(int(u0), 0), max(int(v0), 0)
        u1, v1 = min(math.ceil(u1) + 1, self.width), min(math.ceil(v1) + 1, self.height)
        if u1 - u0 < 1 or v1 - v0 < 1:
            return
        rows = max(abs(uv[0, 1] - uv[1, 1]), abs(uv[3, 1] - uv[2, 1]))
        level = texture.pick(rows)
        source = texture.levels[level]
        h, w = source.shape[:2]
        left, right = span[0] * w, span[1] * w
        frame = np.array([[left, h], [left, 0], [right, 0], [right, h]], np.float32) - 0.5
        local = (uv - (u0, v0)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(frame, local)
        size = (u1 - u0, v1 - v0)
        picture = cv2.warpPerspective(source, matrix, size, borderMode=cv2.BORDER_WRAP)
        fog = float(self.weather.fog((abs(a) + abs(b)) / 2))
        if fog > 0.02:
            picture = cv2.LUT(picture, self._fog_table(fog))
        cover = np.zeros(size[::-1], np.uint8)
        cv2.fillConvexPoly(cover, whole_pixels(local), 255)
        area = np.s_[v0:v1, u0:u1]
        cv2.copyTo(np.full(size[::-1], entity, np.uint16), cover, self.entity[area])
        if texture.masks is not None:
            holes = cv2.warpPerspective(
                texture.masks[level], matrix, size, borderMode=cv2.BORDER_WRAP
            )
            cover &= cv2.threshold(holes, 127, 255, cv2.THRESH_BINARY)[1]
        cv2.copyTo(picture, cover, self.image[area])

    def sprite(self, texture: Texture, x: float, z: float, size, entity: int) -> None:
        """An upright picture facing the camera, its foot at x, z; ``size`` (w, h) in metres."""
        k = self.projector.focal / z
        foot = self.projector.point(x, 0.0, z)
        w, h = size[0] * k, size[1] * k
        left, top = foot[0] - w / 2, foot[1] - h
        u0, v0 = max(int(left), 0), max(int(top), 0)
        u1, v1 = min(int(left + w) + 1, self.width), min(int(foot[1]) + 1, self.height)
        if u1 - u0 < 1 or v1 - v0 < 1:
            return
        level = texture.pick(h)
        source, mask = texture.levels[level], texture.masks[level]
        sx, sy = w / source.shape[1], h / source.shape[0]
        matrix = np.array([[sx, 0, left - u0 + sx / 2 - 0.5], [0, sy, top - v0 + sy / 2 - 0.5]])
        shape = (u1 - u0, v1 - v0)
        picture = cv2.warpAffine(source, matrix, shape, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(mask, matrix, shape)
        cover = cv2.threshold(cover, 127, 255, cv2.THRESH_BINARY)[1]
        fog = float(self.weather.fog(z))
        if fog > 0.02:
            picture = cv2.LUT(picture, self._fog_table(fog))
        area = np.s_[v0:v1, u0:u1]
        cv2.copyTo(picture, cover, self.image[area])
        cv2.copyTo(np.full(shape[::-1], entity, np.uint16), cover, self.entity[area])

    def _fog_table(self, fog: float) -> np.ndarray:
        ramp = np.arange(256, dtype=np.float32)[:, None] * (1 - fog)
        return (ramp + self.weather.fog_color * fog).clip(0, 255).astype(np.uint8)[None]


def _cut_quad(corners: np.ndarray, span: tuple[float, float]):
    """Cut a quad (see ``Canvas.strip``) at the near plane."""
    a, b = corners[0, 2], corners[3, 2]
    if min(a, b) >= NEAR:
        return corners, span
    share = (NEAR - a) / (b - a)
    corners = corners.copy()
    middle = span[0] + (span[1] - span[0]) * share
    bottom = corners[0] + (corners[3] - corners[0]) * share
    top = corners[1] + (corners[2] - corners[1]) * share
    if a < NEAR:
        corners[0], corners[1] = bottom, top
        return corners, (middle, span[1])
    corners[3], corners[2] = bottom, top
    return corners, (span[0], middle)


def lookup_tables(semantics: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Entity number -> semantic id, and -> drivable id, for a frame's objects."""
    semantic = np.full(FIRST_OBJECT + len(semantics), UNKNOWN, np.uint8)
    semantic[:19] = np.arange(19)
    semantic[[DIRECT, ALTERNATIVE]] = ROAD
    semantic[FIRST_OBJECT:] = semantics
    drivable = np.full(len(semantic), 2, np.uint8)
    drivable[DIRECT], drivable[ALTERNATIVE] = 0, 1
    return semantic, drivable
