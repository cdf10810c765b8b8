# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The transformer decoder of MaskFormer (DETR's): queries attend to image tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.models.layers import Attention


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward, each with a residual.

    LayerNorm comes after each residual sum; with ``pre_norm`` before each of the three instead.
    """

    def __init__(
        self, channels: int, heads: int, feedforward: int, dropout: float, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attn = Attention(channels, heads, dropout)
        self.cross_attn = Attention(channels, heads, dropout)
        self.linear1 = nn.Linear(channels, feedforward)
        self.linear2 = nn.Linear(feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, query: Tensor | None) -> Tensor:
        """x and its position ``query`` (B, Q, C); key, value (B, K, C) → (B, Q, C)."""

        def placed(x: Tensor) -> Tensor:
            return x if query is None else x + query

        def mix(x: Tensor) -> Tensor:
            return self.self_attn(placed(x), placed(x), x)

        def look(x: Tensor) -> Tensor:
            return self.cross_attn(placed(x), key, value)

        def think(x: Tensor) -> Tensor:
            return self.linear2(self.dropout(F.relu(self.linear1(x))))

        steps = ((self.norm1, mix), (self.norm2, look), (self.norm3, think))
        for norm, step in steps:
            if self.pre_norm:
                x = x + self.dropout(step(norm(x)))
            else:
                x = norm(x + self.dropout(step(x)))
        return x


class TransformerDecoder(nn.Module):
    """Decoder layers from zero targets; one shared LayerNorm on every layer's output."""

    def __init__(
        self,
        channels: int,
        heads: int,
        feedforward: int,
        layers: int,
        dropout: float,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, feedforward, dropout, pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, memory: Tensor, position: Tensor, query: Tensor) -> list[Tensor]:
        """memory (B, HW, C), position (1, HW, C), query (Q, C) → a (B, Q, C) per layer."""
        query = query[None].expand(memory.shape[0], -1, -1)
        x = query * 0
        key = memory + position  # keys carry positions, values do not
        outputs = []
        for layer in self.layers:
            x = layer(x, key, memory, query)
            outputs.append(self.norm(x))
        return outputs
