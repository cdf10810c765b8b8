# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer head (Cheng et al., 2021): a set of (class, mask) pairs, folded into a class map."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_perception.errors import UserError
from unidrive_perception.labels import UNKNOWN
from unidrive_training.models.layers import MLP
from unidrive_training.models.mask_criterion import Ignored, MaskLossWeights, mask_set_losses
from unidrive_training.models.pixel_decoder import PixelDecoder
from unidrive_training.models.position import sine_position
from unidrive_training.models.registry import HEADS
from unidrive_training.models.transformer import TransformerDecoder
from unidrive_training.typed import Typed


@HEADS.register('maskformer')
class MaskFormerHead(nn.Module):
    """Segmentation by mask classification on P2..P5.

    ``loss_stride`` and ``output_stride`` (relative to the input; the official values are 1) say at
    what resolution mask losses and the class map are computed. ``matching``: ``fixed`` gives each
    class a query of its own, which learns faster from little data; the official is ``bipartite``.
    ``ignored``: see :mod:`mask_criterion`; the official is ``negative``. ``in_channels`` of
    P2..P5: one number, or one each for a head that is fed C2..C5.
    """

    class Config(Typed):
        """Options; the defaults are the official ones."""

        queries: int = 100
        channels: int = 256
        mask_channels: int = 256
        pixel_channels: int = 256
        groups: int = 32
        layers: int = 6
        attention_heads: int = 8
        feedforward: int = 2048
        dropout: float = 0.1
        pre_norm: bool = False
        loss_stride: int = 1
        output_stride: int = 1
        matching: Literal['bipartite', 'fixed'] = 'bipartite'
        ignored: Ignored = 'excluded'
        loss_weights: MaskLossWeights = MaskLossWeights()

    def __init__(self, config: Config, in_channels: int | list[int], classes: int) -> None:
        super().__init__()
        levels = [in_channels] * 4 if isinstance(in_channels, int) else in_channels
        if config.matching == 'fixed' and config.queries < classes:
            raise UserError(f'fixed matching needs a query per class: queries >= {classes}')
        self.config = config
        self.pixel_decoder = PixelDecoder(
            levels, config.pixel_channels, config.mask_channels, config.groups
        )
        self.input_proj: nn.Module = nn.Identity()
        if levels[-1] != config.channels:
            self.input_proj = nn.Conv2d(levels[-1], config.channels, 1)
            nn.init.kaiming_uniform_(self.input_proj.weight, a=1)
            nn.init.zeros_(self.input_proj.bias)
        self.query_embed = nn.Embedding(config.queries, config.channels)
        self.decoder = TransformerDecoder(
            config.channels,
            config.attention_heads,
            config.feedforward,
            config.layers,
            config.dropout,
            config.pre_norm,
        )
        self.class_embed = nn.Linear(config.channels, classes + 1)
        self.mask_embed = MLP(config.channels, config.channels, config.mask_channels, layers=3)

    def forward(self, pyramid: list[Tensor], all_layers: bool) -> list[tuple[Tensor, Tensor]]:
        """P2..P5 → per layer (or the last only) logits (B, Q, K + 1) and (B, Q, H/4, W/4)."""
        features = self.pixel_decoder(pyramid)
        memory = self.input_proj(pyramid[-1])
        height, width = memory.shape[-2:]
        position = sine_position(height, width, memory.shape[1], memory.device)
        decoded = self.decoder(
            memory.flatten(2).transpose(1, 2),
            position.flatten(1).T[None].to(memory.dtype),
            self.query_embed.weight,
        )
        return [
            (self.class_embed(x), torch.einsum('bqc,bchw->bqhw', self.mask_embed(x), features))
            for x in (decoded if all_layers else decoded[-1:])
        ]

    @staticmethod
    def truth_count(labels: list[Tensor]) -> int:
        """Number of truth masks: classes present, summed over the images."""
        return sum(int((label.unique() != UNKNOWN).sum()) for label in labels)

    def losses(
        self, pyramid: list[Tensor], labels: list[Tensor], sizes: Tensor, count: float
    ) -> dict[str, Tensor]:
        """Weighted ``label``, ``mask``, ``dice`` losses; ``labels``: a (H, W) id map per image.

        Labels are 255 in the padding, so that ``sizes`` has nothing to add.
        """
        config = self.config
        layers = self(pyramid, all_layers=True)
        with torch.autocast(pyramid[0].device.type, enabled=False):
            return mask_set_losses(
                layers,
                labels,
                config.loss_weights,
                _size(pyramid, config.loss_stride),
                count,
                config.matching,
                config.ignored,
            )

    def scores(self, pyramid: list[Tensor], stride: int = 1) -> Tensor:
        """Class scores Σ_q p_q(class) · mask_q: (B, K, H / stride, W / stride), float.

        In the official order: mask logits are upsampled, then summed over the queries.
        """
        class_logits, mask_logits = self(pyramid, all_layers=False)[-1]
        size = _size(pyramid, stride)
        if mask_logits.shape[-2:] != size:
            mask_logits = F.interpolate(
                mask_logits, size=size, mode='bilinear', align_corners=False
            )
        probability = class_logits.softmax(-1)[..., :-1]
        return torch.einsum('bqk,bqhw->bkhw', probability, mask_logits.sigmoid())

    def predict(self, pyramid: list[Tensor], sizes: Tensor) -> Tensor:
        """Class map (B, H/s, W/s) uint8, s the output stride; in the padding it means nothing."""
        return self.scores(pyramid, self.config.output_stride).argmax(1).to(torch.uint8)


def _size(pyramid: list[Tensor], stride: int) -> tuple[int, int]:
    """Height and width of the input at a stride; P2 has stride 4."""
    height, width = pyramid[0].shape[-2:]
    return height * 4 // stride, width * 4 // stride
