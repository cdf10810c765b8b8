# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Light and weather of a drive: sampled once, used by everything that has a colour."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

KINDS = ('sunny', 'overcast', 'fog', 'rain', 'dusk', 'night')
_SHARES = (0.36, 0.24, 0.07, 0.10, 0.11, 0.12)


@dataclass(frozen=True)
class Weather:
    """Colours are RGB factors or 0..255 values; directions are (right, up, ahead)."""

    kind: str
    sun: np.ndarray  # (3,) unit vector towards the sun
    sun_color: np.ndarray  # (3,) strength of direct light
    ambient: np.ndarray  # (3,) strength of sky light
    sky_top: np.ndarray
    sky_low: np.ndarray
    cloud: float  # 0 clear .. 1 closed
    fog_density: float  # per metre
    wet: float  # 0 dry .. 1 mirror
    lamps: float  # 0 off .. 1 night: headlights, windows, street lamps
    noise: float  # sensor noise, grey levels
    blur: float  # px at 640×360
    gain: np.ndarray  # (3,) white balance times exposure
    gamma: float
    contrast: float

    @property
    def shadow(self) -> float:
        """How much of the light a cast shadow takes, 0..0.75."""
        direct = float(self.sun_color.mean()) * max(float(self.sun[1]), 0.15)
        return 0.85 * direct / (direct + float(self.ambient.mean()) + 1e-6)

    @property
    def fog_color(self) -> np.ndarray:
        """(3,) what far things fade into."""
        return self.sky_low

    def fog(self, z: np.ndarray | float) -> np.ndarray | float:
        """Share of fog colour at ``z`` metres."""
        return 1.0 - np.exp(-self.fog_density * np.maximum(z, 0.0))

    def light(self, normals: np.ndarray) -> np.ndarray:
        """(N, 3) unit normals -> (N, 3) factors of a matt surface's colour."""
        direct = np.maximum(normals @ self.sun, 0.0)[:, None]
        sky = (0.74 + 0.26 * normals[:, 1])[:, None]
        bounce = 0.10 * max(float(self.sun[1]), 0.0) * self.sun_color  # off the sunlit street
        return self.ambient * sky + self.sun_color * direct + bounce

    @functools.cached_property
    def light_on_front(self) -> np.ndarray:
        """(3,) light on what faces the camera."""
        return self.light(np.array([[0.0, 0.3, -0.95]]))[0]

    @functools.cached_property
    def light_on_side(self) -> np.ndarray:
        """(3,) light on the sunny flank of what faces the camera."""
        side = 0.9 if self.sun[0] >= 0 else -0.9
        return np.maximum(self.light(np.array([[side, 0.4, -0.1]]))[0], self.light_on_front)

    def beam(self, x: float, z: float) -> float:
        """Added light of the own headlights and street lamps at a place, 0 by day."""
        if self.lamps < 0.3:
            return 0.0
        cone = math.exp(-((x / (2.5 + 0.25 * z)) ** 2))
        return self.lamps * (0.75 * cone * math.exp(-z / 28.0) + 0.10)

    def tint(self, color: np.ndarray, light: np.ndarray, z: float) -> np.ndarray:
        """(N, 3) colours under (N, 3) light seen through ``z`` metres of air, 0..255."""
        fog = 1.0 - math.exp(-self.fog_density * z)
        return np.minimum(color * light * (1 - fog) + self.fog_color * fog, 255.0)


def sample_weather(rng: np.random.Generator, kind: str | None = None) -> Weather:
    """Draw a weather; ``kind`` of ``KINDS`` fixes its sort."""
    chosen = kind if kind is not None else str(rng.choice(KINDS, p=_SHARES))
    azimuth = rng.uniform(0, 2 * math.pi)
    base = _LIGHTS[chosen](rng)
    elevation = math.radians(base.pop('elevation'))
    sun = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    balance = 1 + rng.normal(0, 0.035, 3)
    return Weather(
        kind=chosen,
        sun=sun,
        gain=balance * rng.uniform(0.86, 1.16),
        gamma=float(rng.uniform(0.85, 1.2)),
        contrast=float(rng.uniform(0.88, 1.15)),
        blur=float(rng.choice([0.0, 0.55, 0.7, 0.9], p=[0.25, 0.4, 0.25, 0.1])),
        **base,
    )


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, float)


