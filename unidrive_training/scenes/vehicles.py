# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of cars, trucks, buses and trams, each sampled with its own sizes and paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unidrive_training.scenes.mesh import GLASS, GLOSS, HEAD, LAMP, PLAIN, TAIL, Mesh, MeshBuilder

_PAINTS = np.array(
    [
        [225, 226, 228], [30, 30, 33], [165, 168, 172], [95, 98, 102], [38, 62, 118],
        [150, 28, 30], [70, 92, 120], [60, 72, 58], [196, 186, 160], [120, 84, 52],
        [206, 160, 40], [60, 130, 150],
    ]
)  # fmt: skip
_PAINT_SHARES = np.array([22, 18, 17, 13, 8, 8, 4, 2, 3, 2, 2, 1]) / 100
_DARK = np.array([30, 32, 35])
_GLASS = np.array([40, 48, 54])


@dataclass(frozen=True)
class Vehicle:
    """A shape in pieces along its length, so that long ones sort right among their neighbours."""

    pieces: tuple[tuple[Mesh, float], ...]  # shape, and how far ahead of the middle it stands
    length: float
    width: float
    height: float


def _paint(rng: np.random.Generator) -> np.ndarray:
    return np.clip(_PAINTS[rng.choice(12, p=_PAINT_SHARES)] + rng.normal(0, 8, 3), 8, 245)


_CARS = {  # length, height, bonnet share, boot share, slope of the rear, width
    'sedan': (4.6, 1.45, 0.27, 0.16, 0.16, 1.80),
    'hatch': (4.0, 1.48, 0.24, 0.02, 0.10, 1.74),
    'wagon': (4.7, 1.47, 0.26, 0.02, 0.08, 1.82),
    'suv': (4.65, 1.74, 0.24, 0.02, 0.06, 1.90),
    'van': (5.0, 2.05, 0.16, 0.01, 0.02, 1.98),
    'mini': (3.4, 1.50, 0.18, 0.02, 0.06, 1.62),
}


def car(rng: np.random.Generator) -> Vehicle:
    """A saloon, hatchback, estate, off-roader, van or small car."""
    kind = str(rng.choice(list(_CARS), p=[0.3, 0.24, 0.12, 0.2, 0.08, 0.06]))
    length, height, bonnet, boot, slope, width = _CARS[kind]
    grow = rng.uniform(0.94, 1.06, 3)
    length, height, width = length * grow[0], height * grow[1], width * grow[2]
    paint, b = _paint(rng), MeshBuilder()
    belt = height * (0.62 if kind != 'van' else 0.55)
    sill = 0.22 if kind != 'suv' else 0.30
    half = length / 2
    tail, nose = -half + boot * length, half - bonnet * length
    roof = (tail + slope * length, nose - (0.12 if kind != 'van' else 0.07) * length)
    hood = belt * 0.86
    # (z, y, half width) from the rear bumper over the roof to the front bumper
    profile = [
        (-half, sill, 0.42), (-half - 0.02, belt * 0.66, 0.435),
        (-half + 0.06, belt * 0.98, 0.42), (tail + 0.08, belt, 0.455), (roof[0], height, 0.37),
        (roof[1], height * 0.985, 0.37), (nose, belt * 0.97, 0.455), (half - 0.2, hood, 0.40),
        (half, hood * 0.74, 0.405), (half - 0.02, sill, 0.39),
    ]  # fmt: skip
    profile = [(z, y, share * width) for z, y, share in profile]
    strips = _car_shell(b, profile, paint)
    _car_ends(rng, b, strips, paint, van=kind == 'van' and rng.random() < 0.5)
    radius = 0.33 if kind != 'suv' else 0.38
    axles = (-half + 0.2 * length, half - 0.19 * length)
    rim = np.array([[150, 152, 156], [70, 72, 74], [110, 112, 114]])[rng.integers(3)]
    for side in (-1, 1):
        _car_side(rng, b, profile, side, paint, sill, width, [(z, radius) for z in axles])
        for z in axles:
            b.wheel(side * width * 0.495, z, radius, side, rim)
    return Vehicle(((b.build(), 0.0),), length, width, height)


