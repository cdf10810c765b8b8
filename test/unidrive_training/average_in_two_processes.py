# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Run by test_training.py under torchrun: two processes step as one on the mean gradient."""

import torch
from torch import nn

from unidrive_training import distributed


def stepped(gradient_of, average):
    """A channels-last kernel after one fused AdamW step along ``gradient_of(kernel)``."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    for parameter in layer.parameters():
        parameter.grad = gradient_of(parameter)
    if average:
        distributed.average_gradients(layer)
    optimizer.step()
    return layer.weight


def gradient(parameter, rank):
    """A gradient of its own for every process, in the parameter's memory layout."""
    generator = torch.Generator().manual_seed(7 + rank)
    return torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))


distributed.start('cpu')
rank = distributed.rank()
together = stepped(lambda parameter: gradient(parameter, rank), average=True)
mean = lambda parameter: (gradient(parameter, 0) + gradient(parameter, 1)) / 2  # noqa: E731
alone = stepped(mean, average=False)
torch.testing.assert_close(together, alone)
