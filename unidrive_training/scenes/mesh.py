# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Rigid shapes of flat polygons: how vehicles are described and drawn.

Local coordinates: x right, y up (0 the ground), z ahead, metres; the origin is under the middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from unidrive_training.scenes.camera import NEAR
from unidrive_training.scenes.canvas import Canvas, whole_pixels

PLAIN, GLASS, TAIL, HEAD, LAMP, GLOSS = range(6)  # how a face takes light


@dataclass(frozen=True)
class Mesh:
    """Polygons ready to draw. Faces of one body come first, then what is painted on them."""

    points: np.ndarray  # (V, 3), the corners of all faces one after another
    starts: np.ndarray  # (F + 1,) where each face begins in ``points``
    colors: np.ndarray  # (F, 3) RGB
    kinds: np.ndarray  # (F,) PLAIN, GLASS, ...
    normals: np.ndarray  # (F, 3) outward
    parents: np.ndarray  # (F,) the face that a decal is painted on; itself for a body face
    centres: np.ndarray  # (F, 3)
    least_px: np.ndarray  # (F,) px per metre below which a decal is left out
    reach: float  # metres from the origin that no corner is beyond
    coarse: Mesh | None = None  # the same with fewer decals, for far away


@dataclass
class MeshBuilder:
    """Collects faces; ``face`` for the body, ``decal`` for what lies on one."""

    faces: list = field(default_factory=list)

    def face(self, points, color, outward, kind: int = PLAIN) -> int:
        """Add a convex face whose normal points along ``outward``; returns its number."""
        points = np.asarray(points, float)
        normal = _normal(points)
        if normal @ np.asarray(outward, float) < 0:
            normal = -normal
        number = len(self.faces)
        self.faces.append((points, np.asarray(color, float), kind, normal, number, 0.0))
        return number

    def decal(self, parent: int, points, color, kind: int = PLAIN, least_px: float = 12.0) -> None:
        """Paint a convex polygon on a face."""
        normal = self.faces[parent][3]
        points = np.asarray(points, float)
        self.faces.append((points, np.asarray(color, float), kind, normal, parent, least_px))

    def patch(self, parent: int, a0, a1, b0, b1, color, kind: int = PLAIN, least_px=12.0) -> None:
        """Paint a part of a four-cornered face, in shares 0..1 along its first two edges."""
        p = self.faces[parent][0]
        corners = [
            (p[0] * (1 - a) + p[1] * a) * (1 - b) + (p[3] * (1 - a) + p[2] * a) * b
            for a, b in ((a0, b0), (a1, b0), (a1, b1), (a0, b1))
        ]
        self.decal(parent, corners, color, kind, least_px)

    def box(self, x, y, z, color, roof=None) -> dict[str, int]:
        """A box from (x0, x1), (y0, y1), (z0, z1): faces 'left', 'right', 'rear', 'front', 'top'.

        The first edge of each side runs ahead or to the right along the bottom, the second up.
        """
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        sides = {
            'left': ([(x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)], (-1, 0, 0)),
            'right': ([(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)], (1, 0, 0)),
            'rear': ([(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)], (0, 0, -1)),
            'front': ([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)], (0, 0, 1)),
            'top': ([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], (0, 1, 0)),
        }
        roof = color if roof is None else roof
        return {
            name: self.face(points, roof if name == 'top' else color, outward)
            for name, (points, outward) in sides.items()
        }

    def wheel(
        self, x: float, z: float, radius: float, outward: float, rim=(120, 120, 124)
    ) -> None:
        """A wheel seen from the side ``outward`` (-1 left, 1 right), and its tread."""
        ring = np.linspace(0, 2 * math.pi, 12, endpoint=False)
        circle = np.stack([np.zeros(12), np.sin(ring), np.cos(ring)], 1)
        centre = np.array([x, radius, z])
        tyre = self.face(centre + radius * circle, (26, 26, 28), (outward, 0, 0))
        self.decal(tyre, centre + 0.62 * radius * circle, rim, PLAIN, 16.0)
        self.decal(tyre, centre + 0.22 * radius * circle, (50, 50, 52), PLAIN, 30.0)
        inner = x - outward * 0.22
        for back, at in ((-1, z - radius), (1, z + radius)):
            tread = [(x, 0, at), (inner, 0, at), (inner, radius, at), (x, radius, at)]
            self.face(tread, (22, 22, 24), (0, 0, back))

    def build(self) -> Mesh:
        """The finished shape."""
        few = [face for face in self.faces if face[5] <= _COARSE_LEAST]
        return replace(_assemble(self.faces), coarse=_assemble(few))


_COARSE, _COARSE_LEAST = 10.0, 7.0  # px per metre: below the one, decals up to the other


