# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Feature pyramid network (Lin et al., 2017), as in detectron2: no norms, no activations."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """C2..C5 → P2..P5, all with ``channels`` channels, strides unchanged (4, 8, 16, 32)."""

    def __init__(self, in_channels: list[int], channels: int = 256) -> None:
        super().__init__()
        self.channels = channels
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.output = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels
        )
        for conv in [*self.lateral, *self.output]:
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[C2, C3, C4, C5] → [P2, P3, P4, P5]."""
        top_down = self.lateral[-1](features[-1])
        pyramid = [self.output[-1](top_down)]
        for level in range(len(features) - 2, -1, -1):
            lateral = self.lateral[level](features[level])
            top_down = lateral + F.interpolate(top_down, size=lateral.shape[-2:], mode='nearest')
            pyramid.insert(0, self.output[level](top_down))
        return pyramid
