# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the processes of one evaluation tell each other; alone, all is the identity."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch.distributed as dist

from unidrive_training import distributed

T = TypeVar('T')
Result = TypeVar('Result')


def reduce_on_first(part: T, reduce: Callable[[list[T]], Result]) -> Result:
    """``reduce`` of the parts of all processes in their order, computed by the first process and
    given to every one. All of them must call it.
    """
    if distributed.world_size() == 1:
        return reduce([part])
    first = distributed.rank() == 0
    group = None if dist.get_backend() == 'gloo' else _objects()
    parts: list[T] | None = [None] * distributed.world_size() if first else None
    dist.gather_object(part, parts, group=group)
    result: list[Any] = [reduce(parts) if first else None]
    dist.broadcast_object_list(result, group=group)
    return result[0]


@cache
def _objects() -> dist.ProcessGroup:
    """A group of all processes for objects in main memory; NCCL has them pass its GPUs."""
    return dist.new_group(backend='gloo')
