# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Colours that are seen on a street: BDD100K's of vehicles are nearly black."""

from __future__ import annotations

from unidrive_perception.labels import Color

_BRIGHT_ENOUGH = 75
_BRIGHT = {
    (0, 0, 142): (64, 156, 255),  # car
    (0, 0, 70): (120, 220, 255),  # truck
    (0, 60, 100): (64, 224, 160),  # bus
    (0, 80, 100): (160, 235, 110),  # train
    (0, 0, 230): (170, 130, 255),  # motorcycle
    (119, 11, 32): (255, 110, 190),  # bicycle
    (220, 20, 60): (255, 70, 95),  # pedestrian
}
"""What stands for the dark colours of BDD100K, each unlike the others."""


def line_color(color: Color) -> Color:
    """The colour in which boxes of a class are drawn; its own where that is bright enough."""
    if color in _BRIGHT:
        return _BRIGHT[color]
    lack = _BRIGHT_ENOUGH - brightness(color)
    if lack <= 0:
        return color
    white = lack / (255 - brightness(color))
    return tuple(round(c + white * (255 - c)) for c in color)


def brightness(color: Color) -> float:
    """Luma of BT.601, 0..255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
