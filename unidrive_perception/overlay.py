# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: masks and boxes drawn over the camera image, and a grid of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import Color, LabelTable
from unidrive_perception.predictor import Prediction

SEMANTIC_OPACITY = 0.35
DRIVABLE_OPACITY = 0.5
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

MASKS = ('both', 'semantic', 'drivable', 'none')


@dataclass(frozen=True)
class OverlayStyle:
    """What an overlay shows.

    ``masks``: one of :data:`MASKS`; ``opacity``: 0..1, a factor of the built-in opacities of the
    masks; ``legend``: the classes seen in this image with their colours; ``boxes``: the objects.
    """

    masks: str = 'both'
    opacity: float = 1.0
    legend: bool = True
    boxes: bool = True

    def __post_init__(self) -> None:
        if self.masks not in MASKS:
            raise ValueError(f'masks must be one of {", ".join(MASKS)}, not {self.masks!r}')
        if not 0 <= self.opacity <= 1:
            raise ValueError(f'opacity must be from 0 to 1, not {self.opacity}')


def draw_overlay(
    rgb: np.ndarray,
    prediction: Prediction,
    labels: Mapping[str, LabelTable],
    style: OverlayStyle = OverlayStyle(),
    status: str = '',
) -> np.ndarray:
    """A new (H, W, 3) uint8 RGB image: ``rgb`` with tinted masks, boxes, names and scores.

    A score of NaN, as truth has it, is left out. Unknown mask pixels and classes whose colour is
    black (drivable background) stay as they are.
    """
    picture = rgb
    for mask, task, opacity in (
        (prediction.semantic, 'semantic', SEMANTIC_OPACITY),
        (prediction.drivable, 'drivable', DRIVABLE_OPACITY),
    ):
        if mask is not None:
            picture = _tint(picture, mask, labels[task], opacity)
    if picture is rgb:
        picture = np.array(rgb, order='C')
    classes = labels['detection'].classes if 'detection' in labels else ()
    # best last, so that it is on top
    for i in reversed(range(len(prediction.boxes))):
        info = classes[prediction.class_ids[i]]
        score = prediction.scores[i]
        caption = info.name if np.isnan(score) else f'{info.name} {score:.2f}'
        _draw_box(picture, prediction.boxes[i], caption, info.color)
    return picture


def picture_grid(images: Sequence[np.ndarray], columns: int, gap: int = 4) -> np.ndarray:
    """RGB images of any sizes, row by row in cells of the first one's size, on white."""
    if not images or columns < 1:
        raise ValueError(
            f'a grid needs an image and a column, got {len(images)} images, {columns} columns'
        )
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    grid = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = (gap + i // columns * (height + gap), gap + i % columns * (width + gap))
        cell = Letterbox(image.shape[:2], (height, width)).apply_image(image, fill=255)
        grid[y : y + height, x : x + width] = cell
    return grid


def _tint(rgb: np.ndarray, mask: np.ndarray, table: LabelTable, opacity: float) -> np.ndarray:
    """Mix each pixel with its class colour; two table look-ups and one multiply-add in OpenCV."""
    palette = table.palette()
    drawn = palette.any(1, keepdims=True)
    colour = np.round(palette * opacity).astype(np.uint8).reshape(256, 1, 3)
    keep = np.where(drawn, round(255 * (1 - opacity)), 255).astype(np.uint8)
    keep = np.repeat(keep, 3, 1).reshape(256, 1, 3)
    if mask.shape != rgb.shape[:2]:
        mask = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    kept = cv2.multiply(rgb, cv2.applyColorMap(mask, keep), scale=1 / 255)
    return cv2.add(kept, cv2.applyColorMap(mask, colour), dst=kept)


def _draw_box(picture: np.ndarray, box: np.ndarray, caption: str, color: Color) -> None:
    """Class-coloured rectangle with a white rim, and a caption that stays inside the picture."""
    height, width = picture.shape[:2]
    line = max(1, round(min(height, width) / 360))
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _WHITE, line + 2)
    cv2.rectangle(picture, (x0, y0), (x1, y1), color, line)
    scale = max(0.35, min(height, width) / 1400)
    (text_width, text_height), base = cv2.getTextSize(caption, _FONT, scale, 1)
    left = max(0, min(x0, width - text_width - 4))
    top = y0 - text_height - base - 2
    if top < 0:  # no room above the box: write inside it
        top = max(0, min(y0, height - text_height - base - 2))
    corner = (left + text_width + 4, top + text_height + base + 2)
    cv2.rectangle(picture, (left, top), corner, color, cv2.FILLED)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 128
    ink = _BLACK if bright else _WHITE
    cv2.putText(
        picture, caption, (left + 2, top + text_height + 2), _FONT, scale, ink, 1, cv2.LINE_AA
    )
