# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the class ids mean: the BDD100K tables of the three tasks, and the type of any other.

Ids, names and colours are those of the BDD100K toolkit (``bdd100k/label/label.py``): detection
ids are the official ids 1..10 minus one, semantic ids are the Cityscapes train ids, drivable ids
are 0 direct, 1 alternative, 2 background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNKNOWN = 255
"""Mask value of a pixel without a class (BDD100K's ignore value)."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassInfo:
    """One class: its id within the task, its name and the RGB colour (0..255) it is drawn in."""

    id: int
    name: str
    color: Color


@dataclass(frozen=True)
class LabelTable:
    """The classes of one task; ``classes[i].id == i``."""

    task: str
    classes: tuple[ClassInfo, ...]

    def __post_init__(self) -> None:
        ids = [info.id for info in self.classes]
        if ids != list(range(len(ids))):
            raise ValueError(
                f'{self.task} classes: ids must be 0..{len(ids) - 1} in order, got {ids}'
            )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        """Class names in id order."""
        return [info.name for info in self.classes]

    def palette(self) -> np.ndarray:
        """(256, 3) uint8 RGB lookup table: colour of each mask value, black where undefined."""
        table = np.zeros((256, 3), np.uint8)
        for info in self.classes:
            table[info.id] = info.color
        return table


def _table(task: str, rows: list[tuple[str, Color]]) -> LabelTable:
    return LabelTable(
        task, tuple(ClassInfo(i, name, color) for i, (name, color) in enumerate(rows))
    )


DETECTION = _table(
    'detection',
    [
        ('pedestrian', (220, 20, 60)),
        ('rider', (255, 0, 0)),
        ('car', (0, 0, 142)),
        ('truck', (0, 0, 70)),
        ('bus', (0, 60, 100)),
        ('train', (0, 80, 100)),
        ('motorcycle', (0, 0, 230)),
        ('bicycle', (119, 11, 32)),
        ('traffic light', (250, 170, 30)),
        ('traffic sign', (220, 220, 0)),
    ],
)

SEMANTIC = _table(
    'semantic',
    [
        ('road', (128, 64, 128)),
        ('sidewalk', (244, 35, 232)),
        ('building', (70, 70, 70)),
        ('wall', (102, 102, 156)),
        ('fence', (190, 153, 153)),
        ('pole', (153, 153, 153)),
        ('traffic light', (250, 170, 30)),
        ('traffic sign', (220, 220, 0)),
        ('vegetation', (107, 142, 35)),
        ('terrain', (152, 251, 152)),
        ('sky', (70, 130, 180)),
        ('person', (220, 20, 60)),
        ('rider', (255, 0, 0)),
        ('car', (0, 0, 142)),
        ('truck', (0, 0, 70)),
        ('bus', (0, 60, 100)),
        ('train', (0, 80, 100)),
        ('motorcycle', (0, 0, 230)),
        ('bicycle', (119, 11, 32)),
    ],
)

DRIVABLE = _table(
    'drivable',
    [
        ('direct', (219, 94, 86)),
        ('alternative', (86, 211, 219)),
        ('background', (0, 0, 0)),
    ],
)

BDD100K_LABELS = {table.task: table for table in (DETECTION, SEMANTIC, DRIVABLE)}
