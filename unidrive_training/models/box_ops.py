# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Box arithmetic; boxes are (…, 4) xyxy unless a name says otherwise."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_area

# exp() of a larger size change would overflow; the official clamp.
MAX_LOG_SCALE = 8.740336742730447  # log(100000 / 16)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Centre and size → corners."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def apply_deltas(boxes: Tensor, deltas: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Move boxes by (dx, dy, dw, dh): centre += d·size, size ·= exp(d) (Faster R-CNN's coding)."""
    size = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + size / 2
    deltas = deltas / deltas.new_tensor(weights)
    centre = centre + deltas[..., :2] * size
    size = size * deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def paired_giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of row i of a with row i of b: (N,)."""
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    intersection, hull_area = overlap.prod(1), hull.prod(1)
    union = box_area(a) + box_area(b) - intersection
    return intersection / union.clamp(min=1e-9) - (hull_area - union) / hull_area.clamp(min=1e-9)
