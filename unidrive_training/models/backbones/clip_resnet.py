# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""CLIP's image encoder RN50 (Radford et al., 2021): open_clip's, with its parameter names."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed


@BACKBONES.register('clip_rn50')
class ClipResNet(Backbone):
    """CLIP's modified ResNet: C2..C5, a prompt place after each, and the attention pool if added.

    The defaults are RN50. ``layers`` are the blocks of the four stages, ``heads`` those of the
    attention pool, ``output_dim`` the channels of CLIP's embedding, and ``image_size`` the square
    images that the positional embedding of the pool is for.
    """

    class Config(Typed):
        """Options of the backbone."""

        layers: tuple[int, int, int, int] = (3, 4, 6, 3)
        width: int = 64
        output_dim: int = 1024
        heads: int = 32
        image_size: int = 224

    mean = (122.7709383, 116.7460125, 104.09373615)  # CLIP's 0.48145466, 0.4578275, 0.40821073
    std = (68.5005327, 66.6321579, 70.32316305)  # 0.26862954, 0.26130258, 0.27577711

    def __init__(self, config: Config) -> None:
        super().__init__()
        # Here, because every command imports this file and open_clip takes a second.
        from open_clip.modified_resnet import ModifiedResNet

        self.out_channels = [config.width * 4 * 2**i for i in range(4)]
        if self.out_channels[-1] % config.heads:
            raise ValueError(f'heads {config.heads} must divide {self.out_channels[-1]} channels')
        self.prompt_channels = self.out_channels
        self.feature_channels = config.output_dim
        self._config = config
        net = ModifiedResNet(
            list(config.layers), config.output_dim, config.heads, config.image_size, config.width
        )
        for name, part in net.named_children():
            if name != 'attnpool':
                self.add_module(name, part)
        self.attnpool: nn.Module | None = None

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        x = self.act1(self.bn1(self.conv1(images)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.avgpool(self.act3(self.bn3(self.conv3(x))))
        outputs = []
        for place, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = self.prompted(place, stage(x))
            outputs.append(x)
        return outputs

    def add_pooling(self) -> None:
        """Add the attention pool."""
        if self.attnpool is None:
            config = self._config
            self.attnpool = AttentionPool(
                config.image_size // 32, self.out_channels[-1], config.heads, config.output_dim
            )

    def attention_pool(self, c5: Tensor) -> Tensor:
        """C5 (B, C, H, W) → tokens (B, 1 + H·W, output_dim), the global one first (Eq. 2 of the
        UniDrive paper, not yet normalised). Needs :meth:`add_pooling`.
        """
        return self.attnpool(c5)

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images → (B, output_dim), CLIP's embedding of the image."""
        return self.attention_pool(self(images)[-1])[:, 0]

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last bottleneck blocks, and the attention pool if there is one."""
        return list(self.layer4)[-count:] + ([] if self.attnpool is None else [self.attnpool])


class AttentionPool(nn.Module):
    """CLIP's attention pool that keeps all tokens (DenseCLIP, Rao et al., 2022), not only the
    first; any map size.
    """

    def __init__(self, side: int, channels: int, heads: int, out_channels: int) -> None:
        super().__init__()
        self.side, self.heads = side, heads
        std = channels**-0.5
        self.positional_embedding = nn.Parameter(torch.randn(side * side + 1, channels) * std)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, out_channels)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, 1 + H·W, out_channels)."""
        height, width = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)  # (B, H·W, C)
        x = torch.cat((x.mean(1, keepdim=True), x), 1) + self._position(height, width)
        q, k, v = (self._split(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        # Written out, so that the exported graph consists of plain operators.
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, heads, 1 + H·W, 1 + H·W)
        mixed = scores.softmax(-1) @ v  # (B, heads, 1 + H·W, C / heads)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))

    def _position(self, height: int, width: int) -> Tensor:
        """(1 + height·width, C); the spatial part resized bilinearly, as DenseCLIP does."""
        if (height, width) == (self.side, self.side):
            return self.positional_embedding
        first, grid = self.positional_embedding.split((1, self.side**2))
        grid = grid.T.unflatten(1, (self.side, self.side))[None]  # (1, C, side, side)
        grid = F.interpolate(grid, size=(height, width), mode='bilinear', align_corners=False)
        return torch.cat((first, grid[0].flatten(1).T))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
