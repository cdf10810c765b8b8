# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Sine position encoding of a 2-D grid (DETR; Vaswani et al., 2017, per axis)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """(channels, height, width) float32: the first half of the channels encodes y, the second x.

    Counts start at 1 and are normalised to 2π; sine and cosine alternate; temperature 10000.
    """
    half = channels // 2
    frequency = torch.arange(half, dtype=torch.float32, device=device)
    frequency = 10000 ** (2 * torch.div(frequency, 2, rounding_mode='floor') / half)

    def encode(length: int) -> Tensor:  # (length, half)
        count = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        angle = (count / (length + 1e-6) * 2 * math.pi)[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    y = encode(height)[:, None, :].expand(height, width, half)
    x = encode(width)[None, :, :].expand(height, width, half)
    return torch.cat((y, x), dim=2).permute(2, 0, 1).contiguous()
