# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: masks and boxes drawn over the camera image, and a grid of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import LabelTable
from unidrive_perception.overlay.boxes import draw_captions, draw_frames
from unidrive_perception.overlay.legend import area_rows, draw_legend, draw_status, object_rows
from unidrive_perception.overlay.tint import tint
from unidrive_perception.predictor import Prediction

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
    """A new (H, W, 3) uint8 RGB image: ``rgb`` with what the ``style`` shows of the prediction.

    ``status``: a line for a strip at the bottom edge, its parts divided by ``·``; no strip where
    empty. Unknown mask pixels and classes whose colour is black (drivable background) stay as
    they are.
    """
    layers = {
        task: (getattr(prediction, task), labels[task])
        for task in ('drivable', 'semantic')
        if style.masks in ('both', task)
        and style.opacity
        and getattr(prediction, task) is not None
    }
    if layers:
        picture = tint(rgb, layers.get('semantic'), layers.get('drivable'), style.opacity)
    else:
        picture = np.array(rgb, order='C')
    boxes = style.boxes and len(prediction.boxes) > 0
    if boxes:
        draw_frames(picture, prediction, labels['detection'])
    taken = draw_status(picture, status)
    if style.legend:
        groups = (
            {'objects': object_rows(prediction.class_ids, labels['detection'])} if boxes else {}
        )
        groups |= {task: area_rows(*layer) for task, layer in layers.items()}
        taken += draw_legend(picture, groups)
    if boxes:
        draw_captions(picture, prediction, labels['detection'], taken)
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
