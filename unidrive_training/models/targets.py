# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a batch of partly labelled images asks of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from unidrive_perception.labels import UNKNOWN


@dataclass
class BoxTarget:
    """Boxes of one image: (N, 4) xyxy input pixels, (N,) class ids, (K,) bool annotated.

    ``ignored`` (M, 4): boxes of objects that are neither to be found nor to be left out.
    """

    boxes: Tensor
    class_ids: Tensor
    annotated: Tensor
    ignored: Tensor = field(default_factory=lambda: torch.zeros(0, 4))


@dataclass
class Targets:
    """Labels of a batch of B images, per task only for the images that have them.

    ``detection``: {row in the batch: BoxTarget}; ``semantic`` and ``drivable``: {row: (H, W) uint8
    class ids, 255 ignored}.
    """

    detection: dict[int, BoxTarget]
    semantic: dict[int, Tensor]
    drivable: dict[int, Tensor]

    def to(self, device: torch.device) -> Targets:
        """The same targets on another device."""
        return self._changed(lambda label: label.to(device, non_blocking=True))

    def pin_memory(self) -> Targets:
        """The same targets in memory that a GPU reads by itself."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Targets:
        detection = {
            row: BoxTarget(*(change(getattr(t, part.name)) for part in fields(BoxTarget)))
            for row, t in self.detection.items()
        }
        semantic = {row: change(label) for row, label in self.semantic.items()}
        drivable = {row: change(label) for row, label in self.drivable.items()}
        return Targets(detection, semantic, drivable)

    def of(self, task: str) -> dict[int, object]:
        """Row → label of one task."""
        return getattr(self, task)


def at_least_one(divisors: dict[str, float]) -> dict[str, float]:
    """What losses can be divided by where there may be no truth."""
    return {name: max(1.0, value) for name, value in divisors.items()}


def class_counts(label: Tensor) -> Tensor:
    """(256,) pixels of each value of a uint8 label map, but none of the ignored one."""
    counts = torch.bincount(label.flatten(), minlength=256)
    counts[UNKNOWN] = 0
    return counts


def padded(label: Tensor, size: tuple[int, int]) -> Tensor:
    """A (H, W) label map, extended right and below to ``size`` by pixels to be ignored."""
    rows, columns = (side - have for side, have in zip(size, label.shape, strict=True))
    return F.pad(label, (0, columns, 0, rows), value=UNKNOWN)