def _car_shell(b: MeshBuilder, profile, paint) -> list[int]:
    shades = (0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.95, 0.85)
    strips = []
    for (z0, y0, w0), (z1, y1, w1), shade in zip(profile[:-1], profile[1:], shades, strict=True):
        quad = [(-w0, y0, z0), (w0, y0, z0), (w1, y1, z1), (-w1, y1, z1)]
        outward = (0, z1 - z0 + 1e-3, -(y1 - y0))
        strips.append(b.face(quad, paint * shade, outward, GLOSS))
    return strips


def _car_ends(rng, b: MeshBuilder, strips, paint, van: bool) -> None:
    lower, upper, _, window, _, screen, _, face, chin = strips
    if not van:
        b.patch(window, 0.08, 0.92, 0.08, 0.86, _GLASS, GLASS, 5)
    b.patch(screen, 0.05, 0.95, 0.1, 0.95, _GLASS, GLASS, 5)
    b.patch(lower, 0.0, 1.0, 0.0, 0.42, _DARK * 1.2, PLAIN, 8)
    wide = rng.uniform(0.12, 0.26)
    for a0, a1 in ((0.02, wide), (1 - wide, 0.98)):
        b.patch(upper, a0, a1, 0.1, 0.9, (150, 18, 16), TAIL, 5)
        b.patch(face, a0, a1 + 0.03 * (a0 < 0.5), 0.15, 0.75, (212, 216, 218), HEAD, 5)
    plate = np.array([[232, 232, 228], [236, 214, 90]])[rng.integers(2)]
    on_lid = rng.random() < 0.5
    b.patch(
        upper if on_lid else lower,
        0.36,
        0.64,
        0.3 if on_lid else 0.5,
        0.75 if on_lid else 0.85,
        plate,
        PLAIN,
        14,
    )
    b.patch(face, wide + 0.06, 0.94 - wide, 0.15, 0.95, _DARK, PLAIN, 8)  # grille
    b.patch(chin, 0.06, 0.94, 0.45, 1.0, _DARK * 1.1, PLAIN, 8)
    b.patch(chin, 0.36, 0.64, 0.15, 0.42, plate, PLAIN, 14)


def _car_side(rng, b: MeshBuilder, profile, side, paint, sill, width, wheels) -> None:
    x = side * width * 0.49
    rear, front = profile[0][0] + 0.32, profile[8][0] - 0.42
    belt, cowl, nose = profile[3], profile[6], profile[7]
    share = (front - cowl[0]) / max(nose[0] - cowl[0], 0.1)
    wing = cowl[1] + (nose[1] - cowl[1]) * min(max(share, 0.0), 1.0)
    lower = [(x, sill, rear), (x, profile[2][1], rear), (x, belt[1], max(belt[0], rear + 0.05)),
             (x, cowl[1], min(cowl[0], front - 0.05)), (x, wing, front),
             (x, sill, front)]  # fmt: skip
    body = b.face(lower, paint, (side, 0.12, 0))
    _car_corners(b, profile, side, paint, x, sill, (rear, front, wing))
    _car_cabin(rng, b, profile, side, paint)
    out = x * 1.001
    for low, high, color in ((sill, sill + 0.16, paint * 0.5), (0.5, 0.56, paint * 0.82)):
        band = [(out, low, rear), (out, low, front), (out, high, front), (out, high, rear)]
        b.decal(body, band, color, PLAIN, 8)
    y = belt[1] * 0.82
    shine = [(out, y, rear), (out, y, front), (out, y + 0.1, front - 0.1), (out, y + 0.1, rear)]
    b.decal(body, shine, np.minimum(paint * 1.2 + 14, 250), PLAIN, 14)
    for share in (0.16, 0.5, 0.84):
        z = belt[0] * (1 - share) + cowl[0] * share
        door = [(out, sill + 0.1, z - 0.012), (out, sill + 0.1, z + 0.012),
                (out, belt[1] * 0.97, z + 0.012), (out, belt[1] * 0.97, z - 0.012)]  # fmt: skip
        b.decal(body, door, paint * 0.45, PLAIN, 26)
    arch = np.linspace(0, np.pi, 9)
    for z, radius in wheels:
        ring = np.stack([np.full(9, out), np.sin(arch), np.cos(arch)], 1)
        ring = ring * (1, radius * 1.22, radius * 1.22) + (0, radius, z)
        ring[:, 1] = np.maximum(ring[:, 1], sill)
        b.decal(body, ring, (18, 18, 20), PLAIN, 10)


