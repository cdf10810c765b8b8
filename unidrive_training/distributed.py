# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Several training processes as one (``torchrun``); alone, all is the identity."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta

import torch
import torch.distributed as dist

from unidrive_perception.errors import UserError


def start(device: str) -> str:
    """Join the group that torchrun describes in the environment; returns this process's device."""
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        return device
    on_gpu = device.startswith('cuda')
    if on_gpu:
        number = int(os.environ['LOCAL_RANK'])
        if number >= torch.cuda.device_count():
            raise UserError(
                f'{torch.cuda.device_count()} GPUs are here, too few for so many processes; '
                'give torchrun a smaller --nproc-per-node'
            )
        device = f'cuda:{number}'
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group('nccl' if on_gpu else 'gloo')
    return device


def rank() -> int:
    """Number of this process, 0 for the one that logs and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Sum of each number over the processes. All of them must call it, with as many numbers."""
    if world_size() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def copy_from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Give every process the values of rank 0."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gather(value: object) -> list:
    """The plain-data ``value`` of every process. All of them must call it."""
    if world_size() == 1:
        return [value]
    values: list = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def patient_barrier() -> Callable[[], None]:
    """A function that waits until all processes call it, for days if need be.

    An ordinary barrier gives up after minutes, too early where one process has more work than
    another. All processes must make it together, and soon after :func:`start`.
    """
    if world_size() == 1:
        return lambda: None
    group = dist.new_group(backend='gloo', timeout=timedelta(days=30))
    return lambda: dist.barrier(group)
