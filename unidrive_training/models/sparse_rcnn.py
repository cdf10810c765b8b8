# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Sparse R-CNN head (Sun et al., 2021): learned proposals refined by dynamic heads, no NMS."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeInt
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from unidrive_training.models.box_criterion import BoxLossWeights, box_set_losses
from unidrive_training.models.box_ops import apply_deltas, cxcywh_to_xyxy
from unidrive_training.models.layers import Attention
from unidrive_training.models.registry import DETECTION_TASKS, HEADS
from unidrive_training.models.roi_pool import PyramidRoIAlign, PyramidTable
from unidrive_training.models.targets import BoxTarget, at_least_one
from unidrive_training.typed import Typed

_DELTA_WEIGHTS = (2.0, 2.0, 1.0, 1.0)
_PRIOR = 0.01  # initial foreground probability (focal loss)


@HEADS.register('sparse_rcnn')
class SparseRCNNHead(nn.Module):
    """Detection on P2..P5 with ``proposals`` learned boxes and ``stages`` refinements.

    ``proposal_init``: `image` starts every proposal as the whole image (official); `dataset` as
    the k-means centres of the training boxes (:meth:`fit_proposals`), which saves a short training
    the search. ``denoising``: that many more proposals per image, in training only, start as a
    truth box with noise and are asked for that truth (DN-DETR, Li et al., 2022): many more boxes
    to learn the refinement from than the matching gives (0: the official training).
    """

    tasks = DETECTION_TASKS

    class Config(Typed):
        """Options; the defaults are the official ones."""

        proposals: int = 300
        stages: int = 6
        dynamic_channels: int = 64
        attention_heads: int = 8
        feedforward: int = 2048
        pooler_resolution: int = 7
        canonical_size: float = 224.0
        sampling_ratio: int = 2
        class_layers: int = 1
        box_layers: int = 3
        proposal_init: Literal['image', 'dataset'] = 'image'
        denoising: NonNegativeInt = 0
        loss_weights: BoxLossWeights = BoxLossWeights()

    def __init__(self, config: Config, in_channels: int, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.pooler = PyramidRoIAlign(
            config.pooler_resolution, config.canonical_size, config.sampling_ratio
        )
        self.stages = nn.ModuleList(
            DynamicStage(config, in_channels, classes) for _ in range(config.stages)
        )
        self.proposal_boxes = nn.Embedding(config.proposals, 4)  # cxcywh, fractions of the image
        self.proposal_features = nn.Embedding(config.proposals, in_channels)
        with torch.no_grad():
            self.proposal_boxes.weight[:, :2] = 0.5
            self.proposal_boxes.weight[:, 2:] = 1.0
        if config.denoising:
            self.denoising_feature = nn.Parameter(torch.randn(in_channels))

    @torch.no_grad()
    def fit_proposals(self, boxes: np.ndarray, seed: int) -> None:
        """Start the proposals at the k-means centres of (N, 4) cxcywh parts of the input."""
        if len(boxes) < self.config.proposals:
            return
        centres, _ = kmeans2(
            boxes.astype(np.float64), self.config.proposals, minit='++', seed=seed
        )
        self.proposal_boxes.weight.copy_(torch.from_numpy(centres))

    def forward(self, pyramid: list[Tensor], sizes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """P2..P5 → per stage class logits (B, N, K) and boxes (B, N, 4) xyxy input pixels."""
        boxes = cxcywh_to_xyxy(self.proposal_boxes.weight.float())[None] * whwh(sizes)[:, None]
        features = self.proposal_features.weight[None].expand(boxes.shape[0], -1, -1)
        return self._refine(pyramid, boxes, features)

    def _refine(
        self, pyramid: list[Tensor], boxes: Tensor, features: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        table, outputs = PyramidTable.of(pyramid), []
        for stage in self.stages:
            pooled = self.pooler(table, boxes.detach())
            features, logits, deltas = stage(pooled, features)
            boxes = apply_deltas(boxes, deltas.float(), _DELTA_WEIGHTS)
            outputs.append((logits, boxes))
            boxes = boxes.detach()
        return outputs

    def divisors(self, labels: list[BoxTarget]) -> dict[str, float]:
        """``truths``: number of boxes; ``noisy``: of noisy proposals that have one."""
        asked = self.config.denoising * sum(len(target.boxes) > 0 for target in labels)
        return {'truths': float(sum(len(target.boxes) for target in labels)), 'noisy': asked}

    def losses(
        self,
        pyramid: list[Tensor],
        labels: list[BoxTarget],
        sizes: Tensor,
        divisors: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted ``label``, ``l1`` and ``giou`` losses over all stages, per truth; ``denoising``
        is the sum of these three for the noisy proposals, per noisy proposal. ``divisors`` as
        :meth:`divisors` gives them.
        """
        divisors = divisors or at_least_one(self.divisors(labels))
        stages = self(pyramid, sizes)
        scale, weights = whwh(sizes), self.config.loss_weights
        with torch.autocast(pyramid[0].device.type, enabled=False):
            terms = box_set_losses(stages, labels, scale, weights, divisors['truths'])
        if self.config.denoising:
            terms['denoising'] = self._denoising_loss(pyramid, labels, scale, divisors['noisy'])
        return terms

    def _denoising_loss(
        self, pyramid: list[Tensor], labels: list[BoxTarget], scale: Tensor, count: float
    ) -> Tensor:
        number = self.config.denoising
        proposals = torch.arange(number, device=scale.device)
        # An image without truths takes part, to keep the shapes, and is asked for nothing.
        whole_image = torch.cat((torch.zeros_like(scale[:, :2]), scale[:, :2]), 1)
        noisy, pairs = [], []
        for row, target in enumerate(labels):
            truths = target.boxes if len(target.boxes) else whole_image[row : row + 1]
            order = torch.randperm(len(truths), device=scale.device)
            chosen = order[proposals % len(truths)]
            noisy.append(with_noise(truths[chosen]))
            asked = number if len(target.boxes) else 0
            pairs.append((proposals[:asked], chosen[:asked]))
        features = self.denoising_feature.expand(len(labels), number, -1)
        stages = self._refine(pyramid, torch.stack(noisy), features)
        targets = [
            target if len(target.boxes) else replace(target, annotated=target.annotated & False)
            for target in labels
        ]
        with torch.autocast(pyramid[0].device.type, enabled=False):
            weights = self.config.loss_weights
            terms = box_set_losses(stages, targets, scale, weights, count, pairs)
        return sum(terms.values())

    def predict(self, pyramid: list[Tensor], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """boxes (B, N, 4) xyxy input pixels, scores (B, N) descending, class ids (B, N) int64.

        The best N of all N·K scores, as in the official code; a box may come with several classes.
        """
        logits, boxes = self(pyramid, sizes)[-1]
        count = boxes.shape[1]
        scores, index = logits.float().sigmoid().flatten(1).topk(count, dim=1)
        row = torch.div(index, self.classes, rounding_mode='floor')
        boxes = boxes.gather(1, row[..., None].expand(-1, -1, 4))
        return boxes, scores, index % self.classes


def whwh(sizes: Tensor) -> Tensor:
    """(B, 2) heights and widths → (B, 4) width, height, width, height: the scale of xyxy boxes."""
    return sizes.flip(1).repeat(1, 2)


def with_noise(boxes: Tensor) -> Tensor:
    """(N, 4) xyxy boxes moved by up to half their size and scaled by up to 2 or 1/2 per side."""
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2 + (torch.rand_like(size) - 0.5) * size
    size = size * 2 ** (2 * torch.rand_like(size) - 1)
    return torch.cat((centre - size / 2, centre + size / 2), dim=1)


class DynamicStage(nn.Module):
    """One refinement: proposals attend to each other, filter their RoI, classify and move."""

    def __init__(self, config: SparseRCNNHead.Config, channels: int, classes: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels, config.attention_heads)
        self.dynamic_conv = DynamicConv(
            channels, config.dynamic_channels, config.pooler_resolution**2
        )
        self.linear1 = nn.Linear(channels, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.class_branch = _branch(channels, config.class_layers)
        self.box_branch = _branch(channels, config.box_layers)
        self.class_logits = nn.Linear(channels, classes)
        self.box_deltas = nn.Linear(channels, 4)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.constant_(self.class_logits.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, pooled: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled (B·N, C, r, r), features (B, N, C) → features, logits (B, N, K), deltas."""
        x = self.norm1(features + self.self_attn(features, features, features))
        roi = pooled.flatten(2).transpose(1, 2)  # (B·N, r·r, C)
        x = self.norm2(x + self.dynamic_conv(roi, x.flatten(0, 1)).view_as(x))
        x = self.norm3(x + self.linear2(F.relu(self.linear1(x))))
        return (
            x,
            self.class_logits(self.class_branch(x)),
            self.box_deltas(self.box_branch(x)),
        )


class DynamicConv(nn.Module):
    """Two 1×1 convolutions over the RoI whose weights each proposal generates itself."""

    def __init__(self, channels: int, dynamic_channels: int, positions: int) -> None:
        super().__init__()
        self.shape = (channels, dynamic_channels)
        self.parameters_layer = nn.Linear(channels, 2 * channels * dynamic_channels)
        self.norm1 = nn.LayerNorm(dynamic_channels)
        self.norm2 = nn.LayerNorm(channels)
        self.out_layer = nn.Linear(channels * positions, channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, roi: Tensor, features: Tensor) -> Tensor:
        """roi (M, positions, C), features (M, C) → (M, C)."""
        channels, dynamic = self.shape
        first, second = self.parameters_layer(features).chunk(2, dim=1)
        x = F.relu(self.norm1(torch.bmm(roi.to(first.dtype), first.view(-1, channels, dynamic))))
        x = F.relu(self.norm2(torch.bmm(x.to(second.dtype), second.view(-1, dynamic, channels))))
        return F.relu(self.norm3(self.out_layer(x.flatten(1))))


def _branch(channels: int, layers: int) -> nn.Sequential:
    blocks = [
        (nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU())
        for _ in range(layers)
    ]
    return nn.Sequential(*(module for block in blocks for module in block))
