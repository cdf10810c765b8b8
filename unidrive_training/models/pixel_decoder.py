# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer's pixel decoder: an FPN with GroupNorm, to one map of features at stride 4."""

from __future__ import annotations

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

    def forward(self, pyramid: list[Tensor], embeddings: Tensor) -> Tensor:
        """[P2, P3, P4, P5] and L sets of mask embeddings (L, B, Q, mask_channels) → mask logits
        (L, B, Q, H/4, W/4), the products of embeddings and mask features.
        """
        x = self.finest(pyramid)
        layers, _, queries, channels = embeddings.shape
        plain = torch.compiler.is_exporting() or torch.is_autocast_enabled(x.device.type)
        if plain or layers * queries >= channels:
            features = self.mask_features(x)
            logits = embeddings.transpose(0, 1).flatten(1, 2) @ features.flatten(2)
            return logits.unflatten(1, (layers, queries)).unflatten(3, x.shape[2:]).transpose(0, 1)
        # Both are linear: with few queries it is cheaper to multiply the kernels first.
        kernels = torch.einsum('lbqc,cihw->blqihw', embeddings, self.mask_features.weight)
        biases = (embeddings @ self.mask_features.bias).transpose(0, 1).flatten(1)
        logits = [
            F.conv2d(image[None], kernel.flatten(0, 1), bias, padding=1)
            for image, kernel, bias in zip(x, kernels, biases, strict=True)
        ]
        return torch.cat(logits).unflatten(1, (layers, queries)).transpose(0, 1)

    def finest(self, pyramid: list[Tensor]) -> Tensor:
        """[P2, P3, P4, P5] → (B, channels, H/4, W/4)."""
        y = self.output[-1](pyramid[-1])
        for level in range(len(pyramid) - 2, -1, -1):
            lateral = self.lateral[level](pyramid[level])
            y = lateral + F.interpolate(y, size=lateral.shape[-2:], mode='nearest')
            y = self.output[level](y)
        return y