def _car_corners(b: MeshBuilder, profile, side, paint, x, sill, ends) -> None:
    """The bent panels between the sides and the bumpers, with the lamps that wrap around."""
    rear, front, wing = ends
    (z0, _, w0), _, (z2, y2, w2) = profile[:3]
    quad = [(x, sill, rear), (side * w0, sill, z0), (side * w2, y2, z2), (x, y2, rear)]
    corner = b.face(quad, paint * 0.92, (side, 0, -1), GLOSS)
    b.patch(corner, 0.45, 1.0, 0.62, 0.95, (150, 18, 16), TAIL, 5)
    (za, ya, wa), (zb, yb, wb), (zc, _, wc) = profile[7], profile[8], profile[9]
    quad = [(x, sill, front), (side * wc, sill, zc), (side * wb, yb, zb), (x, wing, front)]
    corner = b.face(quad, paint * 0.95, (side, 0, 1), GLOSS)
    b.patch(corner, 0.5, 1.0, 0.72, 0.98, (212, 216, 218), HEAD, 5)
    top = [(x, wing, front), (side * wa, ya, za), (side * wb, yb, zb)]
    b.face(top, paint, (side, 1, 1), GLOSS)


def _car_cabin(rng, b: MeshBuilder, profile, side, paint) -> None:
    low, high, top_r, top_f = profile[3], profile[6], profile[4], profile[5]
    house = [
        (side * low[2] * 1.04, low[1], low[0]), (side * high[2] * 1.04, high[1], high[0]),
        (side * top_f[2], top_f[1], top_f[0]), (side * top_r[2], top_r[1], top_r[0]),
    ]  # fmt: skip
    cabin = b.face(house, paint * 0.95, (side, 0.2, 0))
    middle = rng.uniform(0.46, 0.54)
    b.patch(cabin, 0.07, middle - 0.02, 0.06, 0.86, _GLASS * 0.9, GLASS, 7)
    b.patch(cabin, middle + 0.02, 0.93, 0.06, 0.86, _GLASS * 0.9, GLASS, 7)


def truck(rng: np.random.Generator) -> Vehicle:
    """A lorry: cab and a box, tank, tipper or flat load, 6..11 m long."""
    width, cab_h = rng.uniform(2.25, 2.5), rng.uniform(2.5, 3.1)
    cab_len, load_len = rng.uniform(1.7, 2.2), rng.uniform(3.8, 8.5)
    length = cab_len + 0.25 + load_len
    half, w = length / 2, width / 2
    kind = str(rng.choice(['box', 'tarp', 'tipper', 'tank'], p=[0.5, 0.22, 0.16, 0.12]))
    paint, load = _paint(rng), _paint(rng) if rng.random() < 0.5 else np.array([218, 218, 214])
    load_h = {'box': cab_h + rng.uniform(0.2, 0.8), 'tarp': cab_h + rng.uniform(0.2, 0.8),
              'tipper': rng.uniform(2.0, 2.7), 'tank': rng.uniform(2.7, 3.1)}[kind]  # fmt: skip
    pieces, parts = [], max(1, round(load_len / 3.2))
    edges = np.linspace(-half, -half + load_len, parts + 1)
    for i in range(parts):
        b, middle = MeshBuilder(), (edges[i] + edges[i + 1]) / 2
        span = (edges[i] - middle, edges[i + 1] - middle)
        _load(rng, b, w, load_h, span, load, kind, last=i == 0)
        pieces.append((b.build(), float(middle)))
    b = MeshBuilder()
    _cab(rng, b, w * 0.96, cab_h, cab_len / 2, paint)
    pieces.append((b.build(), half - cab_len / 2))
    return Vehicle(tuple(pieces), length, width, max(cab_h, load_h))


