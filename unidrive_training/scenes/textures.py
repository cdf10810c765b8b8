# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pre-made pictures that polygons wear: noise, facades, walls, foliage. All are unlit colour."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

FLOOR = 3.1  # metres of a storey
BAY = 2.6  # metres from window to window
_PX = 14  # facade pixels per metre


def noise_tile(rng: np.random.Generator, size: int, cells: tuple[int, ...]) -> np.ndarray:
    """(size, size) float32 noise of mean 0 and deviation about 1 that tiles without a seam."""
    total = np.zeros((size, size), np.float32)
    for n in cells:
        coarse = rng.standard_normal((n, n)).astype(np.float32)
        padded = np.pad(coarse, 2, mode='wrap')
        step = size // n
        fine = cv2.resize(padded, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        total += fine[2 * step : 2 * step + size, 2 * step : 2 * step + size]
    return total / max(float(total.std()), 1e-6)


@functools.lru_cache(maxsize=4)
def shared_noise(kind: str) -> np.ndarray:
    """Noise tiles that do not depend on a drive: 'grain', 'mottle', 'cloud' (512×512 float32)."""
    cells = {'grain': (512, 256), 'mottle': (8, 32, 128), 'cloud': (4, 8, 16, 32, 64)}[kind]
    seed = sorted(('grain', 'mottle', 'cloud')).index(kind)
    return noise_tile(np.random.default_rng(seed), 512, cells)


def tiled(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """``tile`` repeated to (height, width)."""
    reps = (-(-height // tile.shape[0]), -(-width // tile.shape[1]))
    return np.tile(tile, reps)[:height, :width]


@dataclass(frozen=True)
class Texture:
    """A picture with its halves, quarters, ... so that far surfaces do not flicker.

    ``levels[k]`` is (h/2^k, w/2^k, 3) uint8 RGB; ``masks[k]`` its uint8 cover, None if full.
    """

    levels: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...] | None = None

    @classmethod
    def of(cls, rgb: np.ndarray, mask: np.ndarray | None = None) -> Texture:
        """Build the pyramid of (H, W, 3) 0..255 colours and an optional (H, W) 0..255 cover."""
        levels = [np.clip(rgb, 0, 255).astype(np.uint8)]
        masks = None if mask is None else [mask.astype(np.uint8)]
        while min(levels[-1].shape[:2]) >= 8 and len(levels) < 6:
            levels.append(
                cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            )
            if masks is not None:
                shape = levels[-1].shape[1::-1]
                masks.append(cv2.resize(masks[-1], shape, interpolation=cv2.INTER_AREA))
        return cls(tuple(levels), None if masks is None else tuple(masks))

    def pick(self, height_px: float) -> int:
        """The level whose height suits ``height_px`` image rows."""
        level, rows = 0, self.levels[0].shape[0]
        while level + 1 < len(self.levels) and rows > 1.5 * height_px:
            level, rows = level + 1, rows / 2
        return level

    def lit(self, factors: np.ndarray, glow: np.ndarray | None = None) -> Texture:
        """The texture under (3,) light ``factors``; ``glow`` (H, W, 3) is what shines itself."""
        rgb = self.levels[0].astype(np.float32) * factors.astype(np.float32)
        if glow is not None:
            rgb = np.maximum(rgb, glow)
        return Texture.of(rgb, None if self.masks is None else self.masks[0])


@dataclass(frozen=True)
class Facade:
    """A house front: ``wall`` in daylight, ``glow`` the lit windows, and its size in metres."""

    wall: np.ndarray
    glow: np.ndarray
    length: float
    height: float
    plain: np.ndarray  # the same wall without windows, for end faces


_WALL_COLORS = np.array(
    [
        [176, 160, 140], [150, 82, 62], [196, 184, 164], [120, 116, 112], [205, 200, 192],
        [168, 120, 88], [142, 134, 122], [110, 70, 56], [186, 170, 120], [160, 168, 174],
        [90, 92, 98], [210, 190, 160],
    ]
)  # fmt: skip


def facade(rng: np.random.Generator, floors: int, bays: int, style: str) -> Facade:
    """A front of ``floors`` × ``bays`` windows; ``style`` 'shop', 'flat', 'office' or 'house'."""
    length, height = bays * BAY, floors * FLOOR
    h, w = round(height * _PX), round(length * _PX)
    color = _WALL_COLORS[rng.integers(len(_WALL_COLORS))] + rng.normal(0, 10, 3)
    wall = np.ones((h, w, 3), np.float32) * color
    wall += 5 * tiled(shared_noise('mottle'), h, w)[..., None]
    wall += 3 * tiled(shared_noise('grain'), h, w)[..., None]
    if rng.random() < 0.4:  # courses of brick or panels
        wall[:: int(rng.integers(4, 9))] *= 0.9
    plain = wall.copy()
    glow = np.zeros((h, w, 3), np.float32)
    trim = color * rng.uniform(0.6, 1.35)
    if style == 'office' and rng.random() < 0.6:
        _ribbon_windows(rng, wall, glow, floors, trim)
    else:
        _windows(rng, wall, glow, floors, bays, trim)
    if style in ('shop', 'office'):
        _shop(rng, wall, glow, bays)
    elif style == 'house':
        _door(rng, wall, bays)
    wall[: max(2, _PX // 3)] = trim * 0.9  # cornice
    return Facade(np.clip(wall, 0, 255), glow, length, height, np.clip(plain, 0, 255))


def _glass(rng: np.random.Generator) -> np.ndarray:
    sky = rng.uniform(0, 1)
    return np.array([38, 46, 56]) * (1 - sky) + np.array([128, 148, 170]) * sky


def _windows(rng, wall, glow, floors, bays, trim) -> None:
    ww, wh = rng.uniform(0.4, 0.62) * BAY * _PX, rng.uniform(0.45, 0.68) * FLOOR * _PX
    balcony = rng.random() < 0.25
    base = _glass(rng)
    for floor in range(floors):
        for bay in range(bays):
            u = int((bay + 0.5) * BAY * _PX - ww / 2)
            v = int((floor + 0.5) * FLOOR * _PX - wh / 2)
            area = np.s_[v : v + int(wh), u : u + int(ww)]
            cv2.rectangle(
                wall, (u - 2, v - 2), (u + int(ww) + 1, v + int(wh) + 1), trim.tolist(), -1
            )
            ramp = np.linspace(1.25, 0.75, wall[area].shape[0])[:, None, None]
            wall[area] = base * ramp * rng.uniform(0.7, 1.3)
            wall[v : v + int(wh), u + int(ww / 2)] = trim
            if rng.random() < 0.3:  # curtain or blind
                drop = int(wh * rng.uniform(0.2, 0.9))
                wall[v : v + drop, u : u + int(ww)] = rng.uniform(130, 225)
            if rng.random() < 0.4:
                glow[area] = np.array([250, 205, 130]) * rng.uniform(0.35, 1.0)
            cv2.rectangle(
                wall,
                (u - 4, v + int(wh)),
                (u + int(ww) + 4, v + int(wh) + 2),
                (trim * 0.8).tolist(),
                -1,
            )
            if balcony and floor < floors - 1:
                rail = np.s_[v + int(wh * 0.6) : v + int(wh) + 4, max(u - 8, 0) : u + int(ww) + 8]
                wall[rail] = wall[rail] * 0.45 + 25


def _ribbon_windows(rng, wall, glow, floors, trim) -> None:
    base = _glass(rng)
    step = int(rng.integers(12, 30))
    for floor in range(floors):
        v = int((floor + rng.uniform(0.18, 0.3)) * FLOOR * _PX)
        end = v + int(0.6 * FLOOR * _PX)
        wall[v:end] = base * np.linspace(1.3, 0.8, end - v)[: wall[v:end].shape[0], None, None]
        for u in range(0, wall.shape[1], step):
            wall[v:end, u : u + step] *= rng.uniform(0.75, 1.25)
            wall[v:end, u : u + 2] = trim
            if rng.random() < 0.45:
                glow[v:end, u + 2 : u + step] = np.array([235, 225, 190]) * rng.uniform(0.3, 0.9)


def _shop(rng, wall, glow, bays) -> None:
    h, w = wall.shape[:2]
    top = h - int(FLOOR * _PX)
    wall[top:] = wall[top:] * 0.35 + rng.uniform(20, 90)
    width = int(BAY * _PX)
    for bay in range(bays):
        u = bay * width
        pane = np.s_[top + 14 : h - 7, u + 4 : u + width - 4]
        ramp = np.linspace(1.1, 0.6, wall[pane].shape[0])[:, None, None]
        wall[pane] = _glass(rng) * ramp * 0.8
        glow[pane] = np.array([255, 225, 175]) * rng.uniform(0.3, 1.0)
    u = 0
    while u < w:  # name boards and awnings
        span = int(rng.integers(1, 4)) * width
        color = rng.uniform(25, 225, 3)
        wall[top : top + 11, u + 2 : u + span - 2] = color
        for x in range(u + 8, min(u + span, w) - 10, 6):
            if rng.random() < 0.7:
                wall[top + 3 : top + 8, x : x + 4] = 255 - color
        if rng.random() < 0.3:
            glow[top : top + 11, u + 2 : u + span - 2] = color * 1.1
        u += span


def _door(rng, wall, bays) -> None:
    h = wall.shape[0]
    u = int((int(rng.integers(bays)) + 0.5) * BAY * _PX)
    wall[h - int(2.2 * _PX) :, u - 8 : u + 8] = rng.uniform(30, 140, 3)


def wall_texture(rng: np.random.Generator) -> np.ndarray:
    """(64, 256, 3) float32: a garden or retaining wall, 8 m of it."""
    color = _WALL_COLORS[rng.integers(len(_WALL_COLORS))] * rng.uniform(0.7, 1.1)
    wall = np.ones((64, 256, 3), np.float32) * color
    wall += (
        9 * shared_noise('mottle')[:64, :256, None] + 6 * shared_noise('grain')[:64, :256, None]
    )
    if rng.random() < 0.6:
        for row, v in enumerate(range(0, 64, 8)):
            wall[v] *= 0.72
            for u in range((row % 2) * 8, 256, 16):
                wall[v : v + 8, u] *= 0.75
    else:
        wall[:, ::64] *= 0.6
    if rng.random() < 0.35:  # scrawls
        for _ in range(int(rng.integers(1, 6))):
            points = rng.uniform([0, 14], [256, 58], (6, 2)).astype(np.int32)
            cv2.polylines(wall, [points], False, rng.uniform(20, 240, 3).tolist(), 3)
    wall[:5] = np.minimum(wall[:5] * 1.25, 255)
    return np.clip(wall, 0, 255)


def fence_texture(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(64, 256, 3) colours and (64, 256) cover of 8 m of fence; the gaps are seen through."""
    color = np.array(
        [[60, 64, 62], [40, 60, 44], [150, 150, 150], [120, 92, 64], [225, 222, 215]]
    )[rng.integers(5)] * rng.uniform(0.8, 1.15)
    rgb = np.ones((64, 256, 3), np.float32) * color
    rgb += 8 * shared_noise('grain')[:64, :256, None]
    mask = np.zeros((64, 256), np.uint8)
    step = int(rng.choice([5, 6, 8, 10]))
    bar = int(rng.integers(2, max(3, step - 1)))
    for u in range(0, 256, step):
        mask[4:, u : u + bar] = 255
    for v in (6, 52):
        mask[v : v + 4] = 255
    mask[:, ::64] = 255
    mask[:, 1::64] = 255
    return np.clip(rgb, 0, 255), mask


def hedge_texture(rng: np.random.Generator) -> np.ndarray:
    """(64, 256, 3) float32: 8 m of clipped hedge."""
    return _leaves(rng, 64, 256) * np.linspace(1.15, 0.6, 64)[:, None, None]


def _leaves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    green = np.array([[66, 92, 38], [88, 108, 50], [52, 80, 44], [112, 116, 52], [140, 108, 50]])
    color = green[rng.choice(5, p=[0.35, 0.25, 0.2, 0.13, 0.07])] * rng.uniform(0.75, 1.25)
    noise = 0.20 * shared_noise('mottle') + 0.22 * shared_noise('grain')
    shift = rng.integers(0, 512, 2)
    noise = tiled(np.roll(noise, tuple(shift), (0, 1)), height, width)
    return np.clip(color * np.exp(noise)[..., None], 0, 255).astype(np.float32)


def tree_sprite(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(192, 160, 3) colours, (192, 160) cover; 'round', 'tall', 'palm', 'bare' or 'bush'."""
    h, w = 192, 160
    mask = np.zeros((h, w), np.uint8)
    rgb = _leaves(rng, h, w)
    trunk = np.array([78, 62, 48]) * rng.uniform(0.6, 1.3)
    if kind == 'bare':
        _branches(rng, mask, (80, 191), -np.pi / 2, 58.0, 7.0)
        rgb[:] = trunk
        rgb += 10 * shared_noise('grain')[:h, :w, None]
        return np.clip(rgb, 0, 255), mask
    top = {'round': 0.62, 'tall': 0.88, 'palm': 0.35, 'bush': 1.0}[kind] * h
    width = {'round': 74, 'tall': 42, 'palm': 60, 'bush': 78}[kind]
    centre = np.array([80.0, top / 2 + 2])
    blobs = _crown(rng, mask, centre, width, top / 2, 8 if kind == 'palm' else 46)
    light = np.full((h, w), 0.62, np.float32)
    for u, v, r in blobs[np.argsort(-blobs[:, 1])]:  # upper clumps catch the light
        cv2.circle(
            light,
            (int(u - r * 0.15), int(v - r * 0.25)),
            int(r * 0.75),
            float(1.25 - 0.65 * v / top),
            -1,
        )
    light = cv2.GaussianBlur(light, (0, 0), 3)
    rgb *= light[..., None]
    ragged = shared_noise('grain')[:h, :w] + shared_noise('mottle')[:h, :w]
    soft = cv2.GaussianBlur(mask, (0, 0), 3.5).astype(np.float32) / 255
    edge = 4 * soft * (1 - soft)  # frayed at the rim only, without stray leaves
    mask = np.where(soft + 0.2 * edge * ragged > 0.5, 255, 0).astype(np.uint8)
    if kind != 'bush':
        stem = np.array([[76, int(top * 0.5)], [84, int(top * 0.5)], [86, 191], [73, 191]])
        crown = mask > 0
        cv2.fillConvexPoly(mask, stem, 255)
        bark = (mask > 0) & ~crown
        rgb[bark] = trunk
    return np.clip(rgb, 0, 255), mask


def _crown(rng, mask, centre, width, height, count) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = np.sqrt(rng.uniform(0, 1, count)) * 0.78
    u = centre[0] + np.cos(angle) * reach * width
    v = centre[1] + np.sin(angle) * reach * height
    r = rng.uniform(0.14, 0.3, count) * min(width, height)
    blobs = np.stack([u, np.maximum(v, r), r], 1)
    for bu, bv, br in blobs:
        cv2.circle(mask, (int(bu), int(bv)), int(br), 255, -1)
    return blobs


def _branches(rng, mask, start, angle, length, thick) -> None:
    end = (start[0] + np.cos(angle) * length, start[1] + np.sin(angle) * length)
    cv2.line(mask, tuple(map(int, start)), tuple(map(int, end)), 255, max(1, int(thick)))
    if length < 9:
        return
    for _ in range(3 if length > 20 else 2):
        _branches(
            rng,
            mask,
            end,
            angle + rng.normal(0, 0.5),
            length * rng.uniform(0.55, 0.8),
            thick * 0.6,
        )


@functools.lru_cache(maxsize=1)
def tree_pool() -> tuple[tuple[np.ndarray, np.ndarray, str], ...]:
    """Twenty unlit tree sprites (colours, cover, kind), the same in every drive."""
    rng = np.random.default_rng(41)
    kinds = ['round'] * 8 + ['tall'] * 4 + ['bush'] * 4 + ['bare'] * 3 + ['palm']
    return tuple((*tree_sprite(rng, kind), kind) for kind in kinds)
