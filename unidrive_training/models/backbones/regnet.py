# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""RegNet backbones (Radosavovic et al., 2020): torchvision's, with its parameter names."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.regnet import BlockParams, RegNet

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.backbones.resnet import Shortcut
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed


@BACKBONES.register('regnet_x_32gf')
class RegNetX32GF(Backbone):
    """RegNetX-32GF without its classifier: C2..C5, a prompt place after each.

    ``depths`` and ``widths`` (channels) are of the four stages, ``group_width`` the channels of a
    group in the 3×3 convolutions; the defaults are RegNetX-32GF.
    """

    class Config(Typed):
        """Options of the backbone."""

        depths: tuple[int, int, int, int] = (2, 7, 13, 1)
        widths: tuple[int, int, int, int] = (336, 672, 1344, 2520)
        group_width: int = 168

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.out_channels = list(config.widths)
        self.prompt_channels = self.out_channels
        self.feature_channels = self.out_channels[-1]
        stages = BlockParams(
            depths=list(config.depths),
            widths=list(config.widths),
            group_widths=[config.group_width] * 4,
            bottleneck_multipliers=[1.0] * 4,
            strides=[2] * 4,
        )
        net = RegNet(stages, num_classes=1)
        self.stem, self.trunk_output = net.stem, net.trunk_output
        for stage in self.trunk_output:
            projection = stage[0].proj
            shortcut = Shortcut(projection[0].in_channels, projection[0].out_channels, stride=2)
            shortcut.weight = projection[0].weight
            projection[0] = shortcut

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        x = self.stem(images)
        outputs = []
        for place, stage in enumerate(self.trunk_output):
            x = self.prompted(place, stage(x))
            outputs.append(x)
        return outputs

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last 1×1 convolutions with their batch norms, in the order in which timm defines
        them: those of the last block, then its shortcut.
        """
        block = self.trunk_output[-1][-1]
        layers = [block.f.a, block.f.c] + ([] if block.proj is None else [block.proj])
        return layers[-count:]
