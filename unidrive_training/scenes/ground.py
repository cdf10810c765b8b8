# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The ground of a drive: one lit bird's-eye map of the street, looked up by every ground pixel.

The map has a row per 1/6 metre along the road and a column per 1/16 metre across it, in colour and
in entities; so markings, kerbs and the drivable area bend and shrink together with exact truth.
"""

from __future__ import annotations

import cv2
import numpy as np

from unidrive_training.scenes.camera import FAR, Camera, GroundTable, Pose
from unidrive_training.scenes.canvas import ALTERNATIVE, DIRECT, SIDEWALK, TERRAIN
from unidrive_training.scenes.roadside import Roadside
from unidrive_training.scenes.street import LENGTH, Street
from unidrive_training.scenes.textures import shared_noise, tiled
from unidrive_training.scenes.weather import Weather

HALF = 28.0  # metres of map to each side
ROWS_PER_M, COLS_PER_M = 6, 16
_ROWS, _COLS = int(LENGTH * ROWS_PER_M), int(2 * HALF * COLS_PER_M)
_LIGHT_STEP = 4  # the light map is this much coarser


def _area(t0: float, t1: float, s0: float, s1: float) -> tuple[slice, slice]:
    rows = slice(max(0, round(t0 * ROWS_PER_M)), max(0, round(t1 * ROWS_PER_M)))
    cols = slice(max(0, round((s0 + HALF) * COLS_PER_M)), max(0, round((s1 + HALF) * COLS_PER_M)))
    return rows, cols


def _map_pixels(points: np.ndarray) -> np.ndarray:
    """(N, 2) points (s, t) in metres -> int32 columns and rows of the map."""
    return ((points + np.array([HALF, 0.0])) * (COLS_PER_M, ROWS_PER_M)).astype(np.int32)


def _full(s0: float, s1: float) -> tuple[slice, slice]:
    return _area(0, LENGTH, s0, s1)


def _within(t0: float, t1: float) -> list[tuple[float, float]]:
    """The parts of a span, which may run over the world's seam, that lie on the map."""
    spans = [(t0 + shift, t1 + shift) for shift in (-LENGTH, 0.0, LENGTH)]
    return [(a, b) for a, b in spans if b > 0 and a < LENGTH]


