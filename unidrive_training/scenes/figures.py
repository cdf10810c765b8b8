# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""People, bicycles and motorcycles: bodies of round limbs, seen right from every side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_training.scenes.camera import NEAR
from unidrive_training.scenes.canvas import Canvas, whole_pixels

_SKIN = np.array([[224, 178, 146], [196, 146, 112], [142, 98, 70], [92, 62, 46]])
_CLOTH = np.array(
    [
        [30, 32, 38], [52, 58, 74], [140, 140, 142], [205, 202, 196], [120, 34, 36], [44, 72, 122],
        [60, 84, 56], [150, 120, 80], [206, 170, 60], [176, 76, 120], [58, 120, 130], [84, 62, 50],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How one person is built and dressed."""

    height: float  # metres
    girth: float
    skin: np.ndarray
    top: np.ndarray
    legs: np.ndarray
    hair: np.ndarray
    skirt: bool
    bag: bool
    helmet: np.ndarray | None = None


def sample_look(rng: np.random.Generator, riding: bool = False) -> Look:
    """A grown person, or one time in eight a child."""
    child = rng.random() < 0.12 and not riding
    return Look(
        height=float(rng.uniform(1.05, 1.4) if child else rng.normal(1.72, 0.08)),
        girth=float(rng.uniform(0.85, 1.3)),
        skin=_SKIN[rng.integers(4)] * rng.uniform(0.9, 1.1),
        top=_CLOTH[rng.integers(12)] * rng.uniform(0.75, 1.25),
        legs=_CLOTH[
            rng.choice(12, p=[0.28, 0.25, 0.1, 0.05, 0.02, 0.16, 0.03, 0.06, 0, 0.01, 0, 0.04])
        ],
        hair=np.array([[30, 24, 20], [70, 48, 30], [150, 120, 70], [120, 116, 112]])[
            rng.integers(4)
        ],
        skirt=bool(rng.random() < 0.15),
        bag=bool(rng.random() < 0.35),
        helmet=_CLOTH[rng.integers(12)] if riding and rng.random() < 0.7 else None,
    )


Limb = tuple[tuple, tuple, float, np.ndarray]  # from (x, y, z), to, radius in metres, colour


def walker(look: Look, phase: float) -> list[Limb]:
    """Limbs of a walking person facing +z; ``phase`` radians of the stride, NaN stands still."""
    h, g = look.height, look.girth
    swing = 0.0 if math.isnan(phase) else math.sin(phase)
    hip, shoulder = 0.52 * h, 0.81 * h
    limbs: list[Limb] = []
    for side in (-1, 1):
        stride = side * swing * 0.17 * h
        lift = 0.05 * h * max(0.0, side * math.cos(phase)) if swing else 0.0
        x = side * 0.055 * h * g
        knee, foot = (x, 0.27 * h + lift, stride * 0.55 + 0.03), (x, 0.045 * h + lift, stride)
        limbs += [
            ((x, hip, 0.0), knee, 0.052 * h * g, look.legs),
            (knee, foot, 0.038 * h, look.legs if not look.skirt else look.skin),
            (foot, (x, 0.025 * h + lift, stride + 0.09 * h), 0.024 * h, look.hair * 0.6),
        ]
        arm = side * 0.125 * h * g
        hand = (arm * 1.15, 0.5 * h, -stride * 0.8 + 0.03)
        elbow = (arm * 1.1, 0.65 * h, -stride * 0.3 - 0.02)
        limbs += [
            ((arm, shoulder - 0.02 * h, 0.0), elbow, 0.034 * h, look.top * 0.9),
            (elbow, hand, 0.026 * h, look.top * 0.9),
            (hand, (hand[0], hand[1] - 0.04, hand[2]), 0.024 * h, look.skin),
        ]
    if look.skirt:
        limbs.append(((0, hip + 0.05, 0), (0, 0.33 * h, 0), 0.11 * h * g, look.legs))
    limbs += _trunk(look, hip, shoulder, 0.0)
    if look.bag:
        limbs.append(((0, 0.76 * h, -0.13), (0, 0.6 * h, -0.14), 0.07 * h, look.legs * 0.7 + 20))
    return limbs


def _trunk(look: Look, hip: float, shoulder: float, lean: float) -> list[Limb]:
    h, g = look.height, look.girth
    wide = 0.06 * h * g
    limbs: list[Limb] = []
    for x in (-wide, wide, 0.0):
        limbs.append(((x * 0.8, hip, 0), (x, shoulder - 0.04 * h, lean), 0.068 * h * g, look.top))
    limbs.append(((0, shoulder, lean), (0, shoulder + 0.06 * h, lean), 0.03 * h, look.skin))
    head = shoulder + 0.115 * h
    limbs.append(
        ((0, head - 0.02, lean + 0.02), (0, head + 0.02, lean + 0.02), 0.056 * h, look.skin)
    )
    cap = look.hair if look.helmet is None else look.helmet
    limbs.append(((0, head + 0.035, lean), (0, head + 0.04, lean - 0.02), 0.058 * h, cap))
    return limbs


def cyclist(look: Look, phase: float) -> list[Limb]:
    """Limbs of a person on a bicycle (see ``bicycle``) pedalling towards +z."""
    h = look.height
    hip, shoulder, lean = 0.98, 0.98 + 0.28 * h, 0.34
    limbs: list[Limb] = []
    for side in (-1, 1):
        a = phase + (0 if side > 0 else math.pi)
        foot = (side * 0.11, 0.32 + 0.16 * math.sin(a), 0.05 + 0.16 * math.cos(a))
        knee = (side * 0.13, (hip + foot[1]) / 2 + 0.06, 0.27 + 0.06 * math.cos(a))
        limbs += [
            ((side * 0.09, hip, -0.18), knee, 0.078, look.legs),
            (knee, foot, 0.055, look.legs * 0.95),
            (foot, (side * 0.11, foot[1] - 0.02, foot[2] + 0.12), 0.04, look.hair * 0.6),
            (
                (side * 0.17, shoulder - 0.05, lean - 0.2),
                (side * 0.26, 1.08, 0.38),
                0.048,
                look.top * 0.9,
            ),
        ]
    trunk = _trunk(look, hip, shoulder, lean - 0.02)
    return limbs + [_shift(limb, -0.18) for limb in trunk]


def motorcyclist(look: Look) -> list[Limb]:
    """Limbs of a person on a motorcycle (see ``motorcycle``) heading for +z."""
    hip, shoulder = 0.82, 0.82 + 0.28 * look.height
    limbs: list[Limb] = []
    for side in (-1, 1):
        knee, foot = (side * 0.24, 0.68, 0.22), (side * 0.22, 0.33, 0.0)
        limbs += [
            ((side * 0.12, hip, -0.2), knee, 0.088, look.legs),
            (knee, foot, 0.064, look.legs),
            (foot, (side * 0.22, 0.3, 0.14), 0.05, look.hair * 0.5),
            (
                (side * 0.2, shoulder - 0.06, -0.08),
                (side * 0.33, 1.03, 0.36),
                0.058,
                look.top * 0.92,
            ),
        ]
    return limbs + [_shift(limb, -0.2) for limb in _trunk(look, hip, shoulder, 0.14)]


def _shift(limb: Limb, dz: float) -> Limb:
    a, b, radius, color = limb
    return (a[0], a[1], a[2] + dz), (b[0], b[1], b[2] + dz), radius, color


@dataclass(frozen=True)
class Bike:
    """A bicycle or motorcycle: bars and plates, and wheels (z, radius, tyre radius)."""

    limbs: list[Limb]
    wheels: tuple[tuple[float, float, float], ...]
    tail: tuple[float, float, float]
    head: tuple[float, float, float]
    filled: bool


def bicycle(rng: np.random.Generator) -> Bike:
    """A bicycle pointing along +z, wheels of 0.34 m."""
    paint = _CLOTH[rng.integers(12)] * rng.uniform(0.8, 1.3)
    dark = np.array([34, 34, 36])
    limbs: list[Limb] = [
        ((0, 0.34, -0.52), (0, 0.3, 0.0), 0.018, paint),
        ((0, 0.3, 0.0), (0, 0.78, -0.16), 0.02, paint),
        ((0, 0.34, -0.52), (0, 0.74, -0.15), 0.015, paint),
        ((0, 0.3, 0.0), (0, 0.78, 0.36), 0.022, paint),
        ((0, 0.76, -0.15), (0, 0.8, 0.36), 0.02, paint),
        ((0, 0.34, 0.54), (0, 0.95, 0.33), 0.02, paint),
        ((0, 0.78, -0.16), (0, 0.93, -0.18), 0.016, dark),
        ((0, 0.93, -0.3), (0, 0.94, -0.08), 0.045, dark),
        ((-0.27, 1.02, 0.36), (0.27, 1.02, 0.36), 0.018, dark),
        ((-0.1, 0.3, 0.0), (0.1, 0.3, 0.0), 0.022, dark),
    ]
    if rng.random() < 0.3:
        limbs.append(((0, 0.82, 0.5), (0, 1.0, 0.5), 0.12, np.array([110, 90, 60])))
    return Bike(
        limbs, ((-0.52, 0.34, 0.022), (0.54, 0.34, 0.022)), (0, 0.7, -0.5), (0, 0.9, 0.5), False
    )


def motorcycle(rng: np.random.Generator) -> Bike:
    """A motorcycle or scooter pointing along +z."""
    paint = _CLOTH[rng.integers(12)] * rng.uniform(0.8, 1.3)
    dark, steel = np.array([30, 30, 32]), np.array([120, 122, 126])
    scooter = rng.random() < 0.4
    limbs: list[Limb] = [
        ((0, 0.45, -0.3), (0, 0.5, 0.25), 0.15, dark if not scooter else paint),
        ((0, 0.75, -0.65), (0, 0.78, -0.05), 0.09, dark),
        ((0, 0.8, 0.0), (0, 0.78, 0.25), 0.12, paint),
        ((0, 0.32, 0.7), (0, 0.95, 0.42), 0.05, steel if not scooter else paint),
        ((-0.36, 1.03, 0.38), (0.36, 1.03, 0.38), 0.022, dark),
        ((0, 0.82, 0.52), (0, 0.88, 0.54), 0.1, paint * 0.9),
        ((0.14, 0.3, -0.6), (0.14, 0.36, 0.0), 0.045, steel),
        ((0, 0.6, -0.75), (0, 0.72, -0.7), 0.06, paint * 0.8),
        ((0.38, 1.15, 0.36), (0.4, 1.2, 0.36), 0.045, dark),
        ((-0.38, 1.15, 0.36), (-0.4, 1.2, 0.36), 0.045, dark),
        ((0, 0.58, -0.82), (0, 0.66, -0.82), 0.05, np.array([225, 225, 215])),
    ]
    if scooter:
        limbs.append(((0, 0.4, 0.36), (0, 0.9, 0.4), 0.16, paint))
    else:
        limbs.append(((0, 0.95, 0.55), (0, 1.1, 0.48), 0.09, np.array([70, 80, 88])))
    radius = 0.24 if scooter else 0.32
    return Bike(
        limbs,
        ((-0.66, radius, 0.06), (0.7, radius, 0.055)),
        (0, 0.68, -0.8),
        (0, 0.85, 0.62),
        True,
    )


class Stand:
    """Where a figure stands: turns local points to pixels and light."""

    def __init__(self, canvas: Canvas, x: float, z: float, yaw: float) -> None:
        """Stand at camera coordinates x, z, turned by ``yaw`` radians from looking ahead."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        self.turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        self.shift = np.array([x, 0.0, z])
        self.canvas = canvas
        self.k = canvas.projector.focal / max(z, NEAR)
        weather = canvas.weather
        beam = weather.beam(x, z)
        self.front, self.lit = weather.light_on_front + beam, weather.light_on_side + beam
        self.side, self.z = 1.0 if weather.sun[0] >= 0 else -1.0, z

    def place(self, points) -> np.ndarray:
        """(N, 3) local points -> camera coordinates."""
        return np.asarray(points, float) @ self.turn + self.shift

    def pixels(self, points) -> np.ndarray:
        """(N, 3) local points -> (N, 2) pixels."""
        return self.canvas.projector.points(self.place(points))


def draw_limbs(stand: Stand, limbs: list[Limb], entity: int) -> None:
    """Draw limbs back to front, each with a lighter stripe on the sunny side."""
    canvas, k = stand.canvas, stand.k
    ends = stand.place([end for limb in limbs for end in limb[:2]])
    if ends[:, 2].min() < NEAR:
        return
    uv = canvas.projector.points(ends)
    area = canvas.area(uv, margin=2 + int(0.15 * k))
    if area is None:
        return
    pixels = whole_pixels(uv).tolist()
    depth = ends[0::2, 2] + ends[1::2, 2]
    colors = np.array([limb[3] for limb in limbs])
    weather = canvas.weather
    dark = weather.tint(colors * 0.88, stand.front, stand.z).tolist()
    light = weather.tint(colors * 1.06, stand.lit, stand.z).tolist()
    before = canvas.count(entity, area)
    for i in np.argsort(-depth, kind='stable'):
        a, b = pixels[2 * i], pixels[2 * i + 1]
        thick = max(1, round(2 * limbs[i][2] * k))
        cv2.line(canvas.image, a, b, dark[i], thick)
        cv2.line(canvas.entity, a, b, entity, thick)
        if thick >= 4:
            move = round(stand.side * thick * 0.22)
            cv2.line(
                canvas.image,
                (a[0] + move, a[1]),
                (b[0] + move, b[1]),
                light[i],
                max(1, round(thick * 0.45)),
            )
    canvas.grow(entity, canvas.count(entity, area) - before)


def draw_bike(stand: Stand, bike: Bike, entity: int, lit: bool = False) -> None:
    """Draw wheels, frame and lamps."""
    canvas = stand.canvas
    ring = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    circle = np.stack([np.zeros(20), np.sin(ring), np.cos(ring)], 1)
    tyre = canvas.weather.tint(np.array([[28, 28, 30]]), stand.front, stand.z)[0].tolist()
    spoke = canvas.weather.tint(np.array([[150, 150, 150]]), stand.front, stand.z)[0].tolist()
    for z, radius, thick in bike.wheels:
        rim = circle * (radius - thick) + (0, radius, z)
        ends = stand.place(rim)
        if ends[:, 2].min() < NEAR:
            return
        uv = canvas.projector.points(ends)
        area = canvas.area(uv, margin=2 + int(0.1 * stand.k))
        if area is None:
            continue
        before = canvas.count(entity, area)
        points = whole_pixels(uv)
        px = max(1, round(2 * thick * stand.k))
        if bike.filled:
            cv2.fillConvexPoly(
                canvas.image, points, spoke if stand.k < 20 else [c * 0.6 for c in tyre]
            )
        elif stand.k > 45:
            for i in range(0, 10, 2):
                cv2.line(
                    canvas.image,
                    points[i].tolist(),
                    points[i + 10].tolist(),
                    spoke,
                    1,
                    cv2.LINE_AA,
                )
        cv2.polylines(canvas.image, [points], True, tyre, px)
        cv2.fillConvexPoly(canvas.entity, points, entity)
        cv2.polylines(canvas.entity, [points], True, entity, px)
        canvas.grow(entity, canvas.count(entity, area) - before)
    draw_limbs(stand, bike.limbs, entity)
    if lit:
        _bike_lamps(stand, bike, entity)


def _bike_lamps(stand: Stand, bike: Bike, entity: int) -> None:
    canvas = stand.canvas
    ahead = stand.turn[2, 2]  # > 0: we see its back
    spot, color = (bike.tail, (255, 40, 30)) if ahead > 0 else (bike.head, (255, 245, 215))
    uv = stand.pixels([spot])[0]
    radius = max(1, round(0.05 * stand.k))
    if np.abs(uv).max() < 10000:
        at = (int(uv[0]), int(uv[1]))
        cv2.circle(canvas.image, at, radius, color, -1)
        cv2.circle(canvas.entity, at, radius, entity, -1)
        glow = np.array(color) * 0.6 * canvas.weather.lamps
        canvas.glow(uv, max(0.3 * stand.k, 2.0), glow, entity)
