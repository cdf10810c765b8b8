# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Set loss of MaskFormer (Cheng et al., 2021): matching of queries to masks; CE + focal + dice.

Ignored pixels (255) count nowhere: not in the matching cost, not in the mask losses. The official
code counts them as negatives of every mask, which would punish every query on an image with sparse
pseudo-labels; ``ignored='negative'`` does as it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vecdot

from unidrive_perception.labels import UNKNOWN
from unidrive_training.models.assignment import assign
from unidrive_training.typed import Typed

_ALPHA, _GAMMA = 0.25, 2.0
_CACHED = 2**18  # elements of a tensor that stays in the cache of a processor


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
Match = tuple[Tensor, Tensor, Tensor]  # of an image's pairs: decoder layer, query, target


@dataclass
class MaskTarget:
    """The classes of one label map: (T,) int64 ids; their (T, H, W) masks and the (H, W) valid
    pixels, bool, at the size of the losses, and both at the size of the matching, (h, w).
    """

    class_ids: Tensor
    masks: Tensor
    valid: Tensor
    small_masks: Tensor
    small_valid: Tensor


def mask_target(
    label: Tensor,
    size: tuple[int, int],
    small_size: tuple[int, int],
    ignored: Ignored = 'excluded',
) -> MaskTarget:
    """Split a (H, W) label map, sampled at both sizes, into one binary mask per class present.

    Samples lie in the middle of their cell, where the prediction of that cell lies too (the
    official code, and ``ignored='negative'``, takes its first pixel).
    """
    large, small = (_sampled(label, s, middle=ignored == 'excluded') for s in (size, small_size))
    class_ids = large.unique()
    class_ids = class_ids[class_ids != UNKNOWN].long()
    masks, valid = [], []
    for sampled in (large, small):
        masks.append(sampled[None] == class_ids[:, None, None])
        every = torch.ones_like(sampled, dtype=torch.bool)
        valid.append(sampled != UNKNOWN if ignored == 'excluded' else every)
    return MaskTarget(class_ids, masks[0], valid[0], masks[1], valid[1])


