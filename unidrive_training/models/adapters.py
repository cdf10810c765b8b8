# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The adapter designs that the LV-Adapter paper compares with plain FPN tuning (appendix D.3).

Two convolutional layers per level, before or after the FPN. The paper leaves their shape open; as
in CLIP-Adapter (Gao et al., 2021), which it names as its model, they are a bottleneck: 1×1 to a
quarter of the channels, ReLU, 1×1 back.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from unidrive_training.models.registry import ADAPTERS
from unidrive_training.typed import Typed

_INITIAL_SCALE = 0.001


class ConvAdapter(nn.Module):
    """Per level two convolutions; output in place of the input, or added to it with a scale."""

    before_fpn = True

    class Config(Typed):
        """Options of the adapters. ``reduction``: of the channels between the convolutions."""

        reduction: PositiveInt = 4
        kernel: Literal[1, 3, 5] = 1

    def __init__(self, config: Config, channels: list[int]) -> None:
        super().__init__()
        padding = config.kernel // 2
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c, max(1, c // config.reduction), config.kernel, padding=padding),
                nn.ReLU(inplace=True),
                nn.Conv2d(max(1, c // config.reduction), c, config.kernel, padding=padding),
            )
            for c in channels
        )
        shapes = [self._scale_shape(c) for c in channels]
        self.scales: nn.ParameterList | None = None
        if shapes[0] is not None:
            self.scales = nn.ParameterList(torch.full(shape, _INITIAL_SCALE) for shape in shapes)

    @staticmethod
    def _scale_shape(channels: int) -> tuple[int, ...] | None:
        return None

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """One (B, C, h, w) map per level → maps of the same shapes."""
        adapted = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        if self.scales is None:
            return adapted
        parts = zip(features, self.scales, adapted, strict=True)
        return [x + scale * y for x, scale, y in parts]


@ADAPTERS.register('pre')
class PreAdapter(ConvAdapter):
    """Two convolutions before the FPN, on C2..C5."""


@ADAPTERS.register('post')
class PostAdapter(ConvAdapter):
    """Two convolutions after the FPN, on P2..P5."""

    before_fpn = False


@ADAPTERS.register('pre_scalar')
class ScalarPreAdapter(ConvAdapter):
    """Before the FPN, added to its input times one learned number per level (0.001 at first)."""

    @staticmethod
    def _scale_shape(channels: int) -> tuple[int, ...]:
        return ()


@ADAPTERS.register('pre_vector')
class VectorPreAdapter(ConvAdapter):
    """Before the FPN, added to its input times one learned number per channel (0.001 at first)."""

    @staticmethod
    def _scale_shape(channels: int) -> tuple[int, ...]:
        return channels, 1, 1
