# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs many made-up inputs in a process of their own, so that a crash is a test failure.

A fuzz file defines ``KINDS = {name: function}``; ``function(case, rng)`` makes input number
``case`` with nothing but the random numbers of ``rng``, tries it, raises AssertionError where the
outcome is not one of those allowed, and returns a name for the outcome. So a seed and a number
say which input it was, and the sentence of a failure says how to try it again.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import mmap
import os
import random
import resource
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import theilslopes

HANG_S = 60
"""After so long in one case the process ends and says where it was."""

MEASUREMENTS = 50
"""Of the memory in use, in the second half of the cases: caches are full by then."""


def run_cases(file: str, kind: str, seed: int, count: int, timeout: float) -> dict:
    """Try ``count`` cases of the fuzz file in another process; returns what it says of them."""
    note = Path(os.environ.get('TMPDIR', '/tmp')) / f'unidrive_fuzz_{os.getpid()}_{kind}'
    note.write_bytes(bytes(8))
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, file, kind, str(seed), '0', str(count), str(note)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=timeout,
            check=False,
            env={**os.environ, 'PYTHONPATH': path, 'PYTHONMALLOC': 'malloc'},
        )
        ended = f'exit code {done.returncode}'
    except subprocess.TimeoutExpired:
        done, ended = None, f'not ended after {timeout} s'
    case = int.from_bytes(note.read_bytes(), 'little')
    note.unlink()
    if done is None or done.returncode:
        said = done.stdout[-3000:] + done.stderr[-3000:] if done else ''
        again = f'PYTHONPATH=test:. python {file} {kind} {seed} {case} 1'
        pytest.fail(f'{kind}: {ended} in case {case}; try it again with `{again}`\n{said}')
    return json.loads(done.stdout.splitlines()[-1])


def main(kinds: dict[str, Callable[[int, random.Random], str]]) -> None:
    """Try the cases that the command line names: KIND SEED FIRST COUNT [NOTE]."""
    kind, seed, first, count, *note = sys.argv[1:]
    seed, first, count = int(seed), int(first), int(count)
    current = _noted(note[0]) if note else bytearray(8)
    outcomes, warm = Counter(), 0.0  # memory after so many cases that it must not grow any more
    in_use: list[tuple[int, int]] = []
    for case in range(first, first + count):
        current[:8] = case.to_bytes(8, 'little')
        if case % 100 == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            outcomes[kinds[kind](case, random.Random(seed << 32 | case))] += 1
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
        if case == first + count // 5:
            warm = resident_mb()
        if 2 * (case - first) >= count and case % max(1, count // (2 * MEASUREMENTS)) == 0:
            in_use.append((case, bytes_in_use()))
    said = {'outcomes': outcomes, 'grown_mb': resident_mb() - warm, 'peak_mb': peak_mb()}
    print(json.dumps({**said, 'kept_per_case': slope(in_use)}))


class MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *('arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks'),
            *('uordblks', 'fordblks', 'keepcost'),
        )
    ]


def bytes_in_use() -> int:
    """All that is allocated and not freed, Python's objects too; 0 where glibc does not tell.

    Resident memory hides small leaks: it counts pages, and what was freed but not given back.
    """
    mallinfo = getattr(ctypes.CDLL(None), 'mallinfo2', None)
    if mallinfo is None or os.environ.get('PYTHONMALLOC') != 'malloc':
        return 0
    gc.collect()
    mallinfo.restype = MallocInfo
    info = mallinfo()
    return info.uordblks + info.hblkhd  # in heaps, and in blocks of their own


def slope(in_use: list[tuple[int, int]]) -> float | None:
    """Bytes that each case leaves behind; None where that is not known.

    By Theil and Sen, as a large image that is held for a while is no leak.
    """
    if len(in_use) < MEASUREMENTS // 2 or not in_use[0][1]:
        return None
    cases, held = zip(*in_use, strict=True)
    return float(theilslopes(held, cases).slope)


def resident_mb() -> float:
    """Memory that this process holds now."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_mb() -> float:
    """The most memory that this program ever held; ``ru_maxrss`` counts its parent's too."""
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 2**10


def _noted(path: str) -> mmap.mmap:
    """Memory that outlives this process, for the number of the case."""
    with open(path, 'r+b') as file:
        return mmap.mmap(file.fileno(), 8)