def _sampled(label: Tensor, size: tuple[int, int], middle: bool) -> Tensor:
    steps = [large // small for large, small in zip(label.shape, size, strict=True)]
    return sampled(label, steps[0], steps[1], middle)


def sampled(label: Tensor, down: int, right: int, middle: bool) -> Tensor:
    """Every n-th row and column of a label map, the first or the middle ones of their cells."""
    rows, columns = (slice(step // 2 if middle else 0, None, step) for step in (down, right))
    return label[rows, columns]


@torch.no_grad()
def match_layers(
    class_logits: Tensor,
    masks: Iterable[Tensor],
    targets: list[MaskTarget],
    weights: MaskLossWeights,
    matching: Literal['bipartite', 'fixed'] = 'bipartite',
) -> list[Match]:
    """Pairs of queries and targets in every decoder layer, for each image.

    class_logits (L, B, Q, K + 1), the last class is no-object; masks: L times logits (B, Q, h, w).
    ``matching='fixed'``: query k stands for class k (the paper's ablation), whatever the masks.
    """
    pairs: list[list[tuple[Tensor, Tensor]]] = []  # per layer and image
    if matching == 'fixed':
        fixed = [(t.class_ids, torch.arange(len(t.class_ids))) for t in targets]
        pairs = [fixed] * len(class_logits)
    else:
        for logits, layer in zip(class_logits, masks, strict=True):
            images = zip(logits, layer, targets, strict=True)
            pairs.append([match(*image, weights) for image in images])
    device = class_logits.device
    result = []
    for of_layers in zip(*pairs, strict=True):
        layers = [torch.full((len(q),), layer) for layer, (q, _) in enumerate(of_layers)]
        queries, indices = zip(*of_layers, strict=True)
        result.append(tuple(torch.cat(x).to(device) for x in (layers, queries, indices)))
    return result


@torch.no_grad()
def match(
    class_logits: Tensor, mask_logits: Tensor, target: MaskTarget, weights: MaskLossWeights
) -> tuple[Tensor, Tensor]:
    """Cheapest one-to-one assignment for one image: (query indices, target indices).

    class_logits (Q, K + 1), mask_logits (Q, h, w); both results have min(Q, T) entries.
    """
    label_cost = -class_logits.float().softmax(-1)[:, target.class_ids]
    with torch.autocast(mask_logits.device.type, enabled=False):
        focal, dice = pairwise_costs(
            mask_logits.float().flatten(1),
            target.small_masks.flatten(1),
            target.small_valid.flatten(),
        )
    cost = weights.label * label_cost + weights.mask * focal + weights.dice * dice
    return tuple(torch.as_tensor(x) for x in assign(cost))


def pairwise_costs(x: Tensor, t: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Focal and dice cost of each of (Q, N) mask logits for each of (T, N) masks, both (Q, T), at
    the valid ones of N pixels; ``t`` and ``valid`` are bool.
    """
    t, valid = (t & valid).to(x.dtype), valid.to(x.dtype)
    area, number = t.sum(1), valid.sum().clamp(min=1)
    focal, dice = [], []
    for logits in x.split(_rows_at_once(x)):
        p = logits.sigmoid()
        dice.append(1 - (2 * p @ t.T + 1) / ((p @ valid)[:, None] + area + 1))
        cross_entropy = F.softplus(logits)  # of a negative, -log(1 - p); -log p is x less
        negative = (1 - _ALPHA) * p**_GAMMA
        negative *= cross_entropy
        positive = p.neg_().add_(1).pow_(_GAMMA).mul_(_ALPHA).mul_(cross_entropy.sub_(logits))
        # positive·t + negative·(valid - t)
        focal.append(positive.sub_(negative) @ t.T + (negative @ valid)[:, None])
    return torch.cat(focal) / number, torch.cat(dice)


def _rows_at_once(x: Tensor) -> int:
    """In what portions to go over the first axis: on a processor, such as stay in its cache."""
    columns = max(1, math.prod(x.shape[1:]))
    return max(1, _CACHED // columns if x.device.type == 'cpu' else len(x))


def mask_set_losses(
    class_logits: Tensor,
    matched: list[Tensor],
    targets: list[MaskTarget],
    matches: list[Match],
    weights: MaskLossWeights,
    count: float,
    label_weight: float | None = None,
) -> dict[str, Tensor]:
    """Deeply supervised set loss, summed over the decoder layers.

    class_logits (L, B, Q, K + 1); ``matched``: for each image the mask logits (M, h, w) of its
    pairs in ``matches``. Mask losses, at the size of the targets, are divided by ``count`` (of
    truth masks), the label loss by ``label_weight``, the sum of the queries' class weights (of
    these images, unless given). Returns ``label``, ``mask`` and ``dice``, already weighted.
    """
    focal = dice = 0.0
    with torch.autocast(class_logits.device.type, enabled=False):
        label = _label_loss(class_logits.float(), targets, matches, weights, label_weight)
        for x, target, (_, _, indices) in zip(matched, targets, matches, strict=True):
            losses = FocalAndDice.apply(x.float(), indices, target.masks, target.valid)
            focal, dice = focal + losses[0].sum(), dice + losses[1].sum()
    return {
        'label': weights.label * label,
        'mask': weights.mask * focal / count,
        'dice': weights.dice * dice / count,
    }


def pixel_loss(
    masks: Tensor, targets: list[MaskTarget], matches: list[Match], count: float | None = None
) -> Tensor:
    """Cross-entropy of a softmax over the queries at every pixel that has a matched class, summed
    over the layers and divided by ``count`` (of those pixels); masks (L, B, Q, h, w) logits.
    """
    total = masks.new_zeros((), dtype=torch.float32)
    for layer, logits in enumerate(masks):
        wanted = torch.full_like(logits[:, 0], -1, dtype=torch.long)
        for i, (layers, queries, indices) in enumerate(matches):
            now = layers == layer
            if now.any():
                of_queries = targets[i].small_masks[indices[now]]
                owner = queries[now][of_queries.int().argmax(0)]
                wanted[i] = torch.where(of_queries.any(0), owner, -1)
        summed = F.cross_entropy(logits.float(), wanted, ignore_index=-1, reduction='sum')
        total = total + summed / (count or (wanted >= 0).sum().clamp(min=1))
    return total


def _label_loss(
    class_logits: Tensor,
    targets: list[MaskTarget],
    matches: list[Match],
    weights: MaskLossWeights,
    total_weight: float | None,
) -> Tensor:
    """Weighted mean over the queries, summed over the layers."""
    no_object = class_logits.shape[-1] - 1
    wanted = torch.full(class_logits.shape[:3], no_object, device=class_logits.device)
    for i, (layers, queries, indices) in enumerate(matches):
        wanted[layers, i, queries] = targets[i].class_ids[indices]
    class_weights = torch.ones(no_object + 1, device=class_logits.device)
    class_weights[no_object] = weights.no_object
    of_layers = zip(class_logits.flatten(1, 2), wanted.flatten(1), strict=True)
    if total_weight is None:
        return sum(F.cross_entropy(x, t, class_weights) for x, t in of_layers)
    summed = (F.cross_entropy(x, t, class_weights, reduction='sum') for x, t in of_layers)
    return sum(summed) / total_weight


class FocalAndDice(torch.autograd.Function):
    """Focal loss (mean over the valid pixels) and dice loss of M masks, each (M,).

    Logits ``x`` (M, h, w) are upsampled to the size of the truths ``masks[indices]`` (T, H, W) and
    ``valid`` (H, W), both bool. Gradients are computed on the way, a few masks at a time: autograd
    would keep the full-size masks of every decoder layer, and go over them three times as often.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, indices: Tensor, masks: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both losses."""
        portions = (tensor.split(_rows_at_once(masks)) for tensor in (x, indices))
        parts = [
            _focal_and_dice(logits, masks[chosen], valid)
            for logits, chosen in zip(*portions, strict=True)
        ]
        focal, dice, *gradients = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.save_for_backward(*gradients)
        return focal, dice

    @staticmethod
    def backward(ctx: Any, focal: Tensor, dice: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits."""
        to_focal, to_dice = ctx.saved_tensors
        gradient = focal[:, None, None] * to_focal + dice[:, None, None] * to_dice
        return gradient, None, None, None


def _focal_and_dice(
    logits: Tensor, t: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both losses (M,) of (M, h, w) logits, and the gradient of each."""
    size = t.shape[1:]
    x = logits
    if x.shape[1:] != size:
        x = F.interpolate(x[:, None], size=size, mode='bilinear', align_corners=False)[:, 0]
    x, t, valid = x.flatten(1), t.flatten(1).to(x.dtype), valid.flatten().to(x.dtype)
    t *= valid
    sign = torch.add(1, t, alpha=-2)
    z = x * sign  # the logit of being wrong
    wrong, cross_entropy = z.sigmoid(), F.softplus(z)
    weight = ((1 - _ALPHA) * valid).sub(t, alpha=1 - 2 * _ALPHA).mul_(wrong**_GAMMA)
    number = valid.sum().clamp(min=1)
    focal = vecdot(weight, cross_entropy) / number

    p = torch.addcmul(t, sign, wrong)
    above = 2 * vecdot(p, t)[:, None] + 1
    below = (p @ valid)[:, None] + t.sum(1, keepdim=True) + 1

    right = 1 - wrong
    slope = cross_entropy.mul_(right).mul_(_GAMMA).add_(wrong)
    to_focal = weight.mul_(slope).mul_(sign).div_(number)
    to_dice = (valid * (above / below**2)).addcmul_(t, -2 / below).mul_(wrong).mul_(right)
    gradients = (_downsampled(g.unflatten(1, size), logits.shape[1:]) for g in (to_focal, to_dice))
    return focal, (1 - above / below)[:, 0], *gradients


def _downsampled(gradient: Tensor, size: tuple[int, int]) -> Tensor:
    """Of bilinear upsampling from ``size``: two matrix products, 4x as fast as PyTorch's."""
    if gradient.shape[1:] == size or len(gradient) == 0:
        return gradient.reshape(-1, *size)
    rows, columns = (
        _upsampling(small, large, gradient.dtype, gradient.device)
        for small, large in zip(size, gradient.shape[1:], strict=True)
    )
    return torch.cat([(rows @ mask @ columns.T)[None] for mask in gradient])


@lru_cache(maxsize=16)
def _upsampling(small: int, large: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(small, large) weights of linear upsampling along one axis."""
    unit = torch.eye(small, dtype=dtype, device=device)
    return F.interpolate(unit[None], size=large, mode='linear')[0]