class Ground:
    """The map of a drive and its view from a pose."""

    def __init__(
        self,
        rng: np.random.Generator,
        street: Street,
        side: Roadside,
        camera: Camera,
        weather: Weather,
    ) -> None:
        """Paint and light the map."""
        self.camera = camera
        self.table = GroundTable(camera)
        painter = _Painter(rng, street)
        self.labels = painter.labels
        rgb = _lit(painter.rgb, _light_map(street, side, weather))
        half = cv2.resize(rgb, (_COLS // 2, _ROWS // 4), interpolation=cv2.INTER_AREA)
        far = cv2.resize(half, (_COLS // 8, _ROWS // 16), interpolation=cv2.INTER_AREA)
        self.levels = ((rgb, 1, 1), (half, 2, 4), (far, 8, 16))
        depth = self.table.depth
        fog = weather.fog(depth)
        self.fog = None
        if float(fog[:, camera.width_px // 2].max()) > 0.03:
            self.fog = (fog * 255).astype(np.uint8)[..., None].repeat(3, 2)
        self.fog_color = weather.fog_color
        self.beam = self._headlights(weather)

    def _headlights(self, weather: Weather) -> np.ndarray | None:
        if weather.lamps < 0.3:
            return None
        x, z = self.table.lateral, self.table.depth
        cone = (
            np.exp(-((x / (2.2 + 0.22 * z)) ** 2)) * np.exp(-z / 20.0) * np.minimum(z / 5.0, 1.0)
        )
        gain = np.clip(64 * (1 + 1.8 * weather.lamps * cone), 0, 255)
        return gain.astype(np.uint8)[..., None].repeat(3, 2)

    def draw(self, image: np.ndarray, entity: np.ndarray, pose: Pose) -> int:
        """Paint the ground below the horizon; returns the first row of it."""
        first, rows = self.table.window(self.camera, pose.pitch_px)
        z_axis = np.arange(int(FAR * 1.5 * 4) + 2) / 4.0
        bend = pose.bends(z_axis).astype(np.float32)
        depth, cell = self.table.depth[rows], self.table.cell[rows]
        across = self.table.lateral[rows] - bend.take(cell)
        across = (across + (pose.s + HALF)) * COLS_PER_M - 0.5
        np.clip(across, 1, _COLS - 2, out=across)
        along = (depth + pose.t % LENGTH) * ROWS_PER_M - 0.5
        view = image[first:]
        self._colors(view, across, along, depth)
        labels = cv2.remap(
            self.labels, across, along, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP
        )
        if self.fog is not None:
            fog = self.fog[rows]
            veil = np.empty_like(view)
            veil[:] = np.clip(self.fog_color, 0, 255).astype(np.uint8)
            view[:] = cv2.multiply(view, 255 - fog, scale=1 / 255)
            view += cv2.multiply(veil, fog, scale=1 / 255)
        if self.beam is not None:
            view[:] = cv2.multiply(view, self.beam[rows], scale=1 / 64)
        valid = self.table.valid[rows]
        entity[first:][valid] = labels[valid]
        return first

    def _colors(self, view, across, along, depth) -> None:
        """Near rows from the full map, far rows from its coarser copies."""
        middle = depth[:, depth.shape[1] // 2]
        bounds = [
            0,
            int(np.count_nonzero(middle > 70.0)),
            int(np.count_nonzero(middle > 22.0)),
            len(middle),
        ]
        for (rgb, by_s, by_t), a, b in zip(
            self.levels[::-1], bounds[:-1], bounds[1:], strict=True
        ):
            if b > a:
                u = (across[a:b] + 0.5) / by_s - 0.5
                v = (along[a:b] + 0.5) / by_t - 0.5
                view[a:b] = cv2.remap(rgb, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


class _Painter:
    """Draws the unlit colours and the entities of the map."""

    def __init__(self, rng: np.random.Generator, street: Street) -> None:
        self.rng, self.street = rng, street
        self.rgb = np.zeros((_ROWS, _COLS, 3), np.uint8)
        self.labels = np.full((_ROWS, _COLS), TERRAIN, np.uint8)
        self.asphalt = rng.uniform(66, 128) + rng.normal(0, 4, 3)
        self._ground()
        self._road()
        for at, half in street.crossings:
            self._cross_street(at, half)
        self._wear()
        self._texture()
        self._markings()
        for at, half in street.crossings:
            self._crossing_marks(at, half)

    def _ground(self) -> None:
        rng, street = self.rng, self.street
        grass = np.array([[96, 108, 58], [120, 122, 74], [80, 100, 50], [138, 122, 90]])[
            rng.integers(4)
        ]
        self.rgb[:] = np.clip(grass * rng.uniform(0.8, 1.15), 0, 255)
        paving = rng.uniform(118, 178) + rng.normal(0, 7, 3)
        if street.kind == 'city':  # forecourts are paved
            self.rgb[:] = np.clip(paving * 0.93, 0, 255)
            self.labels[:] = SIDEWALK
            return self._slabs(paving)
        if street.sidewalk > 0:
            for side in (-1, 1):
                a, b = sorted((street.kerb(side), street.kerb(side) + side * street.sidewalk))
                self.rgb[_full(a, b)] = np.clip(paving, 0, 255)
                self.labels[_full(a, b)] = SIDEWALK
        return self._slabs(paving)

    def _slabs(self, paving) -> None:
        """Joints between paving slabs."""
        street, step = self.street, float(self.rng.choice([0.6, 1.0, 1.5]))
        if street.sidewalk <= 0:
            return
        joint = np.clip(paving * 0.82, 0, 255)
        for side in (-1, 1):
            a, b = sorted((street.kerb(side), street.kerb(side) + side * street.sidewalk))
            rows, cols = _full(a, b)
            self.rgb[:: max(2, int(step * ROWS_PER_M)), cols] = joint
            for s in np.arange(a, b, step):
                self.rgb[rows, _full(s, s + 0.07)[1]] = joint

    def _road(self) -> None:
        street, color = self.street, np.clip(self.asphalt, 0, 255)
        self.rgb[_full(street.left, street.right)] = color
        self.labels[_full(street.left, street.right)] = ALTERNATIVE
        own = street.lanes[street.ego]
        self.labels[_full(own.left, own.right)] = DIRECT
        for lane in street.lanes:
            if lane.kind == 'bike' and self.rng.random() < 0.5:
                tint = np.array([[130, 66, 54], [70, 110, 76]])[self.rng.integers(2)]
                self.rgb[_full(lane.left, lane.right)] = tint
            elif lane.kind == 'parking' and self.rng.random() < 0.4:
                self.rgb[_full(lane.left, lane.right)] = np.clip(color * 1.12, 0, 255)
        if street.divider is not None:
            a, b = street.divider
            green = self.rng.random() < 0.6
            self.rgb[_full(a, b)] = (92, 106, 58) if green else (148, 146, 142)
            self.labels[_full(a, b)] = TERRAIN if green else SIDEWALK
        kerb = np.clip(self.rng.uniform(130, 190) + self.rng.normal(0, 3, 3), 0, 255)
        if street.sidewalk > 0:
            self.rgb[_full(street.left - 0.22, street.left)] = kerb
            self.rgb[_full(street.right, street.right + 0.22)] = kerb

    def _wear(self) -> None:
        """Patches, cracks, covers and oil, on the road only."""
        rng, street = self.rng, self.street
        for _ in range(int(rng.integers(4, 26))):
            t, s = rng.uniform(0, LENGTH), rng.uniform(street.left, street.right)
            size = rng.uniform(0.6, 9), rng.uniform(0.4, 3)
            area = _area(t, t + size[0], s, min(s + size[1], street.right))
            self.rgb[area] = np.clip(self.rgb[area] * rng.uniform(0.78, 1.16), 0, 255)
        for _ in range(int(rng.integers(0, 30))):
            points = np.cumsum(rng.normal([0.15, 0], [0.5, 0.8], (12, 2)), 0)
            points += (rng.uniform(street.left, street.right), rng.uniform(0, LENGTH))
            self._stroke(points, np.clip(self.asphalt * 0.62, 0, 255), 2)
        for _ in range(int(rng.integers(3, 14))):
            centre = (rng.uniform(street.left, street.right), rng.uniform(0, LENGTH))
            self._disc(centre, 0.34, np.clip(self.asphalt * 0.6, 0, 255))
        for lane in street.lanes:
            if lane.kind == 'drive':  # wheel tracks and the oil line between them
                for offset in (-0.8, 0.8):
                    strip = _full(lane.middle + offset - 0.3, lane.middle + offset + 0.3)
                    self.rgb[strip] = np.clip(self.rgb[strip] * 0.95, 0, 255)

    def _stroke(self, points, color, thick) -> None:
        pixels = _map_pixels(points)
        cv2.polylines(self.rgb, [pixels], False, color.tolist(), thick)

    def _disc(self, centre, radius, color) -> None:
        at = (int((centre[0] + HALF) * COLS_PER_M), int(centre[1] * ROWS_PER_M))
        axes = (int(radius * COLS_PER_M), int(radius * ROWS_PER_M))
        cv2.ellipse(self.rgb, at, axes, 0, 0, 360, color.tolist(), -1)

    def _texture(self) -> None:
        strength = self.rng.uniform(3, 8)
        noise = 0.8 * shared_noise('grain') + 0.7 * shared_noise('mottle')
        self.rough = tiled((noise * strength).astype(np.int16), _ROWS, _COLS)
        self.rgb = cv2.add(self.rgb, cv2.merge([self.rough] * 3), dtype=cv2.CV_8U)

    def _texture_over(self, area) -> None:
        """Bare asphalt again."""
        bare = self.asphalt + self.rough[area][..., None]
        self.rgb[area] = np.clip(bare, 0, 255)

    def _paint(self) -> np.ndarray:
        worn = self.rng.uniform(0.55, 1.0)
        return np.array([225, 225, 220]) * worn + self.asphalt * (1 - worn)

    def _markings(self) -> None:
        street, white = self.street, self._paint()
        yellow = np.array([214, 170, 50]) * 0.85 + self.asphalt * 0.15
        centre = yellow if street.marking == 'yellow' else white
        on, off = float(self.rng.uniform(2, 5)), float(self.rng.uniform(3, 8))
        for a, b in zip(street.lanes[:-1], street.lanes[1:], strict=True):
            if a.kind == b.kind == 'drive' and a.ahead == b.ahead:
                for t in np.arange(0, LENGTH, on + off):
                    self.rgb[_area(t, t + on, a.right - 0.07, a.right + 0.07)] = white
            elif a.ahead != b.ahead and street.divider is None:
                self._centre_line(a.right, centre, on, off)
            elif self.rng.random() < 0.7:
                self.rgb[_full(a.right - 0.06, a.right + 0.06)] = white
        for s in (street.left + 0.25, street.right - 0.25):
            if street.kind in ('highway', 'rural') or self.rng.random() < 0.3:
                self.rgb[_full(s - 0.08, s + 0.08)] = white
        for i in street.rails:
            for offset in (-0.72, 0.72):
                s = street.lanes[i].middle + offset
                self.rgb[_full(s - 0.09, s + 0.09)] = (70, 68, 68)
                self.rgb[_full(s - 0.035, s + 0.035)] = (176, 178, 182)

    def _centre_line(self, s, color, on, off) -> None:
        style = self.rng.integers(3)
        if style == 0:
            for t in np.arange(0, LENGTH, on + off):
                self.rgb[_area(t, t + on, s - 0.07, s + 0.07)] = color
            return
        for shift in (0.0,) if style == 1 else (-0.13, 0.13):
            self.rgb[_full(s + shift - 0.06, s + shift + 0.06)] = color

    def _cross_street(self, at: float, half: float) -> None:
        """Asphalt from edge to edge; the own lane goes straight on."""
        for t0, t1 in _within(at - half, at + half):
            rows = _area(t0, t1, -HALF, HALF)
            self.rgb[rows] = np.clip(self.asphalt, 0, 255)
            self.labels[rows] = np.where(self.labels[rows] == DIRECT, DIRECT, ALTERNATIVE)

    def _crossing_marks(self, at: float, half: float) -> None:
        """Stop lines, arrows and zebra crossings; lane lines end at the crossing."""
        street, rng, white = self.street, self.rng, self._paint()
        for t0, t1 in _within(at - half, at + half):
            self._texture_over(_area(t0, t1, street.left, street.right))
            zebra = rng.random() < 0.75
            for begin in (t0 - 4.2, t1 + 1.0):
                if zebra and 0 <= begin < LENGTH - 4:
                    for s in np.arange(street.left + 0.3, street.right - 0.5, 1.05):
                        self.rgb[_area(begin, begin + 3.0, s, s + 0.5)] = white
            for lane in street.lanes:
                begin = t0 - 5.4 if lane.ahead else t1 + 5.0
                if lane.kind == 'drive' and 0 <= begin < LENGTH - 1:
                    self.rgb[_area(begin, begin + 0.4, lane.left + 0.1, lane.right - 0.1)] = white
                    if lane.ahead and begin > 16 and rng.random() < 0.6:
                        self._arrow(lane.middle, begin - 7, white)

    def _arrow(self, s, t, color) -> None:
        shaft = np.array([[s - 0.08, t], [s + 0.08, t], [s + 0.08, t + 2.4], [s - 0.08, t + 2.4]])
        head = np.array([[s - 0.35, t + 2.2], [s + 0.35, t + 2.2], [s, t + 4.0]])
        for shape in (shaft, head):
            pixels = _map_pixels(shape)
            cv2.fillConvexPoly(self.rgb, pixels, color.tolist())


def _light_map(street: Street, side: Roadside, weather: Weather) -> np.ndarray:
    """(rows/4, cols/4, 3) float32 light on the ground: sun less the standing shadows, lamps."""
    shape = (_ROWS // _LIGHT_STEP, _COLS // _LIGHT_STEP)
    shade = np.zeros(shape, np.uint8)
    per = np.array([COLS_PER_M, ROWS_PER_M]) / _LIGHT_STEP
    strong = weather.shadow > 0.12
    run = -weather.sun[[0, 2]] / max(float(weather.sun[1]), 0.12)
    for block in side.blocks if strong else ():
        deep = block.s + block.side * max(block.depth, 0.2)
        corners = np.array(
            [[block.s, block.t0], [block.s, block.t1], [deep, block.t1], [deep, block.t0]]
        )
        points = np.concatenate([corners, corners + run * min(block.height, 40.0)])
        pixels = (_map_pixels(points) / _LIGHT_STEP).astype(np.int32)
        cv2.fillConvexPoly(shade, cv2.convexHull(pixels)[:, 0], 255)
    for tree in side.trees if strong else ():
        at = np.array([tree.s, tree.t]) + run * tree.height * 0.6
        pixel = (int((at[0] + HALF) * per[0]), int(at[1] * per[1]))
        axes = (max(1, int(tree.width * 0.45 * per[0])), max(1, int(tree.height * 0.4 * per[1])))
        cv2.ellipse(shade, pixel, axes, 0, 0, 360, 225, -1)
    ragged = tiled(shared_noise('mottle'), *shape) * 40
    shade = cv2.GaussianBlur(shade, (0, 0), 1.2).astype(np.float32)
    shade = np.where((shade > 8) & (shade < 245), np.clip(shade + ragged, 0, 255), shade) / 255
    direct = weather.sun_color * max(float(weather.sun[1]), 0.12)
    light = (1 - shade)[..., None] * direct.astype(np.float32) + weather.ambient.astype(np.float32)
    if weather.lamps > 0.25:
        pools = np.zeros(shape, np.float32)
        for post in side.posts:
            if post.lamp:
                pixel = (int((post.s + post.arm + HALF) * per[0]), int(post.t * per[1]))
                cv2.ellipse(pools, pixel, (int(4 * per[0]), int(5 * per[1])), 0, 0, 360, 1.0, -1)
        pools = cv2.GaussianBlur(pools, (0, 0), sigmaX=9, sigmaY=4)
        light += (pools * weather.lamps * 0.55)[..., None] * np.float32([1.1, 0.85, 0.55])
    return light.astype(np.float32)


def _lit(rgb: np.ndarray, light: np.ndarray) -> np.ndarray:
    full = cv2.resize(np.clip(light * 128, 0, 255).astype(np.uint8), rgb.shape[1::-1])
    return cv2.multiply(rgb, full, scale=1 / 128)
