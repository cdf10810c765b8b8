# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws what stands beside the street (``roadside``) as one pose sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_training.scenes import textures
from unidrive_training.scenes.camera import NEAR, Pose
from unidrive_training.scenes.canvas import (
    BUILDING,
    FENCE,
    LIGHT,
    POLE,
    SIGN,
    VEGETATION,
    WALL,
    Canvas,
)
from unidrive_training.scenes.roadside import Block, Head, Post, Tree, facade_plan
from unidrive_training.scenes.textures import Facade, Texture
from unidrive_training.scenes.weather import Weather

_STEEL = np.array([112.0, 114.0, 116.0])
_PIECE = 8.0  # metres of wall that one texture covers


@dataclass(frozen=True)
class Wardrobe:
    """The drive's textures, lit for each way that a face can look."""

    facades: list[Facade]
    fronts: list[tuple[Texture, Texture, Texture]]  # left side, right side, facing the camera
    ends: list[Texture]
    roofs: list[np.ndarray]
    long: dict[int, list[tuple[Texture, Texture, Texture]]]  # walls, fences, hedges
    trees: list[Texture]
    tree_kinds: list[str]


def sample_wardrobe(rng: np.random.Generator, kind: str, weather: Weather) -> Wardrobe:
    """Make the textures of a drive through a street of ``kind`` and light them."""
    ways = weather.light(np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, -1.0]]))
    ways = ways + 0.06 * weather.lamps
    facades = [textures.facade(rng, *facade_plan(rng, kind)) for _ in range(7)]
    glow = weather.lamps if weather.lamps > 0.25 else 0.0
    fronts, ends = [], []
    for front in facades:
        fronts.append(tuple(Texture.of(front.wall).lit(way, front.glow * glow) for way in ways))
        ends.append(Texture.of(front.plain).lit(ways[2]))
    long = {entity: [] for entity in (WALL, FENCE, VEGETATION)}
    for _ in range(2):
        rgb, mask = textures.fence_texture(rng)
        makes = {
            WALL: Texture.of(textures.wall_texture(rng)),
            FENCE: Texture.of(rgb, mask),
            VEGETATION: Texture.of(textures.hedge_texture(rng)),
        }
        for entity, plain in makes.items():
            long[entity].append(tuple(plain.lit(way) for way in ways))
    pool = textures.tree_pool()
    picks = [int(i) for i in rng.choice(len(pool), 6, replace=False)]
    leaves = (ways.mean(0) + weather.light(np.array([[0, 1.0, 0]]))[0]) / 2
    hue = 1 + rng.normal(0, 0.08, 3)
    roofs = np.array([[134, 74, 56], [92, 88, 88], [70, 64, 62], [150, 100, 78]])
    return Wardrobe(
        facades,
        fronts,
        ends,
        [roofs[rng.integers(4)] * rng.uniform(0.8, 1.2) for _ in facades],
        long,
        [Texture.of(pool[i][0], pool[i][1]).lit(leaves * hue) for i in picks],
        [pool[i][2] for i in picks],
    )


def draw_block(canvas: Canvas, pose: Pose, wardrobe: Wardrobe, block: Block, z: float) -> None:
    """Draw a house or wall whose near end is ``z`` metres ahead (negative: behind)."""
    far = z + block.t1 - block.t0
    xa, xb = pose.locate(block.s, z), pose.locate(block.s, far)
    if block.entity == BUILDING:
        texture = wardrobe.fronts[block.texture]
        share = (block.t1 - block.t0) / wardrobe.facades[block.texture].length
        _house_rest(canvas, wardrobe, block, (xa, z), (xb, far))
    else:
        texture = wardrobe.long[block.entity][block.texture]
        share = (block.t1 - block.t0) / _PIECE
    corners = np.array([[xa, 0, z], [xa, block.height, z], [xb, block.height, far], [xb, 0, far]])
    span = (0.0, share) if block.side < 0 else (share, 0.0)
    canvas.strip(texture[0 if block.side < 0 else 1], corners, span, block.entity)


def _house_rest(canvas: Canvas, wardrobe: Wardrobe, block: Block, near, far) -> None:
    """Roof and the end wall that looks at the camera."""
    (xa, za), (xb, zb) = near, far
    h, side, weather = block.height, block.side, canvas.weather
    middle, back = side * block.depth / 2, side * block.depth
    if block.roof and zb > NEAR:
        normal = np.array([[-side * 0.6, 0.8, 0.0]])
        tile = weather.tint(wardrobe.roofs[block.texture], weather.light(normal), max(za, 5.0))[0]
        roof = [(xa, h, za), (xa + middle, h + block.roof, za),
                (xb + middle, h + block.roof, zb), (xb, h, zb)]  # fmt: skip
        canvas.flat(roof, tile.tolist(), BUILDING)
    if za < NEAR or block.joined:
        return
    corners = np.array([[xa, 0, za], [xa, h, za], [xa + back, h, za], [xa + back, 0, za]])
    facade = wardrobe.facades[block.texture]
    windowed = block.texture % 3 > 0 and not block.roof
    texture = wardrobe.fronts[block.texture][2] if windowed else wardrobe.ends[block.texture]
    canvas.strip(texture, corners, (0.0, block.depth / facade.length), BUILDING)
    if block.roof:
        wall = facade.plain.mean((0, 1))
        color = weather.tint(wall, weather.light(np.array([[0, 0, -1.0]])), za)[0]
        gable = [(xa, h, za), (xa + middle, h + block.roof, za), (xa + back, h, za)]
        canvas.flat(gable, color.tolist(), BUILDING)


