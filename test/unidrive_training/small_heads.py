# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads of the papers, so small that a test can build and train them, and what they are fed."""

import torch

DETECTION = {
    'name': 'sparse_rcnn',
    'proposals': 12,
    'stages': 2,
    'dynamic_channels': 4,
    'attention_heads': 2,
    'feedforward': 32,
}
SEMANTIC = {
    'name': 'maskformer',
    'queries': 21,
    'channels': 16,
    'mask_channels': 16,
    'pixel_channels': 16,
    'groups': 4,
    'layers': 2,
    'attention_heads': 2,
    'feedforward': 32,
}
DRIVABLE = SEMANTIC | {'queries': 5}
CHANNELS = 16


def small_pyramid(batch=2, seed=0, height=64, width=96, channels=CHANNELS):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, channels, height >> level, width >> level) for level in (2, 3, 4, 5)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def whole(batch, height=64, width=96):
    return torch.tensor([[float(height), float(width)]]).expand(batch, 2)


def divisors_of(head, labels, truths):
    """Those of a head, with another number of truths."""
    return {n: max(1.0, v) for n, v in head.divisors(labels).items()} | {'truths': truths}
