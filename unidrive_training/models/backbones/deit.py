# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""DeiT backbones (Touvron et al., 2021), made pyramidal: timm's, with its parameter names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.typed import Typed

_PATCH = 16


@BACKBONES.register('deit_s')
class DeiTS(Backbone):
    """DeiT-S/16 without its classifier, made pyramidal; prompt places after the embedding and
    after each quarter of the blocks (Pro-tuning, Table 10, "U5").

    The pyramid is that of mmsegmentation's DeiT with UPerNet (``out_indices`` 2, 5, 8, 11 of 12
    blocks, ``MultiLevelNeck`` with scales 4, 2, 1, 0.5): the patch tokens after each quarter,
    resized bilinearly to strides 4, 8, 16 and 32. Its 1×1 and 3×3 convolutions are those of the
    FPN that follows. Deconvolutions (ViTDet, BEiT) would be random where a tuning plan freezes the
    backbone; so every parameter here is one of the classification checkpoint.

    ``image_size`` is that of the square images which the positional embedding is for; it is
    resized (bicubically, as DeiT does when it finetunes at another resolution) to the input's
    grid. ``pool``: what a classifier takes, DeiT's class token, or the mean of the patch tokens,
    which the last prompt block acts on.
    """

    class Config(Typed):
        """Options of the backbone."""

        channels: int = 384
        blocks: int = 12
        heads: int = 6
        image_size: int = 224
        stochastic_depth: float = 0.1
        pool: Literal['token', 'mean'] = 'token'

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.blocks % 4:
            raise ValueError(f'blocks {config.blocks} must be a multiple of 4')
        if config.channels % config.heads:
            raise ValueError(f'heads {config.heads} must divide the channels {config.channels}')
        # Here, because every command imports this file and timm takes a second.
        from timm.models.vision_transformer import VisionTransformer

        self.out_channels = [config.channels] * 4
        self.prompt_channels = [config.channels] * 5
        self.feature_channels = config.channels
        self.pool = config.pool
        net = VisionTransformer(
            img_size=config.image_size,
            patch_size=_PATCH,
            embed_dim=config.channels,
            depth=config.blocks,
            num_heads=config.heads,
            drop_path_rate=config.stochastic_depth,
            num_classes=0,
            dynamic_img_size=True,  # takes other sizes than image_size
        )
        self.patch_embed, self.blocks = net.patch_embed, net.blocks
        self.cls_token, self.pos_embed = net.cls_token, net.pos_embed
        self.norm: nn.LayerNorm | None = None

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images → [C2, C3, C4, C5]."""
        c2, c3, c4, c5 = [_as_map(patches) for _, patches in self.quarters(images)]
        return [_resized(c2, 4), _resized(c3, 2), c4, F.avg_pool2d(c5, 2)]

    def quarters(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, 3, H, W) normalised images → class token (B, 1, C) and patch tokens
        (B, H / 16, W / 16, C) after each quarter of the blocks.
        """
        patches = self.patch_embed(images)  # (B, h, w, C)
        shape = patches.shape[1:3]
        positions = resize_positions(self.pos_embed, shape)
        token = (self.cls_token + positions[:, :1]).expand(images.shape[0], -1, -1)
        patches = patches + positions[:, 1:].unflatten(1, shape)
        patches = self._prompted(0, patches)
        size = len(self.blocks) // 4
        for place in range(1, 5):
            x = torch.cat((token, patches.flatten(1, 2)), 1)
            for block in self.blocks[(place - 1) * size : place * size]:
                x = block(x)
            token = x[:, :1]
            patches = self._prompted(place, x[:, 1:].unflatten(1, shape))
            yield token, patches

    def _prompted(self, place: int, patches: Tensor) -> Tensor:
        return self.prompted(place, _as_map(patches)).permute(0, 2, 3, 1)

    def add_pooling(self) -> None:
        """Add the final norm of the classifier."""
        self.norm = self.norm or nn.LayerNorm(self.feature_channels, eps=1e-6)

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images → (B, feature_channels): final norm, then ``pool``."""
        *_, (token, patches) = self.quarters(images)
        if self.pool == 'token':
            return self.norm(token[:, 0])
        return self.norm(patches).mean((1, 2))

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last MLP, or all of the last block, and the final norm if there is one."""
        last = self.blocks[-1].mlp if count == 1 else self.blocks[-1]
        return [last] + ([] if self.norm is None else [self.norm])


@BACKBONES.register('deit_b')
class DeiTB(DeiTS):
    """DeiT-B/16 without its classifier; see :class:`DeiTS`."""

    class Config(DeiTS.Config):
        """Options of the backbone."""

        channels: int = 768
        heads: int = 12


def resize_positions(positions: Tensor, shape: tuple[int, int]) -> Tensor:
    """Positional embedding (1, 1 + side², C), class token first, of a square grid → of ``shape``.

    Bicubic, as DeiT does when it finetunes at another resolution; unchanged where it fits.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if tuple(shape) == (side, side):
        return positions
    grid = positions[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, C, side, side)
    grid = F.interpolate(grid, size=tuple(shape), mode='bicubic', align_corners=False)
    return torch.cat((positions[:, :1], grid.flatten(2).transpose(1, 2)), 1)


def _as_map(patches: Tensor) -> Tensor:
    return patches.permute(0, 3, 1, 2)


def _resized(x: Tensor, scale: int) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode='bilinear', align_corners=False)
