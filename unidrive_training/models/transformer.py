# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The transformer decoder of MaskFormer (DETR's, post-norm): queries attend to image tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.models.layers import Attention


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; each with residual and LayerNorm after it."""

    def __init__(self, channels: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads)
        self.cross_attn = Attention(channels, heads)
        self.linear1 = nn.Linear(channels, feedforward)
        self.linear2 = nn.Linear(feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, position: Tensor, query: Tensor) -> Tensor:
        """x, query (B, Q, C); memory, position (B or 1, HW, C): keys carry positions, values do
        not.
        """
        q = x + query
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x)))
        x = self.norm2(x + self.dropout(self.cross_attn(x + query, memory + position, memory)))
        hidden = self.dropout(F.relu(self.linear1(x)))
        return self.norm3(x + self.dropout(self.linear2(hidden)))


class TransformerDecoder(nn.Module):
    """Decoder layers from zero targets; one shared LayerNorm on every layer's output."""

    def __init__(
        self, channels: int, heads: int, feedforward: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, feedforward, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, memory: Tensor, position: Tensor, query: Tensor) -> list[Tensor]:
        """memory (B, HW, C), position (1, HW, C), query (Q, C) → a (B, Q, C) per layer."""
        query = query[None].expand(memory.shape[0], -1, -1)
        x = query * 0
        outputs = []
        for layer in self.layers:
            x = layer(x, memory, position, query)
            outputs.append(self.norm(x))
        return outputs
