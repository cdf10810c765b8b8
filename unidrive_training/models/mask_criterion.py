# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Set loss of MaskFormer (Cheng et al., 2021): matching of queries to masks; CE + focal + dice.

Ignored pixels (255) count nowhere: not in the matching cost, not in the mask losses. The official
code counts them as negatives of every mask, which would punish every query on an image with sparse
pseudo-labels; ``ignored='negative'`` does as it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unidrive_perception.labels import UNKNOWN
from unidrive_training.models.assignment import assign
from unidrive_training.typed import Typed

_ALPHA, _GAMMA = 0.25, 2.0


class MaskLossWeights(Typed):
    """Weights of the terms; the first three count in the matching cost too.

    ``pixel`` is the mask-ID cross-entropy of MaX-DeepLab (Wang et al., 2021): each pixel is to
    prefer its own query to the others. MaskFormer has no such term (0); a short training from
    scratch gains most of its accuracy by it.
    """

    label: float = 1.0
    mask: float = 20.0
    dice: float = 1.0
    pixel: float = 0.0
    no_object: float = 0.1


Ignored = Literal['excluded', 'negative']
Match = tuple[Tensor, Tensor]  # query indices, target indices


@dataclass
class ClassMasks:
    """Classes of a label map: (T,) int64 ids; as floats (T, h, w) masks and (h, w) validity."""

    class_ids: Tensor
    masks: Tensor
    valid: Tensor


