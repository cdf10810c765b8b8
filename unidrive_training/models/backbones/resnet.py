# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""ResNet backbones (He et al., 2016) of any width; torchvision's blocks and parameter names."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed


class ResNet(Backbone):
    """ResNet without its classifier: C2..C5 at strides 4, 8, 16, 32; a prompt place after each.

    The stem has ``width`` channels (64 is the standard net); the blocks of C2..C5 have 1, 2, 4 and
    8 times as many, and bottleneck blocks give four times those.
    """

    class Config(Typed):
        """Options of the backbone."""

        width: int = 64

    block: ClassVar[type[BasicBlock] | type[Bottleneck]]
    depths: ClassVar[tuple[int, int, int, int]]

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        widths = [width * 2**i for i in range(4)]
        self.out_channels = [w * self.block.expansion for w in widths]
        self.prompt_channels = self.out_channels
        self.feature_channels = self.out_channels[-1]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = [width, *self.out_channels]
        self.layer1 = _stage(self.block, inputs[0], widths[0], self.depths[0], stride=1)
        self.layer2 = _stage(self.block, inputs[1], widths[1], self.depths[1], stride=2)
        self.layer3 = _stage(self.block, inputs[2], widths[2], self.depths[2], stride=2)
        self.layer4 = _stage(self.block, inputs[3], widths[3], self.depths[3], stride=2)
        self._initialise()

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        outputs = []
        for place, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = self.prompted(place, stage(x))
            outputs.append(x)
        return outputs

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last residual blocks."""
        return list(self.layer4)[-count:]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        for module in self.modules():  # each residual branch starts as zero
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)


@BACKBONES.register('resnet18')
class ResNet18(ResNet):
    """ResNet-18."""

    block = BasicBlock
    depths = (2, 2, 2, 2)


@BACKBONES.register('resnet50')
class ResNet50(ResNet):
    """ResNet-50, with the stride in the 3×3 convolution as torchvision and detectron2 have it."""

    block = Bottleneck
    depths = (3, 4, 6, 3)


@BACKBONES.register('resnet101')
class ResNet101(ResNet):
    """ResNet-101."""

    block = Bottleneck
    depths = (3, 4, 23, 3)


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


def _stage(block: type, in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    channels = width * block.expansion
    shortcut = None
    if stride != 1 or in_channels != channels:
        shortcut = nn.Sequential(Shortcut(in_channels, channels, stride), nn.BatchNorm2d(channels))
    first = block(in_channels, width, stride, shortcut)
    return nn.Sequential(first, *(block(channels, width) for _ in range(depth - 1)))