def _sunny(rng: np.random.Generator) -> dict:
    warm = rng.uniform(0, 0.12)
    strength = rng.uniform(0.75, 1.05)
    haze = rng.uniform(0, 1)
    return {
        'elevation': rng.uniform(18, 70),
        'sun_color': strength * _rgb(1.0, 0.97 - warm / 2, 0.9 - warm),
        'ambient': rng.uniform(0.4, 0.62) * _rgb(0.95, 0.98, 1.06),
        'sky_top': np.minimum(_rgb(84, 130, 196) * rng.uniform(0.8, 1.15) + 60 * haze, 255),
        'sky_low': np.minimum(_rgb(190, 210, 230) + 35 * haze, 255),
        'cloud': rng.uniform(0.0, 0.6),
        'fog_density': rng.uniform(0.0005, 0.003),
        'wet': 0.0,
        'lamps': 0.0,
        'noise': rng.uniform(1.5, 5),
    }


def _overcast(rng: np.random.Generator) -> dict:
    grey = rng.uniform(175, 250)
    return {
        'elevation': rng.uniform(35, 75),
        'sun_color': rng.uniform(0.05, 0.2) * _rgb(1, 1, 1),
        'ambient': rng.uniform(0.62, 0.95) * _rgb(0.98, 1.0, 1.03),
        'sky_top': grey * rng.uniform(0.8, 0.98) * _rgb(0.96, 0.98, 1.02),
        'sky_low': np.minimum(grey * _rgb(1.0, 1.01, 1.02), 255),
        'cloud': rng.uniform(0.7, 1.0),
        'fog_density': rng.uniform(0.001, 0.005),
        'wet': 0.0 if rng.random() < 0.7 else rng.uniform(0.2, 0.6),
        'lamps': 0.0,
        'noise': rng.uniform(2, 6),
    }


def _fog(rng: np.random.Generator) -> dict:
    look = _overcast(rng)
    grey = rng.uniform(165, 230)
    look.update(
        sky_top=grey * _rgb(0.97, 0.98, 1.0),
        sky_low=grey * _rgb(1.0, 1.0, 1.0),
        cloud=1.0,
        fog_density=rng.uniform(0.010, 0.028),
        lamps=rng.uniform(0, 0.25),
    )
    return look


def _rain(rng: np.random.Generator) -> dict:
    look = _overcast(rng)
    grey = rng.uniform(120, 200)
    look.update(
        ambient=rng.uniform(0.45, 0.75) * _rgb(0.96, 1.0, 1.05),
        sky_top=grey * _rgb(0.9, 0.95, 1.0),
        sky_low=grey * 1.1 * _rgb(0.96, 1.0, 1.03),
        fog_density=rng.uniform(0.005, 0.013),
        wet=rng.uniform(0.5, 1.0),
        lamps=rng.uniform(0.1, 0.35),
        noise=rng.uniform(3, 8),
    )
    return look


def _dusk(rng: np.random.Generator) -> dict:
    glow = rng.uniform(0.6, 1.0)
    return {
        'elevation': rng.uniform(3, 12),
        'sun_color': rng.uniform(0.25, 0.8) * _rgb(1.15, 0.75, 0.42),
        'ambient': rng.uniform(0.26, 0.45) * _rgb(0.95, 0.92, 1.1),
        'sky_top': _rgb(70, 85, 140) * glow,
        'sky_low': _rgb(245, 185, 130) * glow,
        'cloud': rng.uniform(0.1, 0.8),
        'fog_density': rng.uniform(0.001, 0.005),
        'wet': 0.0 if rng.random() < 0.8 else rng.uniform(0.2, 0.7),
        'lamps': rng.uniform(0.3, 0.6),
        'noise': rng.uniform(3, 8),
    }


def _night(rng: np.random.Generator) -> dict:
    return {
        'elevation': 50.0,
        'sun_color': _rgb(0, 0, 0),
        'ambient': rng.uniform(0.18, 0.42) * _rgb(1.1, 0.95, 0.82),
        'sky_top': _rgb(12, 14, 24) * rng.uniform(0.5, 1.8),
        'sky_low': _rgb(48, 42, 42) * rng.uniform(0.5, 1.5),
        'cloud': rng.uniform(0, 0.6),
        'fog_density': rng.uniform(0.001, 0.006),
        'wet': 0.0 if rng.random() < 0.65 else rng.uniform(0.3, 0.9),
        'lamps': 1.0,
        'noise': rng.uniform(3, 8),
    }


_LIGHTS = {
    'sunny': _sunny,
    'overcast': _overcast,
    'fog': _fog,
    'rain': _rain,
    'dusk': _dusk,
    'night': _night,
}
