# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Forward and backward time of the layers that UniDrive writes differently from PyTorch.

``python3 benchmarks/training_layers.py`` prints medians and their ratio; one thread, the sizes of
``config/training/nano.yaml``.
"""

from __future__ import annotations

import statistics
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import MultiScaleRoIAlign

from unidrive_training.config import load_config
from unidrive_training.models.layers import Attention, GroupNorm
from unidrive_training.models.roi_pool import PyramidRoIAlign, PyramidTable

NANO = load_config(Path(__file__).resolve().parents[1] / 'config/training/nano.yaml')
BATCH = NANO.phases[-1].batch_size
HEIGHT, WIDTH = NANO.input_size
CHANNELS = NANO.model.fpn.channels
PROPOSALS = NANO.model.heads['detection']['proposals']
REPEATS = 15


def median_ms(step: Callable[[], torch.Tensor]) -> float:
    """Median time of one forward and backward pass."""
    times = []
    for _ in range(REPEATS + 3):
        start = time.perf_counter()
        step().float().sum().backward()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[3:])


def roi_pooling() -> tuple[Callable, Callable]:
    """Boxes of all sizes on a four-level pyramid: ours, torchvision's."""
    pyramid = [
        torch.randn(BATCH, CHANNELS, HEIGHT // stride, WIDTH // stride, requires_grad=True)
        for stride in (4, 8, 16, 32)
    ]
    corner = torch.rand(BATCH, PROPOSALS, 2) * torch.tensor([WIDTH * 0.7, HEIGHT * 0.7])
    boxes = torch.cat((corner, corner + torch.exp(torch.rand(BATCH, PROPOSALS, 2) * 4.5)), -1)
    ours = PyramidRoIAlign(7, canonical_size=112, sampling_ratio=1)
    theirs = MultiScaleRoIAlign(list('0123'), 7, 1, canonical_scale=112)
    named = OrderedDict((str(i), level) for i, level in enumerate(pyramid))
    size = [(HEIGHT, WIDTH)] * BATCH
    return lambda: ours(PyramidTable.of(pyramid), boxes), lambda: theirs(named, list(boxes), size)


def group_norm() -> tuple[Callable, Callable]:
    """Channels-last bfloat16 maps at stride 4: ours, torch.nn's."""
    x = torch.randn(BATCH, CHANNELS, HEIGHT // 4, WIDTH // 4, dtype=torch.bfloat16)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = GroupNorm(16, CHANNELS), nn.GroupNorm(16, CHANNELS)
    return lambda: ours(x), lambda: theirs(x)


def group_norm_float32() -> tuple[Callable, Callable]:
    """Channels-last float32 maps of MaskFormer's head: ours, torch.nn's of a contiguous copy.

    torch.nn's own of channels-last memory is faster, but wrong where the mean is large.
    """
    x = torch.randn(1, 256, 96, 160).to(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = GroupNorm(32, 256), nn.GroupNorm(32, 256)

    def copied() -> torch.Tensor:
        return theirs(x.contiguous()).contiguous(memory_format=torch.channels_last)

    return lambda: ours(x), copied


def attention() -> tuple[Callable, Callable]:
    """Self-attention among the proposals: ours, scaled_dot_product_attention."""
    x = torch.randn(BATCH, PROPOSALS, CHANNELS, requires_grad=True)
    layer = Attention(CHANNELS, heads=4)

    def theirs() -> torch.Tensor:
        q, k, v = (layer._split(part) for part in layer.in_proj(x).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return layer.out_proj(mixed.transpose(1, 2).flatten(2))

    return lambda: layer(x, x, x), theirs


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print('| layer | UniDrive | PyTorch | ratio |\n| --- | --- | --- | --- |')
    for case in (roi_pooling, group_norm, group_norm_float32, attention):
        ours, theirs = (median_ms(step) for step in case())
        print(f'| {case.__name__} | {ours:.1f} ms | {theirs:.1f} ms | {theirs / ours:.1f} |')


if __name__ == '__main__':
    main()