def _load(rng, b, w, top, span, color, kind, last: bool) -> None:
    deck = 1.05
    b.box((-w * 0.8, w * 0.8), (0.55, deck), span, _DARK * 1.3)
    inset = 0.82 if kind == 'tank' else 1.0
    faces = b.box((-w * inset, w * inset), (deck, top), span, color, color * 0.9)
    for name in ('left', 'right', 'rear'):
        b.patch(faces[name], 0, 1, 0, 0.06, color * 0.5, PLAIN, 8)
        b.patch(faces[name], 0, 1, 0.95, 1, color * 0.7, PLAIN, 10)
        if kind in ('tarp', 'tipper'):
            for a in np.linspace(0.1, 0.9, 4):
                b.patch(faces[name], a, a + 0.03, 0.05, 0.95, color * 0.8, PLAIN, 10)
        if kind == 'tank':
            b.patch(faces[name], 0, 1, 0.45, 0.75, np.minimum(color * 1.25, 250), PLAIN, 6)
            b.patch(faces[name], 0, 1, 0.06, 0.25, color * 0.6, PLAIN, 6)
    if kind == 'box':
        for name in ('left', 'right'):
            b.patch(
                faces[name], 0.0, 1.0, 0.35, 0.6, _paint(rng) if last else color * 0.93, PLAIN, 8
            )
    if last:
        rear = faces['rear']
        if kind != 'tank':
            b.patch(rear, 0.49, 0.51, 0.05, 0.95, color * 0.45, PLAIN, 8)
        for a in (0.02, 0.86):
            b.patch(rear, a, a + 0.12, 0.01, 0.07, (160, 18, 16), TAIL, 5)
        bar = b.box((-w, w), (0.5, 0.72), (span[0] - 0.03, span[0] + 0.05), _DARK * 2)
        b.patch(bar['rear'], 0.38, 0.62, 0.1, 0.9, (230, 226, 205), PLAIN, 14)
    for side in (-1, 1):
        b.wheel(side * w * 0.97, span[0] + 0.75 if last else 0.0, 0.48, side, (150, 150, 150))


def _cab(rng, b, w, top, half, paint) -> None:
    faces = b.box((-w, w), (0.5, top), (-half, half), paint)
    front, bottom = faces['front'], 0.5
    b.patch(front, 0.05, 0.95, 0.5, 0.86, _GLASS, GLASS, 5)
    b.patch(front, 0.15, 0.85, 0.16, 0.42, _DARK, PLAIN, 8)
    b.patch(front, 0, 1, 0, 0.12, _DARK * 1.4, PLAIN, 6)
    for a in (0.03, 0.83):
        b.patch(front, a, a + 0.14, 0.13, 0.22, (220, 222, 220), HEAD, 5)
    for name in ('left', 'right'):
        b.patch(faces[name], 0.4, 0.92, 0.5, 0.85, _GLASS * 0.9, GLASS, 6)
        b.patch(faces[name], 0, 1, 0, 0.1, _DARK, PLAIN, 8)
    for side in (-1, 1):
        b.wheel(side * w, half * 0.1, bottom, side, (140, 140, 140))
        mirror = (side * w, side * (w + 0.2)) if side > 0 else (side * (w + 0.2), side * w)
        b.box(mirror, (top * 0.6, top * 0.8), (half - 0.1, half), _DARK)


_BUS_PAINTS = np.array(
    [[196, 40, 36], [222, 222, 218], [240, 196, 40], [40, 92, 160], [52, 130, 78], [120, 44, 96],
     [232, 120, 30]]
)  # fmt: skip


def bus(rng: np.random.Generator) -> Vehicle:
    """A city bus, 9.5..13 m, one in eight with two decks."""
    length, width = rng.uniform(9.5, 13.0), rng.uniform(2.45, 2.6)
    double = rng.random() < 0.12
    height = rng.uniform(4.1, 4.4) if double else rng.uniform(2.95, 3.3)
    paint = np.clip(_BUS_PAINTS[rng.integers(7)] * rng.uniform(0.8, 1.1), 0, 250)
    skirt = paint if rng.random() < 0.5 else _paint(rng)
    return _coach(rng, length, width, height, paint, skirt, parts=4, floor=0.32, double=double)


def tram(rng: np.random.Generator) -> Vehicle:
    """A tram of 18..32 m in modules with dark joints and a current collector."""
    length, width, height = rng.uniform(18, 32), rng.uniform(2.4, 2.65), rng.uniform(3.3, 3.6)
    paint = np.clip(_BUS_PAINTS[rng.integers(7)] * rng.uniform(0.8, 1.1), 0, 250)
    skirt = np.array([210, 210, 205]) if rng.random() < 0.5 else paint * 0.6
    parts = round(length / 4)
    return _coach(rng, length, width, height, paint, skirt, parts, floor=0.22, tram=True)


