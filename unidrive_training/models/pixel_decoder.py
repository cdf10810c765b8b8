# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer's pixel decoder: an FPN with GroupNorm, to one map of features at stride 4."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.models.layers import GroupNorm


class PixelDecoder(nn.Module):
    """Four levels → (B, mask_channels, H/4, W/4). The coarsest has no lateral convolution."""

    def __init__(
        self, in_channels: list[int], channels: int, mask_channels: int, groups: int
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, channels, 1, bias=False), GroupNorm(groups, channels))
            for c in in_channels[:-1]
        )
        inner = [channels] * (len(in_channels) - 1) + [in_channels[-1]]
        self.output = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c, channels, 3, padding=1, bias=False),
                GroupNorm(groups, channels),
                nn.ReLU(inplace=True),
            )
            for c in inner
        )
        self.mask_features = nn.Conv2d(channels, mask_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """[P2, P3, P4, P5] → (B, channels, H/4, W/4), what the mask features are made of."""
        y = self.output[-1](pyramid[-1])
        for level in range(len(pyramid) - 2, -1, -1):
            lateral = self.lateral[level](pyramid[level])
            y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode='nearest')
            y = self.output[level](y)
        return y

    def mask_logits(self, x: Tensor, embeddings: Tensor) -> Tensor:
        """Result of :meth:`forward` and mask embeddings (B, Q, mask_channels) → (B, Q, H/4, W/4),
        the products of embeddings and mask features.
        """
        weight, bias = self.mask_features.weight, self.mask_features.bias
        if torch.compiler.is_exporting() or not 0 < embeddings.shape[1] < len(weight):
            return (embeddings @ self.mask_features(x).flatten(2)).unflatten(2, x.shape[2:])
        # Both are linear: with few queries it is cheaper to multiply the kernels first.
        kernels = torch.einsum('bqf,fcij->bqijc', embeddings, weight).permute(0, 1, 4, 2, 3)
        images = zip(single_images(x), kernels, embeddings @ bias, strict=True)
        logits = [F.conv2d(image, *conv, padding=1) for image, *conv in images]
        return torch.cat(logits).contiguous()

    def constant_masks(self, x: Tensor, embeddings: Tensor) -> Iterator[Tensor]:
        """:meth:`mask_logits` for sets of embeddings (L, B, Q, mask_channels), without gradients,
        one set after the other: all together would be a large piece of memory.
        """
        with torch.no_grad():
            features = self.mask_features(x)
        for embedding in embeddings.detach():
            yield (embedding @ features.flatten(2)).unflatten(2, x.shape[2:])


def single_images(x: Tensor) -> list[Tensor]:
    """(B, …) → B times (1, …); of one image itself, not a view, whose gradient would be copied."""
    return [x] if len(x) == 1 else list(x.split(1))
