# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""DenseCLIP's context decoder: class texts attend to what the image shows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_training.typed import Typed


class ContextDecoderConfig(Typed):
    """Sizes; the defaults are those of DenseCLIP's released models."""

    width: int = 256
    heads: int = 4
    layers: int = 3
    dropout: float = 0.1


class _Attention(nn.Module):
    """Multi-head attention with three projections without bias."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f'width {width} must be a multiple of heads {heads}')
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(width, width, bias=False) for _ in range(3)
        )
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """query (B, K, C), memory (B, N, C) → (B, K, C)."""
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, K or N, C / heads)
            for x in (self.q_proj(query), self.k_proj(memory), self.v_proj(memory))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))


class _Layer(nn.Module):
    """Self-attention, cross-attention, feed-forward, each with LayerNorm before it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = _Attention(width, heads, dropout)
        self.cross_attn = _Attention(width, heads, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """x (B, K, C), memory (B, N, C) → (B, K, C)."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed)
        x = x + self.cross_attn(self.norm2(x), memory)
        return x + self.dropout(self.mlp(self.norm3(x)))


class ContextDecoder(nn.Module):
    """Texts (B, K, D) and image tokens (B, N, D) → what to change in the texts (B, K, D)."""

    def __init__(self, config: ContextDecoderConfig, dim: int) -> None:
        super().__init__()
        width = config.width
        self.memory_proj = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, width), nn.LayerNorm(width)
        )
        self.text_proj = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width))
        self.decoder = nn.ModuleList(
            _Layer(width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, text: Tensor, tokens: Tensor) -> Tensor:
        """See the class."""
        memory = self.memory_proj(tokens)
        x = self.text_proj(text)
        for layer in self.decoder:
            x = layer(x, memory)
        return self.out_proj(x)
