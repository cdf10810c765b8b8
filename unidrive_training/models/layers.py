# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Small layers that several heads share."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with the parameters of nn.MultiheadAttention (packed in-projection).

    ``dropout``: share of the attention weights that are dropped in training.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f'channels {channels} must be a multiple of heads {heads}')
        self.heads, self.dropout = heads, dropout
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (B, Q, C), key and value (B, K, C) → (B, Q, C)."""
        kernels = self.in_proj.weight.chunk(3)
        biases = self.in_proj.bias.chunk(3)
        q, k, v = (
            self._split(F.linear(x, w, b))
            for x, w, b in zip((query, key, value), kernels, biases, strict=True)
        )
        # Written out, so that the exported graph consists of plain operators.
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # (B, heads, Q, K)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        mixed = weights @ v  # (B, heads, Q, C / heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class GroupNorm(nn.GroupNorm):
    """GroupNorm without two faults that PyTorch's has with channels-last memory on a CPU.

    Its backward pass is slow in bfloat16 and with groups of no multiple of 8 channels. And
    its variance is the difference of two large numbers where the mean is large; results do not
    depend on the mean, so that here most of it is taken off before.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        if x.is_contiguous() or x.device.type != 'cpu':
            return super().forward(x)
        of_group = self.num_channels // self.num_groups
        if torch.is_grad_enabled() and (x.dtype != torch.float32 or of_group % 8):
            return super().forward(x.contiguous())
        sample = x.detach()[..., ::8, ::8].unflatten(1, (self.num_groups, of_group))
        mean = sample.mean((2, 3, 4)).repeat_interleave(of_group, 1)
        return super().forward(x - mean[..., None, None])


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, layers: int) -> None:
        super().__init__()
        sizes = [in_channels] + [hidden] * (layers - 1) + [out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(…, in_channels) → (…, out_channels)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