def _coach(rng, length, width, height, paint, skirt, parts, floor, double=False, tram=False):
    edges, w, pieces = np.linspace(-length / 2, length / 2, parts + 1), width / 2, []

    for i in range(parts):
        b, middle = MeshBuilder(), (edges[i] + edges[i + 1]) / 2
        span = (edges[i] - middle, edges[i + 1] - middle)
        faces = b.box((-w, w), (floor, height), span, paint, np.array([190, 190, 188]))
        for side, name in ((-1, 'left'), (1, 'right')):
            _coach_side(
                rng, b, faces[name], skirt, height, double, tram, joint=tram and i % 2 == 0
            )
            if not tram and i in (0, parts - 1):
                at = 0.3 * span[1] if i == 0 else -0.1 * span[1]
                b.wheel(side * w, at, 0.48, side, (150, 150, 150))
        if i == 0:
            _coach_end(b, faces['rear'], skirt, tram, rear=True)
        if i == parts - 1:
            _coach_end(b, faces['front'], skirt, tram, rear=False)
        if tram and i == parts // 2:
            b.box((-0.7, 0.7), (height, height + 0.35), (-1.0, 1.0), _DARK * 2)
            b.face(
                [
                    (-0.8, height + 1.4, 0),
                    (0.8, height + 1.4, 0),
                    (0.8, height + 1.48, 0),
                    (-0.8, height + 1.48, 0),
                ],
                _DARK,
                (0, 0, -1),
            )
            for x in (-0.45, 0.4):
                b.face(
                    [
                        (x, height, 0),
                        (x + 0.06, height, 0),
                        (x + 0.06, height + 1.4, 0),
                        (x, height + 1.4, 0),
                    ],
                    _DARK,
                    (0, 0, -1),
                )
        pieces.append((b.build(), float(middle)))

    return Vehicle(tuple(pieces), length, width, height)


def _coach_side(rng, b, face, skirt, height, double, tram, joint) -> None:
    b.patch(face, 0, 1, 0, 0.16 if double else 0.24, skirt * 0.9, PLAIN, 4)
    rows = (
        ((0.24, 0.46), (0.62, 0.86)) if double else (((0.4, 0.84),) if tram else ((0.42, 0.86),))
    )
    for low, high in rows:
        b.patch(face, 0.0, 1.0, low - 0.02, high + 0.02, _DARK, PLAIN, 4)
        for a in (0.02, 0.35, 0.68):
            b.patch(face, a, a + 0.3, low, high, _GLASS * 1.2, GLASS, 8)
    if rng.random() < 0.4:  # doors
        b.patch(face, 0.36, 0.64, 0.04, 0.84, _GLASS * 1.1, GLASS, 6)
        b.patch(face, 0.49, 0.51, 0.04, 0.84, _DARK, PLAIN, 12)
    if joint:
        b.patch(face, 0.0, 0.07, 0.0, 1.0, _DARK * 1.3, PLAIN, 4)


def _coach_end(b, face, skirt, tram, rear: bool) -> None:
    b.patch(face, 0, 1, 0, 0.2, skirt * 0.8, PLAIN, 4)
    low, high = (0.52, 0.8) if rear and not tram else (0.36, 0.82)
    b.patch(face, 0.06, 0.94, low, high, _GLASS, GLASS, 4)
    b.patch(face, 0.14, 0.86, 0.85, 0.96, (20, 20, 20), PLAIN, 5)
    b.patch(face, 0.2, 0.62 if rear else 0.8, 0.87, 0.94, (250, 176, 40), LAMP, 12)
    for a in (0.03, 0.83):
        if rear:
            b.patch(face, a, a + 0.14, 0.22, 0.36, (160, 18, 16), TAIL, 4)
        else:
            b.patch(face, a, a + 0.14, 0.13, 0.22, (220, 222, 220), HEAD, 4)
    if rear and not tram:
        b.patch(face, 0.25, 0.75, 0.22, 0.44, skirt * 0.5, PLAIN, 8)
        b.patch(face, 0.38, 0.62, 0.08, 0.16, (232, 230, 215), PLAIN, 14)
