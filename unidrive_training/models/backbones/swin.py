# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Swin Transformer backbones (Liu et al., 2021): torchvision's, with its parameter names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed


@BACKBONES.register('swin_s')
class SwinS(Backbone):
    """Swin-S without its classifier: C2..C5, a prompt place after each stage.

    Each output is normalised over its channels, as in the official detection and segmentation
    code, and without scale and offset: the convolution that follows holds those, and so every
    parameter here is one of the classification checkpoint. The next stage, and its prompt, take
    the map as it was before.

    ``channels`` are those of C2 (doubled at each stage), ``heads`` those of the attention in the
    four stages, ``stochastic_depth`` the share of dropped blocks at the end of the net.
    """

    class Config(Typed):
        """Options of the backbone."""

        channels: int = 96
        depths: tuple[int, int, int, int] = (2, 2, 18, 2)
        heads: tuple[int, int, int, int] = (3, 6, 12, 24)
        window: int = 7
        stochastic_depth: float = 0.3

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.out_channels = [config.channels * 2**i for i in range(4)]
        if any(c % h for c, h in zip(self.out_channels, config.heads, strict=True)):
            raise ValueError(f'heads {config.heads} must divide the channels {self.out_channels}')
        self.prompt_channels = self.out_channels
        self.feature_channels = self.out_channels[-1]
        self.features = SwinTransformer(
            patch_size=[4, 4],
            embed_dim=config.channels,
            depths=list(config.depths),
            num_heads=list(config.heads),
            window_size=[config.window] * 2,
            stochastic_depth_prob=config.stochastic_depth,
            num_classes=1,
        ).features
        self.norm: nn.LayerNorm | None = None

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        outputs = [F.layer_norm(x, x.shape[3:]) for x in self.stages(images)]
        return [x.permute(0, 3, 1, 2) for x in outputs]

    def stages(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → the output (B, h, w, C) of each stage."""
        x = images
        outputs = []
        # features: embedding, stage, merging, stage, merging, stage, merging, stage
        for place in range(4):
            x = self.features[2 * place + 1](self.features[2 * place](x))
            x = self.prompted(place, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            outputs.append(x)
        return outputs

    def add_pooling(self) -> None:
        """Add the final norm of the classifier."""
        self.norm = self.norm or nn.LayerNorm(self.feature_channels)

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images → (B, feature_channels): final norm, then the mean."""
        return self.norm(self.stages(images)[-1]).mean((1, 2))

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last linear layers of the last MLP, and the final norm if there is one."""
        mlp = self.features[-1][-1].mlp
        linear = [layer for layer in mlp if isinstance(layer, nn.Linear)]
        return linear[-count:] + ([] if self.norm is None else [self.norm])


@BACKBONES.register('swin_b')
class SwinB(SwinS):
    """Swin-B without its classifier; see :class:`SwinS`."""

    class Config(SwinS.Config):
        """Options of the backbone."""

        channels: int = 128
        heads: tuple[int, int, int, int] = (4, 8, 16, 32)
        stochastic_depth: float = 0.5
