# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is at infinity: the sky with its clouds, and far hills, woods and roofs on the horizon."""

from __future__ import annotations

import math

import cv2
import numpy as np

from unidrive_training.scenes.camera import Camera, Pose
from unidrive_training.scenes.canvas import BUILDING, SKY, TERRAIN, VEGETATION
from unidrive_training.scenes.textures import shared_noise
from unidrive_training.scenes.weather import Weather

_MARGIN = 16  # rows of slack for the pitch


class Backdrop:
    """A panorama three images wide that turns with the road."""

    def __init__(
        self, rng: np.random.Generator, camera: Camera, weather: Weather, kind: str
    ) -> None:
        """Draw the panorama for a street of ``kind``."""
        self.camera = camera
        self.height = camera.height_px + 2 * _MARGIN
        self.width = camera.width_px * 3
        self.horizon = round(camera.horizon_v) + _MARGIN
        self.image = _clouds(rng, weather, self.height, self.width, self.horizon)
        self.entity = np.full((self.height, self.width), SKY, np.uint16)
        if weather.kind in ('sunny', 'dusk') and weather.cloud < 0.75:
            self._sun(weather)
        layers = {'city': 2, 'suburb': 2, 'rural': 3, 'highway': 2}[kind]
        for layer in range(layers, 0, -1):
            self._ridge(rng, weather, kind, layer)
        self.entity[self.horizon :] = np.where(
            self.entity[self.horizon :] == SKY, TERRAIN, self.entity[self.horizon :]
        )

    def _sun(self, weather: Weather) -> None:
        azimuth = math.atan2(weather.sun[0], weather.sun[2])
        if abs(azimuth) > 1.2:
            return
        u = int(self.width / 2 + math.tan(azimuth) * self.camera.focal)
        v = int(self.horizon - weather.sun[1] * 1.1 * self.camera.focal)
        halo = np.zeros((self.height // 4, self.width // 4), np.float32)
        cv2.circle(halo, (u // 4, v // 4), 8, 1.0, -1)
        halo = 6 * cv2.GaussianBlur(halo, (0, 0), 22) + cv2.GaussianBlur(halo, (0, 0), 3)
        halo = cv2.resize(halo, (self.width, self.height))[..., None]
        color = np.float32([255, 244, 214])
        self.image = np.clip(self.image + halo * color, 0, 255).astype(np.uint8)

    def _ridge(self, rng, weather: Weather, kind: str, layer: int) -> None:
        """A far silhouette; layer 1 is the nearest."""
        u = np.arange(self.width)
        waves = sum(
            a * np.sin(2 * np.pi * n * u / self.width + rng.uniform(0, 6.3))
            for n, a in ((2, 1.0), (5, 0.5), (13, 0.25), (31, 0.12))
        )
        rise = self.camera.focal * (0.012 + 0.014 * layer)
        top = rise * (1 + 0.5 * waves)
        color, entity = np.array([70, 88, 58]), VEGETATION
        if kind in ('city', 'suburb') and layer == 1 and rng.random() < 0.7:
            top, color, entity = (
                _roofs(rng, self.width, rise * 1.3),
                np.array([120, 112, 106]),
                BUILDING,
            )
        elif layer == 3 or (layer == 2 and rng.random() < 0.4):
            color, entity = np.array([104, 116, 84]), TERRAIN
        else:
            top = top + rng.normal(0, 1.2, self.width)
        haze = min(0.92, 0.25 * layer + float(weather.fog(90.0 * layer)))
        light = weather.light(np.array([[0, 0.5, -0.86]]))[0]
        lit = np.clip(color * light, 0, 255) * (1 - haze) + weather.fog_color * haze
        rows = np.arange(self.height)[:, None]
        area = (rows > self.horizon - top[None, :]) & (rows < self.horizon + 6)
        self.image[area] = np.clip(lit, 0, 255)
        self.entity[area] = entity

    def draw(self, image: np.ndarray, entity: np.ndarray, pose: Pose) -> None:
        """Fill the whole picture."""
        h, w = image.shape[:2]
        turn = round(self.camera.focal * (pose.line_slope + pose.yaw)) % self.width
        begin = (self.width // 2 - round(self.camera.centre_u) + turn) % self.width
        top = _MARGIN - pose.pitch_px
        rows = slice(top, top + h)
        first = min(w, self.width - begin)
        image[:, :first] = self.image[rows, begin : begin + first]
        entity[:, :first] = self.entity[rows, begin : begin + first]
        if first < w:
            image[:, first:] = self.image[rows, : w - first]
            entity[:, first:] = self.entity[rows, : w - first]


def _clouds(rng, weather: Weather, height: int, width: int, horizon: int) -> np.ndarray:
    up = np.clip((horizon - np.arange(height)) / max(horizon, 1), 0, 1)[:, None, None] ** 0.7
    sky = weather.sky_low * (1 - up) + weather.sky_top * up
    noise = cv2.resize(np.roll(shared_noise('cloud'), int(rng.integers(512)), 1), (width, height))
    cover = np.clip(noise * 0.55 + 1.6 * weather.cloud - 0.75, 0, 1)[..., None]
    light = weather.ambient.mean() + 0.6 * weather.sun_color.mean()
    cloud = np.minimum(np.array([238, 240, 244]) * min(1.05, light * 1.05), 255)
    shaded = cloud * (0.86 + 0.08 * noise[..., None])
    blend = cover * 0.85 * np.minimum(up * 2.2 + 0.25, 1)
    if weather.cloud > 0.95:  # closed and even
        return np.clip(sky * (1 + 0.03 * noise[..., None]), 0, 255).astype(np.uint8)
    return np.clip(sky * (1 - blend) + shaded * blend, 0, 255).astype(np.uint8)


def _roofs(rng, width: int, rise: float) -> np.ndarray:
    top, u = np.zeros(width), 0
    while u < width:
        span = int(rng.integers(10, 60))
        top[u : u + span] = rise * rng.uniform(0.3, 2.0)
        u += span
    return top