def _assemble(faces: list) -> Mesh:
    points, colors, kinds, normals, parents, least = zip(*faces, strict=True)
    position = {face[4]: i for i, face in reversed(list(enumerate(faces)))}
    corners = np.concatenate(points)
    return Mesh(
        corners,
        np.cumsum([0] + [len(p) for p in points]),
        np.array(colors),
        np.array(kinds),
        np.array(normals),
        np.array([position[parent] for parent in parents]),
        np.array([p.mean(0) for p in points]),
        np.array(least),
        float(np.linalg.norm(corners, axis=1).max()),
    )


def _normal(points: np.ndarray) -> np.ndarray:
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    return normal / max(float(np.linalg.norm(normal)), 1e-9)


@dataclass(frozen=True)
class Placement:
    """Where a shape stands in camera coordinates and how its lamps are."""

    x: float
    z: float
    yaw: float  # 0 looks away from the camera
    braking: bool = False


def draw_mesh(canvas: Canvas, mesh: Mesh, place: Placement, entity: int) -> None:
    """Draw a shape; counts its pixels into the object's size."""
    scale = canvas.projector.focal / max(place.z, 1.0)
    if canvas.projector.misses(place.x, place.z, mesh.reach) or mesh.reach * scale < 2.0:
        return
    if scale < _COARSE and mesh.coarse is not None:
        mesh = mesh.coarse
    cos, sin = math.cos(place.yaw), math.sin(place.yaw)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])  # row vectors times turn
    shift = np.array([place.x, 0.0, place.z])
    points = mesh.points @ turn + shift
    centres = mesh.centres @ turn + shift
    normals = mesh.normals @ turn
    eye = centres - (0.0, canvas.projector.mount, 0.0)
    facing = np.einsum('ij,ij->i', normals, eye)[mesh.parents] < 0
    shown = np.flatnonzero(facing & (mesh.least_px <= scale))
    distance = np.einsum('ij,ij->i', eye, eye)[mesh.parents]
    order = shown[np.lexsort((mesh.parents[shown], -distance[shown]))]
    colors = _face_colors(canvas, mesh, normals, place)
    clipped = bool((points[:, 2] < NEAR).any())
    uv = canvas.projector.points(points)
    area = canvas.area(uv) if not clipped else np.s_[:, :]
    if area is None:
        return
    before = canvas.count(entity, area)
    pixels = whole_pixels(uv)
    for number in order:
        begin, end = mesh.starts[number], mesh.starts[number + 1]
        label = entity if mesh.parents[number] == number else None
        if clipped:
            canvas.flat(points[begin:end], colors[number], label)
        else:
            canvas.fill(pixels[begin:end], colors[number], label)
    canvas.grow(entity, canvas.count(entity, area) - before)
    _shine(canvas, mesh, centres, shown, place, entity)


def _face_colors(canvas: Canvas, mesh: Mesh, normals, place: Placement) -> list[list[float]]:
    weather, kinds = canvas.weather, mesh.kinds
    light = weather.light(normals)
    beam = weather.beam(place.x, max(place.z, 0.0))
    if beam:
        light += beam * np.maximum(-normals[:, 2:3], 0.25)
    out = mesh.colors * light
    glass = np.flatnonzero(kinds == GLASS)
    if len(glass):  # windows show the sky, more where they lean back
        lean = np.minimum(np.maximum(normals[glass, 1:2] * 1.1 + 0.12, 0), 0.7)
        out[glass] = out[glass] * (1 - lean) + weather.sky_low * lean * 0.8
    out[(kinds == GLOSS) & (normals[:, 1] > 0.5)] += weather.sky_low * 0.16
    lamps = {
        TAIL: np.array([255, 40, 24]) * (1.0 if place.braking else 0.55 * weather.lamps),
        HEAD: np.array([255, 250, 225]) * min(1.0, 1.5 * weather.lamps),
        LAMP: mesh.colors,
    }
    for number in np.flatnonzero((kinds >= TAIL) & (kinds <= LAMP)).tolist():
        own = lamps[kinds[number]]
        out[number] = np.maximum(out[number], own if own.ndim == 1 else own[number])
    fog = float(weather.fog(place.z))
    return np.minimum(out * (1 - fog) + weather.fog_color * fog, 255).tolist()


def _shine(canvas: Canvas, mesh: Mesh, centres, shown, place: Placement, entity: int) -> None:
    lamps = canvas.weather.lamps
    if lamps < 0.1 and not place.braking:
        return
    k = canvas.projector.focal / max(place.z, 2.0)
    for number in shown:
        kind = mesh.kinds[number]
        if kind == HEAD and lamps >= 0.1:
            color, size = (255, 245, 215), 0.55
            strength = lamps
        elif kind == TAIL and (lamps >= 0.1 or place.braking):
            color, size = (255, 40, 30), 0.3
            strength = 0.6 * lamps + (0.3 if place.braking else 0)
        else:
            continue
        if centres[number, 2] > NEAR:
            uv = canvas.projector.points(centres[number : number + 1])[0]
            canvas.glow(uv, max(size * k, 2.5), np.array(color) * strength, entity)