def class_masks(
    label: Tensor,
    size: tuple[int, int],
    ignored: Ignored = 'excluded',
    class_ids: Tensor | None = None,
) -> ClassMasks:
    """Split a (H, W) label map, sampled at ``size``, into one binary mask per class.

    ``class_ids``: which; else those present. Samples lie in the middle of their cell, where the
    prediction of that cell lies too (the official code takes its first pixel).
    """
    rows, columns = label.shape[0] // size[0], label.shape[1] // size[1]
    first = (0, 0) if ignored == 'negative' else (rows // 2, columns // 2)
    label = label[first[0] :: rows, first[1] :: columns]
    if class_ids is None:
        class_ids = label.unique()
        class_ids = class_ids[class_ids != UNKNOWN].long()
    masks = (label[None] == class_ids[:, None, None]).float()
    valid = torch.ones_like(label) if ignored == 'negative' else label != UNKNOWN
    return ClassMasks(class_ids, masks, valid.float())


def mask_set_losses(
    layers: list[tuple[Tensor, Tensor]],
    labels: list[Tensor],
    weights: MaskLossWeights,
    loss_size: tuple[int, int],
    count: float,
    matching: Literal['bipartite', 'fixed'] = 'bipartite',
    ignored: Ignored = 'excluded',
) -> dict[str, Tensor]:
    """Deeply supervised set loss, summed over the decoder layers.

    ``layers``: per decoder layer class logits (B, Q, K + 1, last is no-object) and mask logits (B,
    Q, h, w); ``labels``: per image (H, W) ids. Mask losses are taken at ``loss_size``
    and divided by ``count`` (of truth masks), matching at
    (h, w). ``matching='fixed'``: query k stands for class k (the paper's ablation).
    Returns ``label``, ``mask``, ``dice`` and, where it counts, ``pixel``, already weighted.
    """
    fine = [class_masks(label, loss_size, ignored) for label in labels]
    size = tuple(layers[0][1].shape[-2:])
    coarse = [
        class_masks(label, size, ignored, target.class_ids)
        for label, target in zip(labels, fine, strict=True)
    ]
    total = {'label': 0.0, 'mask': 0.0, 'dice': 0.0}
    if weights.pixel:
        total['pixel'] = 0.0
    for class_logits, mask_logits in layers:
        class_logits, mask_logits = class_logits.float(), mask_logits.float()
        matches = [
            _class_queries(target)
            if matching == 'fixed'
            else match(class_logits[i], mask_logits[i], target, weights)
            for i, target in enumerate(coarse)
        ]
        total['label'] += weights.label * _label_loss(class_logits, coarse, matches, weights)
        focal, dice = _mask_losses(mask_logits, fine, matches, loss_size)
        total['mask'] += weights.mask * focal / count
        total['dice'] += weights.dice * dice / count
        if weights.pixel:
            total['pixel'] += weights.pixel * _pixel_loss(mask_logits, coarse, matches)
    return total


def _class_queries(target: ClassMasks) -> Match:
    return target.class_ids, torch.arange(len(target.class_ids), device=target.class_ids.device)


@torch.no_grad()
def match(
    class_logits: Tensor, mask_logits: Tensor, target: ClassMasks, weights: MaskLossWeights
) -> Match:
    """Cheapest one-to-one assignment for one image: (query indices, target indices).

    class_logits (Q, K + 1), mask_logits (Q, h, w); both results have min(Q, T) entries.
    """
    label_cost = -class_logits.softmax(-1)[:, target.class_ids]
    focal, dice = pairwise_costs(
        mask_logits.flatten(1), target.masks.flatten(1), target.valid.flatten()
    )
    cost = weights.label * label_cost + weights.mask * focal + weights.dice * dice
    queries, targets = assign(cost)
    device = class_logits.device
    return torch.as_tensor(queries, device=device), torch.as_tensor(targets, device=device)


def pairwise_costs(x: Tensor, t: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Focal and dice cost of each of (Q, N) mask logits for each of (T, N) masks, both (Q, T), at
    the valid ones of N pixels.
    """
    p = x.sigmoid()
    log = F.softplus(-x)  # -log p; -log(1 - p) is x more
    positive = _ALPHA * (1 - p) ** _GAMMA * log
    negative = (1 - _ALPHA) * p**_GAMMA * (log + x)
    t = t * valid
    # positive·t + negative·(valid - t)
    focal = (positive - negative) @ t.T + (negative @ valid)[:, None]
    dice = 1 - (2 * p @ t.T + 1) / ((p @ valid)[:, None] + t.sum(1) + 1)
    return focal / valid.sum().clamp(min=1), dice


def _pixel_loss(mask_logits: Tensor, targets: list[ClassMasks], matches: list[Match]) -> Tensor:
    """Mean cross-entropy of a softmax over the queries at every pixel that has a matched class."""
    wanted = torch.full_like(mask_logits[:, 0], -1, dtype=torch.long)
    for i, (queries, indices) in enumerate(matches):
        masks = targets[i].masks[indices]
        if len(masks):
            owner = queries[masks.argmax(0)]
            wanted[i] = torch.where(masks.amax(0) > 0, owner, -1)
    summed = F.cross_entropy(mask_logits, wanted, ignore_index=-1, reduction='sum')
    return summed / (wanted >= 0).sum().clamp(min=1)


def _label_loss(
    class_logits: Tensor,
    targets: list[ClassMasks],
    matches: list[Match],
    weights: MaskLossWeights,
) -> Tensor:
    no_object = class_logits.shape[-1] - 1
    wanted = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
    for i, (queries, indices) in enumerate(matches):
        wanted[i, queries] = targets[i].class_ids[indices]
    class_weights = torch.ones(no_object + 1, device=class_logits.device)
    class_weights[no_object] = weights.no_object
    return F.cross_entropy(class_logits.flatten(0, 1), wanted.flatten(), class_weights)


def _mask_losses(
    mask_logits: Tensor,
    targets: list[ClassMasks],
    matches: list[Match],
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Summed focal and dice losses of the matched masks of the whole batch."""
    x = torch.cat([mask_logits[i, queries] for i, (queries, _) in enumerate(matches)])  # (M, h, w)
    if len(x) == 0:
        return x.sum(), x.sum()
    t = torch.cat([targets[i].masks[indices] for i, (_, indices) in enumerate(matches)])
    valid = torch.cat(
        [targets[i].valid[None].expand(len(q), -1, -1) for i, (q, _) in enumerate(matches)]
    )
    if x.shape[-2:] != size:
        x = F.interpolate(x[:, None], size=size, mode='bilinear', align_corners=False)[:, 0]
    focal, dice = FocalAndDice.apply(x.flatten(1), t.flatten(1), valid.flatten(1))
    return focal.sum(), dice.sum()


class FocalAndDice(torch.autograd.Function):
    """Focal loss (mean over the valid pixels) and dice loss of (M, N) logits, each (M,).

    ``t`` and ``valid`` (M, N) are 0 or 1. Gradients are computed on the way: autograd would go
    over the full-size masks of every decoder layer three times as often.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Both losses."""
        sign = 1 - 2 * t
        z = x * sign  # the logit of being wrong
        wrong, cross_entropy = z.sigmoid(), F.softplus(z)
        weight = (_ALPHA * t + (1 - _ALPHA) * (1 - t)) * valid
        weight = weight * wrong**_GAMMA / valid.sum(1, keepdim=True).clamp(min=1)
        focal = (weight * cross_entropy).sum(1)

        p = t + sign * wrong
        valid_t = t * valid
        above = 2 * (p * valid_t).sum(1, keepdim=True) + 1
        below = (p * valid).sum(1, keepdim=True) + valid_t.sum(1, keepdim=True) + 1

        right = 1 - wrong
        to_focal = weight * sign * (wrong + _GAMMA * cross_entropy * right)
        to_dice = (valid * (above / below) - 2 * valid_t) / below * wrong * right
        ctx.save_for_backward(to_focal, to_dice)
        return focal, (1 - above / below)[:, 0]

    @staticmethod
    def backward(ctx: Any, focal: Tensor, dice: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of the logits."""
        to_focal, to_dice = ctx.saved_tensors
        return focal[:, None] * to_focal + dice[:, None] * to_dice, None, None