def draw_tree(canvas: Canvas, pose: Pose, wardrobe: Wardrobe, tree: Tree, z: float) -> None:
    """Draw a tree ``z`` metres ahead."""
    if z > 1.5:
        size = (tree.width, tree.height)
        x = pose.locate(tree.s, z)
        canvas.sprite(wardrobe.trees[tree.texture], x, z, size, VEGETATION)


def draw_post(canvas: Canvas, pose: Pose, post: Post, z: float, seconds: float) -> None:
    """Draw a pole with its lamp, signs and lights, ``z`` metres ahead."""
    x, weather = pose.locate(post.s, z), canvas.weather
    thin = post.width * canvas.projector.focal < 0.4 * z and not post.heads
    if z < 1.5 or thin or canvas.projector.misses(x, z, 1.0 + abs(post.arm)):
        return
    light = weather.light_on_front + weather.beam(x, z)
    color = weather.tint(_STEEL, light, z).tolist()
    for head in post.heads:
        if head.kind == 'signal-back':
            _head(canvas, x, z, head, post, seconds)
    canvas.line((x, 0, z), (x, post.height, z), post.width, color, POLE)
    if post.arm:
        canvas.line(
            (x, post.height, z), (x + post.arm, post.height, z), post.width * 0.7, color, POLE
        )
    if post.lamp:
        tip = (x + post.arm, post.height - 0.05, z)
        canvas.line((tip[0] - 0.3, *tip[1:]), (tip[0] + 0.3, *tip[1:]), 0.2, color, POLE)
        if weather.lamps > 0.25:
            uv = canvas.projector.point(*tip)
            k = canvas.projector.focal / z
            canvas.glow(uv, max(0.5 * k, 3.0), np.array([255, 205, 140]) * weather.lamps, POLE)
    for head in post.heads:
        if head.kind != 'signal-back':
            _head(canvas, x, z, head, post, seconds)


def _head(canvas: Canvas, x: float, z: float, head: Head, post: Post, seconds: float) -> None:
    uv = np.array(canvas.projector.point(x + head.right, head.up, z))
    k = canvas.projector.focal / z
    if head.size * k < 2.0 or uv[0] < -90 or uv[0] > canvas.width + 90:
        return
    entity = canvas.new_object(LIGHT if head.kind.startswith('signal') else SIGN)
    light = canvas.weather.light_on_front + 1.4 * canvas.weather.beam(x + head.right, z)
    pen = _Pen(canvas, uv, k * head.size, light, z, entity)
    if head.kind.startswith('signal'):
        _signal(pen, post, seconds, shown=head.kind == 'signal')
    else:
        _SIGN_SHAPES[head.kind](pen)
    area = canvas.area(uv[None], margin=2 + int(1.3 * k * head.size))
    if area is not None:
        canvas.grow(entity, canvas.count(entity, area))


class _Pen:
    """Draws flat shapes around a centre, in units of the head's size, under its light."""

    def __init__(self, canvas: Canvas, uv, unit: float, light, z: float, entity: int) -> None:
        self.canvas, self.uv, self.unit = canvas, uv, unit
        self.entity = entity
        fog = float(canvas.weather.fog(z))
        self.gain = (light * (1 - fog)).tolist()
        self.fog = (canvas.weather.fog_color * fog).tolist()

    def color(self, rgb) -> list[float]:
        return [
            min(c * k + fog, 255.0) for c, k, fog in zip(rgb, self.gain, self.fog, strict=True)
        ]

    def shape(self, points, rgb, label: bool = False) -> None:
        uv = self.uv + self.unit * np.asarray(points, float) * (1, -1)
        self.canvas.polygon(uv, self.color(rgb), self.entity if label else None)

    def disc(self, centre, radius: float, rgb, label: bool = False, lit: bool = False) -> None:
        uv = self.uv + self.unit * np.array([centre[0], -centre[1]])
        at, px = (round(uv[0]), round(uv[1])), max(1, round(radius * self.unit))
        cv2.circle(self.canvas.image, at, px, rgb if lit else self.color(rgb), -1)
        if label:
            cv2.circle(self.canvas.entity, at, px, self.entity, -1)
        if lit:
            lamps = self.canvas.weather.lamps
            self.canvas.glow(uv, px * 2.2, np.array(rgb) * (0.25 + 0.75 * lamps), self.entity)


def _box(w: float, h: float, right: float = 0.0, up: float = 0.0) -> list[tuple[float, float]]:
    w, h = w / 2, h / 2
    return [(right - w, up - h), (right + w, up - h), (right + w, up + h), (right - w, up + h)]


