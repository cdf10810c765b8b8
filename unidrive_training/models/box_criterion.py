# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Set loss of Sparse R-CNN (Sun et al., 2021): Hungarian matching, focal + L1 + GIoU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_area, generalized_box_iou

from unidrive_training.models.assignment import assign
from unidrive_training.models.box_ops import paired_giou
from unidrive_training.models.targets import BoxTarget
from unidrive_training.typed import Typed

_ALPHA, _GAMMA = 0.25, 2.0


class BoxLossWeights(Typed):
    """Weights of the three terms, in the matching cost and in the loss alike."""

    label: float = 2.0
    l1: float = 5.0
    giou: float = 2.0


def box_set_losses(
    stages: list[tuple[Tensor, Tensor]],
    targets: list[BoxTarget],
    scale: Tensor,
    weights: BoxLossWeights,
    count: float,
    pairs: list[tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Loss summed over the stages, each matched on its own, divided by ``count`` (of truths).

    ``stages``: class logits (B, N, K) and boxes (B, N, 4) input pixels; ``scale`` (B, 4): W, H,
    W, H of each image. A class that is not annotated in an image costs nothing there, whatever is
    predicted; nor does an unmatched prediction that lies on an ignored box. ``pairs``, per image
    (proposal indices, truth indices), replaces the matching.
    """
    annotated = torch.stack([target.annotated for target in targets])[:, None]  # (B, 1, K)
    total = {'label': 0.0, 'l1': 0.0, 'giou': 0.0}
    for logits, boxes in stages:
        logits, boxes = logits.float(), boxes.float()
        matches = pairs or [
            match(logits[i], boxes[i], target, scale[i], weights)
            for i, target in enumerate(targets)
        ]
        rows = torch.cat([torch.full_like(p, i) for i, (p, _) in enumerate(matches)])
        proposals = torch.cat([p for p, _ in matches])
        truth = torch.cat([t.boxes[j] for t, (_, j) in zip(targets, matches, strict=True)])
        class_ids = torch.cat([t.class_ids[j] for t, (_, j) in zip(targets, matches, strict=True)])
        wanted = torch.zeros_like(logits)
        wanted[rows, proposals, class_ids] = 1
        matched = boxes[rows, proposals]
        idle = torch.stack([on_ignored(b, t.ignored) for b, t in zip(boxes, targets, strict=True)])
        idle[rows, proposals] = False
        total['label'] += (_focal(logits, wanted) * annotated * ~idle[..., None]).sum()
        total['l1'] += ((matched - truth) / scale[rows]).abs().sum()
        total['giou'] += (1 - paired_giou(matched, truth)).sum()
    return {name: getattr(weights, name) * value / count for name, value in total.items()}


@torch.no_grad()
def match(
    logits: Tensor, boxes: Tensor, target: BoxTarget, scale: Tensor, weights: BoxLossWeights
) -> tuple[Tensor, Tensor]:
    """Cheapest one-to-one assignment: (proposal indices, truth indices), both (min(N, T),)."""
    p = logits.sigmoid()
    positive = _ALPHA * (1 - p) ** _GAMMA * -(p + 1e-8).log()
    negative = (1 - _ALPHA) * p**_GAMMA * -(1 - p + 1e-8).log()
    label_cost = (positive - negative)[:, target.class_ids]
    l1_cost = torch.cdist(boxes / scale, target.boxes / scale, p=1)
    giou_cost = -generalized_box_iou(boxes, target.boxes)
    cost = weights.label * label_cost + weights.l1 * l1_cost + weights.giou * giou_cost
    proposals, indices = assign(cost)
    return (
        torch.as_tensor(proposals, device=logits.device),
        torch.as_tensor(indices, device=logits.device),
    )


@torch.no_grad()
def on_ignored(boxes: Tensor, ignored: Tensor) -> Tensor:
    """(N,) bool: over half of the box lies inside one ignored box (COCO's rule for crowds, but
    for all classes alike)."""
    if len(ignored) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    low = torch.maximum(boxes[:, None, :2], ignored[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], ignored[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)  # (N, M)
    return (overlap > 0.5 * box_area(boxes)[:, None]).any(1)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    p = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction='none')
    p_true = p * wanted + (1 - p) * (1 - wanted)
    alpha = _ALPHA * wanted + (1 - _ALPHA) * (1 - wanted)
    return alpha * (1 - p_true) ** _GAMMA * cross_entropy
