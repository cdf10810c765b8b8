# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Semantic FPN head (Kirillov et al., 2019, Fig. 3), as in detectron2: convolutions only."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_perception.labels import UNKNOWN
from unidrive_training.models.layers import GroupNorm
from unidrive_training.models.registry import HEADS, SEGMENTATION_TASKS
from unidrive_training.models.targets import at_least_one, padded
from unidrive_training.typed import Typed


@HEADS.register('semantic_fpn')
class SemanticFPNHead(nn.Module):
    """Segmentation on P2..P5: each level is brought to stride 4 by 3×3 convolutions with bilinear
    upsampling between them, the levels are summed and every pixel is classified.

    ``output_stride`` (relative to the input; the official value is 1) is that of the class map.
    """

    tasks = SEGMENTATION_TASKS

    class Config(Typed):
        """Options; the defaults are the official ones."""

        channels: int = 128
        groups: int = 32
        loss_weight: float = 1.0
        output_stride: Literal[1, 2, 4] = 1

    def __init__(self, config: Config, in_channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleDict(
            {f'p{level}': _to_stride_4(level, in_channels, config) for level in (2, 3, 4, 5)}
        )
        self.predictor = nn.Conv2d(config.channels, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(self.predictor.bias)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """P2..P5 → logits (B, K, H/4, W/4)."""
        scales = zip(self.scales.values(), pyramid, strict=True)
        return self.predictor(sum(scale(level) for scale, level in scales))

    @staticmethod
    def divisors(labels: list[Tensor]) -> dict[str, float]:
        """``pixels``: number of the labelled ones."""
        return {'pixels': float(sum((label != UNKNOWN).sum() for label in labels))}

    def losses(
        self,
        pyramid: list[Tensor],
        labels: list[Tensor],
        sizes: Tensor,
        divisors: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted ``label``: cross-entropy at the input's resolution, summed over the labelled
        pixels and divided by ``divisors['pixels']``; ``labels``: a (H, W) id map per image.

        So it is the official mean, over the pixels of all processes; 0 where no pixel is labelled.
        Labels are 255 in the padding, or end where it begins, so that ``sizes`` adds nothing.
        """
        count = (divisors or at_least_one(self.divisors(labels)))['pixels']
        logits = _upsampled(self(pyramid).float(), 1)
        wanted = torch.stack([padded(label, tuple(logits.shape[-2:])) for label in labels]).long()
        total = F.cross_entropy(logits, wanted, ignore_index=UNKNOWN, reduction='sum')
        return {'label': self.config.loss_weight * total / count}

    def predict(self, pyramid: list[Tensor], sizes: Tensor) -> Tensor:
        """Class map (B, H/s, W/s) uint8, s the output stride; in the padding it means nothing."""
        logits = _upsampled(self(pyramid).float(), self.config.output_stride)
        return logits.argmax(1).to(torch.uint8)

    def predict_with_confidence(
        self, pyramid: list[Tensor], sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`predict`, and the probability of the class, (B, H/s, W/s) float32."""
        logits = _upsampled(self(pyramid).float(), self.config.output_stride)
        best, classes = logits.max(1)
        return classes.to(torch.uint8), (best - logits.logsumexp(1)).exp()


def _to_stride_4(level: int, in_channels: int, config: SemanticFPNHead.Config) -> nn.Sequential:
    """P2 has one convolution; a coarser level one, each followed by ×2, per halving since P2."""
    layers: list[nn.Module] = []
    for i in range(max(1, level - 2)):
        channels = in_channels if i == 0 else config.channels
        layers.append(
            nn.Sequential(
                nn.Conv2d(channels, config.channels, 3, padding=1, bias=False),
                GroupNorm(config.groups, config.channels),
                nn.ReLU(inplace=True),
            )
        )
        if level > 2:
            layers.append(nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False))
    return nn.Sequential(*layers)


def _upsampled(logits: Tensor, stride: int) -> Tensor:
    """(B, K, H/4, W/4) → (B, K, H/stride, W/stride), bilinear."""
    if stride == 4:
        return logits
    height, width = (side * 4 // stride for side in logits.shape[-2:])
    return F.interpolate(logits, size=(height, width), mode='bilinear', align_corners=False)
