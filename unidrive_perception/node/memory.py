# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the memory of a long-running process down to what it uses.

With glibc's defaults the node grows although it holds no more: each thread gets a heap of its own,
large blocks move into these heaps once one was freed, and a model that is replaced leaves holes
there. Eight times configured, worked and cleaned up with the default bundle, the node without a
model went from 81 MB to 147 MB; with the functions here it stayed at 81 to 83 MB,
still with two heaps.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import math
import os
import sys
from collections.abc import Callable
from typing import Any

ARENAS = 1
"""Heaps that the threads share; glibc's default is eight for each core. With more than one, up to
KEPT_FREE of free memory at the end of each but the first is never given back: with two, the node
without a model went up and down between 88 and 109 MB. They bring no speed, at least not on two
cores: docs/benchmarks.md."""

LARGE_BLOCK = 8 << 20
"""Bytes from which a block is not part of a heap. The images of most cameras are smaller: fresh
memory for each costs time, 10 ms per 1280×720 image with blocks from 1 MB, nothing from 4 MB."""

KEPT_FREE = 16 << 20
"""Free bytes at the end of a heap that stay there. Once the size of large blocks is set, glibc
fixes this at 128 kB: each image's masks are then given back to the system and asked for again."""

_HEAP_SETTINGS = {  # number in malloc.h, and the variable by which a user chooses it
    'MALLOC_ARENA_MAX': (-8, ARENAS),
    'MALLOC_MMAP_THRESHOLD_': (-3, LARGE_BLOCK),
    'MALLOC_TRIM_THRESHOLD_': (-1, KEPT_FREE),
}


def limit_heaps() -> None:
    """One heap, and no large blocks in it, where the C library is glibc.

    To be called before there are threads: what they began with stays.
    """
    mallopt = _of_glibc('mallopt')
    for variable, (setting, value) in _HEAP_SETTINGS.items():
        if mallopt and variable not in os.environ:
            mallopt(setting, value)


def give_back_memory() -> None:
    """Return what has been freed to the system; for after something large was freed."""
    gc.collect()
    trim = _of_glibc('malloc_trim')
    if trim:
        trim(0)


class _HeapInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc's malloc.h, over all heaps; sizes in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *('arena', 'ordblks', 'smblks', 'hblks', 'hblkhd'),
            *('usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost'),
        )
    ]


def heap_in_use_mb() -> float:
    """Memory in MB that this process has asked the C library for and not given back.

    It is no part of what the process holds (:func:`~.diagnostics.resident_mb`): that has holes
    between these blocks, programs and libraries, stacks, shared memory and Python's own pools, but
    not what of these blocks was never written to. NaN where the C library does not tell (before
    glibc 2.33).
    """
    tell = _of_glibc('mallinfo2')
    if tell is None:
        return math.nan
    tell.restype = _HeapInfo
    info = tell()
    return (info.uordblks + info.hblkhd) / 1e6  # in the heaps, and blocks outside of them


def python_blocks() -> int:
    """How many blocks of memory Python holds, of any size: one or a few for each object."""
    return sys.getallocatedblocks()


@functools.cache
def _of_glibc(name: str) -> Callable[..., Any] | None:
    """A function of the C library, where it has it."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
