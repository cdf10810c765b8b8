# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What happens to the finished picture on its way through air, lens and sensor."""

from __future__ import annotations

import cv2
import numpy as np

from unidrive_training.scenes.camera import Camera
from unidrive_training.scenes.canvas import ALTERNATIVE, DIRECT, HIDDEN, Canvas
from unidrive_training.scenes.textures import shared_noise, tiled
from unidrive_training.scenes.weather import Weather

_GLOW_STEP = 4


class Optics:
    """The camera's look of one drive: tone curve, vignette, grain, bonnet."""

    def __init__(self, rng: np.random.Generator, camera: Camera, weather: Weather) -> None:
        """Draw the camera's peculiarities."""
        self.weather = weather
        h, w = camera.height_px, camera.width_px
        levels = np.arange(256) / 255.0
        curve = np.clip(levels, 0, 1) ** weather.gamma
        curve = (curve - 0.5) * weather.contrast + 0.5
        table = np.clip(curve[:, None] * weather.gain * 255, 0, 255)
        self.table = table.astype(np.uint8)[None]
        u = (np.arange(w) - w / 2) / (w / 2)
        v = (np.arange(h) - h / 2) / (w / 2)
        fall = 1 - rng.uniform(0, 0.3) * (u[None] ** 2 + v[:, None] ** 2)
        self.vignette = (np.clip(fall, 0, 1) * 255).astype(np.uint8)[..., None].repeat(3, 2)
        grain = tiled(shared_noise('grain'), h + 64, w + 64)
        colors = [np.roll(grain, s, (0, 1)) for s in ((0, 0), (37, 91), (113, 29))]
        mixed = 0.75 * grain[..., None] + 0.5 * np.stack(colors, 2)
        self.grain = (mixed * weather.noise).astype(np.int16)
        self.blur = weather.blur * camera.scale
        self.bonnet = _bonnet(rng, h, w) if rng.random() < 0.3 else None
        self.bonnet_color = weather.tint(
            rng.uniform(10, 170) * np.array([[1.0, 1.0, 1.03]]),
            weather.light(np.array([[0, 1.0, 0]])),
            0,
        )[0]

    def apply(self, canvas: Canvas, first_ground_row: int, rng: np.random.Generator) -> np.ndarray:
        """The sensor's picture; the bonnet is also painted into the canvas's entities."""
        image, weather = canvas.image, self.weather
        if weather.wet > 0:
            _mirror(canvas, first_ground_row, weather.wet)
        _add_glows(canvas)
        if weather.kind == 'rain':
            _streaks(image, rng, canvas.projector.camera.scale)
        if self.bonnet is not None:
            cv2.fillPoly(image, [self.bonnet], self.bonnet_color.tolist())
            cv2.polylines(image, [self.bonnet], False, (self.bonnet_color * 0.5).tolist(), 2)
            cv2.fillPoly(canvas.entity, [self.bonnet], HIDDEN)
        if self.blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        image = cv2.multiply(cv2.LUT(image, self.table), self.vignette, scale=1 / 255)
        dv, du = rng.integers(0, 64, 2)
        h, w = image.shape[:2]
        return cv2.add(image, self.grain[dv : dv + h, du : du + w], dtype=cv2.CV_8U)


def _bonnet(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Outline (N, 2) of the own bonnet or dashboard along the bottom edge."""
    rise = rng.uniform(0.04, 0.14) * height
    x = np.linspace(-0.05, 1.05, 24)
    bulge = 1 - np.abs((x - 0.5) * 2) ** rng.uniform(2, 5)
    tilt = rng.uniform(-0.15, 0.15) * (x - 0.5)
    top = height - rise * np.clip(0.25 + 0.75 * bulge + tilt, 0.05, 1.3)
    line = np.stack([x * width, top], 1)
    corners = np.array([[1.05 * width, height + 5], [-0.05 * width, height + 5]])
    return np.rint(np.concatenate([line, corners])).astype(np.int32)


def _mirror(canvas: Canvas, first: int, wet: float) -> None:
    """A wet road shows a smeared image of what is above it."""
    image = canvas.image
    if not 20 < first < canvas.height - 20:
        return
    ground, ids = image[first:], canvas.entity[first:]
    above = cv2.flip(image[max(0, first - len(ground)) : first], 0)
    shape = (canvas.width // 2, len(ground) // 4)
    small = cv2.resize(above, shape, interpolation=cv2.INTER_AREA)
    smeared = cv2.resize(cv2.blur(small, (3, 15)), ground.shape[1::-1])
    road = ((ids == DIRECT) | (ids == ALTERNATIVE)).astype(np.uint8) * 255
    mixed = cv2.addWeighted(ground, 1 - 0.42 * wet, smeared, 0.42 * wet, 0)
    cv2.copyTo(mixed, road, ground)


def _add_glows(canvas: Canvas) -> None:
    if not canvas.glows:
        return
    h, w = canvas.height // _GLOW_STEP, canvas.width // _GLOW_STEP
    layer = np.zeros((h, w, 3), np.uint8)
    for glow in sorted(canvas.glows, key=lambda g: -g.radius):
        if canvas.shows(glow.u, glow.v, glow.entity):
            at = (round(glow.u / _GLOW_STEP), round(glow.v / _GLOW_STEP))
            cv2.circle(layer, at, max(1, round(glow.radius / _GLOW_STEP)), glow.color, -1)
    soft = cv2.GaussianBlur(layer, (0, 0), 1.6)
    wide = cv2.GaussianBlur(layer, (0, 0), 5.0)
    layer = cv2.addWeighted(soft, 0.55, wide, 0.6, 0)
    layer = cv2.resize(layer, (canvas.width, canvas.height))
    cv2.add(canvas.image, layer, dst=canvas.image)


def _streaks(image: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    h, w = image.shape[:2]
    start = rng.uniform([-10, -20], [w, h], (int(90 * scale), 2))
    length = rng.uniform(6, 20, len(start)) * scale
    for (u, v), drop in zip(start, length, strict=True):
        a, b = (int(u), int(v)), (int(u + 0.15 * drop), int(v + drop))
        color = image[min(max(a[1], 0), h - 1), min(max(a[0], 0), w - 1)].astype(int) + 22
        cv2.line(image, a, b, color.clip(0, 255).tolist(), 1, cv2.LINE_AA)
