# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""RoIAlign over the levels of a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align


class PyramidRoIAlign(nn.Module):
    """Pools each box from the level that fits its size (FPN, Eq. 1), on P2..P5.

    ``canonical_size``: square root of the box area, in input pixels, that belongs to P4 (224 for inputs of
    about 800 pixels height; smaller nets see smaller boxes).
    """

    def __init__(self, resolution: int, canonical_size: float, sampling_ratio: int) -> None:
        super().__init__()
        self.resolution, self.sampling_ratio = resolution, sampling_ratio
        self.canonical_size = canonical_size

    def forward(self, pyramid: list[Tensor], boxes: Tensor) -> Tensor:
        """pyramid P2..P5, boxes (B, N, 4) xyxy input pixels → (B·N, C, r, r)."""
        batch, count = boxes.shape[:2]
        flat = boxes.flatten(0, 1)
        index = torch.arange(batch, device=boxes.device, dtype=boxes.dtype)
        rois = torch.cat((index.repeat_interleave(count)[:, None], flat), dim=1)
        levels = self._levels(flat)
        if torch.compiler.is_exporting():
            return self._pool_masked(pyramid, rois, levels)
        channels = pyramid[0].shape[1]
        size = (len(rois), channels, self.resolution, self.resolution)
        pooled = torch.zeros(size, dtype=torch.float32, device=boxes.device)
        for level in range(len(pyramid)):
            chosen = torch.nonzero(levels == level)[:, 0]
            if len(chosen):
                values = self._pool(pyramid, rois[chosen], level)
                pooled = pooled.index_put((chosen,), values)
        return pooled

    def _levels(self, boxes: Tensor) -> Tensor:
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        level = torch.floor(4 + torch.log2(area.clamp(min=0).sqrt() / self.canonical_size + 1e-8))
        return level.clamp(2, 5).long() - 2

    def _pool(self, pyramid: list[Tensor], rois: Tensor, level: int) -> Tensor:
        return roi_align(
            pyramid[level].float(),
            rois,
            self.resolution,
            spatial_scale=1 / 2 ** (level + 2),
            sampling_ratio=self.sampling_ratio,
            aligned=True,
        )

    def _pool_masked(self, pyramid: list[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """Every level pools every box and keeps its own: more work, but a graph without dynamic shapes."""
        pooled = 0
        for level in range(len(pyramid)):
            mine = (levels == level).float()[:, None, None, None]
            pooled = pooled + self._pool(pyramid, rois, level) * mine
        return pooled
