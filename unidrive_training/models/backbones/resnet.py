# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""ResNet backbones (He et al., 2016) of any width; torchvision's blocks and parameter names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed


@BACKBONES.register('resnet18')
class ResNet18(Backbone):
    """ResNet-18 without its classifier: C2..C5 at strides 4, 8, 16, 32.

    ``width`` is the channels of C2 (64 is the standard net); C3..C5 have 2, 4 and 8 times as many.
    """

    class Config(Typed):
        """Options of the backbone."""

        width: int = 64

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.out_channels = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self._initialise()

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        for module in self.modules():
            if isinstance(module, BasicBlock):  # each residual branch starts as zero
                nn.init.zeros_(module.bn2.weight)


class Shortcut(nn.Conv2d):
    """1×1 convolution that keeps every ``stride``-th pixel.

    Trained as what it is: a choice of pixels, then a convolution of stride 1. In PyTorch 2.11 on a
    CPU with AMX, the weight gradient of ``nn.Conv2d(8, 16, 1, stride=2)`` for a channels-last
    float32 input (3, 8, 16, 24) writes outside its buffer in two threads: the process is killed
    after some tens of repeats.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__(in_channels, channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉)."""
        if not self.training:
            return super().forward(x)
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight)


def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or in_channels != channels:
        shortcut = nn.Sequential(Shortcut(in_channels, channels, stride), nn.BatchNorm2d(channels))
    return nn.Sequential(
        BasicBlock(in_channels, channels, stride, shortcut), BasicBlock(channels, channels)
    )