def _polygon(corners: int, radius: float, turn: float = 0.0) -> np.ndarray:
    a = np.linspace(0, 2 * math.pi, corners, endpoint=False) + turn + math.pi / 2
    return np.stack([np.cos(a), np.sin(a)], 1) * radius


_LAMPS = ((0.33, (255, 48, 30)), (0.0, (255, 190, 40)), (-0.33, (60, 250, 150)))


def _signal(pen: _Pen, post: Post, seconds: float, shown: bool) -> None:
    case = [(26, 28, 28), (196, 156, 40), (38, 44, 40)][int(post.phase * 7) % 3]
    if int(post.phase * 5) % 4 == 0:  # back plate
        pen.shape(_box(0.62, 1.22), (22, 22, 22), label=True)
    pen.shape(_box(0.40, 1.05), case, label=True)
    if not shown:
        pen.shape(_box(0.30, 0.9), np.array(case) * 0.8)
        return
    clock = (seconds + post.phase) % 24
    active = 2 if clock < 11 else (1 if clock < 13.5 else 0)
    for i, (up, color) in enumerate(_LAMPS):
        if i == active:
            pen.disc((0, up), 0.145, color, lit=True)
        else:
            pen.disc((0, up), 0.13, np.array(color) * 0.16 + 12)


def _round(pen: _Pen) -> None:
    pen.disc((0, 0), 0.5, (196, 26, 32), label=True)
    pen.disc((0, 0), 0.37, (236, 236, 232))
    for right in (-0.13, 0.13):
        pen.shape(_box(0.1, 0.34, right), (24, 24, 26))
        pen.shape(_box(0.2, 0.08, right, 0.13), (24, 24, 26))


def _warning(pen: _Pen) -> None:
    pen.shape(_polygon(3, 0.6), (196, 26, 32), label=True)
    pen.shape(_polygon(3, 0.4), (238, 238, 232))
    pen.shape(_box(0.08, 0.26, 0, 0.0), (20, 20, 22))


def _stop(pen: _Pen) -> None:
    pen.shape(_polygon(8, 0.52, math.pi / 8), (236, 236, 236), label=True)
    pen.shape(_polygon(8, 0.48, math.pi / 8), (184, 24, 30))
    pen.shape(_box(0.66, 0.16), (238, 238, 238))
    for right in (-0.2, 0.0, 0.2):
        pen.shape(_box(0.06, 0.18, right), (184, 24, 30))


def _yield(pen: _Pen) -> None:
    pen.shape(_polygon(3, 0.6, math.pi), (196, 26, 32), label=True)
    pen.shape(_polygon(3, 0.38, math.pi), (240, 240, 236))


def _blue(pen: _Pen) -> None:
    pen.shape(_box(0.9, 0.9), (28, 84, 170), label=True)
    pen.shape(_box(0.12, 0.56, -0.14), (240, 240, 240))
    pen.shape(_box(0.3, 0.3, 0.05, 0.13), (240, 240, 240))
    pen.shape(_box(0.12, 0.12, 0.04, 0.13), (28, 84, 170))


def _diamond(pen: _Pen) -> None:
    pen.shape(_polygon(4, 0.6), (236, 190, 30), label=True)
    pen.shape(_box(0.1, 0.5, 0, -0.02), (26, 26, 24))
    pen.shape([(-0.2, 0.1), (0.2, 0.1), (0, 0.36)], (26, 26, 24))


def _plate(pen: _Pen) -> None:
    pen.shape(_box(0.72, 0.92), (240, 240, 236), label=True)
    for up, height in ((0.28, 0.08), (0.15, 0.08)):
        pen.shape(_box(0.5, height, 0, up), (30, 30, 30))
    for right in (-0.13, 0.13):
        pen.shape(_box(0.16, 0.34, right, -0.18), (30, 30, 30))


def _green(pen: _Pen) -> None:
    pen.shape(_box(1.5, 1.0), (226, 232, 228), label=True)
    pen.shape(_box(1.44, 0.94), (18, 104, 66))
    for right, up, width in ((-0.25, 0.25, 0.7), (-0.1, 0.02, 1.0), (-0.3, -0.22, 0.6)):
        pen.shape(_box(width, 0.12, right, up), (236, 240, 236))


def _no_entry(pen: _Pen) -> None:
    pen.disc((0, 0), 0.5, (192, 22, 30), label=True)
    pen.shape(_box(0.7, 0.16), (240, 240, 236))


def _arrow(pen: _Pen) -> None:
    pen.disc((0, 0), 0.5, (28, 84, 176), label=True)
    pen.shape(_box(0.1, 0.46, 0, -0.08), (242, 242, 242))
    pen.shape([(-0.2, 0.1), (0.2, 0.1), (0, 0.36)], (242, 242, 242))


_SIGN_SHAPES = {
    'round': _round, 'warning': _warning, 'stop': _stop, 'yield': _yield, 'blue': _blue,
    'diamond': _diamond, 'plate': _plate, 'green': _green, 'no-entry': _no_entry, 'arrow': _arrow,
}  # fmt: skip
