# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Several training processes as one (``torchrun``); alone, all is the identity."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn


def start(device: str) -> str:
    """Join the group that torchrun describes in the environment; returns this process's device."""
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        return device
    dist.init_process_group('nccl' if device.startswith('cuda') else 'gloo')
    return f'cuda:{os.environ["LOCAL_RANK"]}' if device == 'cuda' else device


def rank() -> int:
    """Number of this process, 0 for the one that logs and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Mean of each number over the processes. All of them must call it, with as many numbers."""
    if world_size() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return (total / world_size()).tolist()


def average_gradients(model: nn.Module) -> None:
    """Give every process the mean gradient; a parameter without one counts as zero there."""
    if world_size() == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    flat: Tensor = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )
    dist.all_reduce(flat)
    flat /= world_size()
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        # In the parameter's own memory layout: the fused optimizer goes through both as flat
        # memory, and would update a channels-last kernel in the wrong places otherwise.
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))


def patient_barrier() -> Callable[[], None]:
    """A function that waits until all processes call it, for days if need be.

    An ordinary barrier gives up after minutes, too early where one process has more work than
    another. All processes must make it together, and soon after :func:`start`.
    """
    if world_size() == 1:
        return lambda: None
    group = dist.new_group(backend='gloo', timeout=timedelta(days=30))
    return lambda: dist.barrier(group)
