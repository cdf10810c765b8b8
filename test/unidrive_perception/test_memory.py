# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the C library does with the memory of the node."""

import ctypes
import gc
import math
import os
import subprocess
import sys

import pytest

from unidrive_perception.node import memory
from unidrive_perception.node.memory import heap_in_use_mb, python_blocks

HEAPS = """
import ctypes, re, sys, threading
from unidrive_perception.node.memory import limit_heaps

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = libc.fclose.argtypes = (ctypes.c_void_p,)
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)

def count():
    file = libc.fopen(sys.argv[1].encode(), b'w')
    libc.malloc_info(0, file)
    libc.fclose(file)
    info = open(sys.argv[1]).read()
    return info.count('<heap nr'), int(re.search(r'type="mmap" count="(\\d+)"', info).group(1))

limit_heaps()
libc.free(libc.malloc(20 << 20))  # from now on glibc's default keeps such blocks in a heap
before = count()[1]
block, image = libc.malloc(16 << 20), libc.malloc(6 << 20)
blocks = count()[1] - before
barrier = threading.Barrier(12)
threads = [threading.Thread(target=lambda: (barrier.wait(), libc.malloc(100))) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(count()[0], blocks)
"""


def heaps(tmp_path, repo_root, **variables):
    """How many heaps a process of 12 threads has, and how many blocks outside of them."""
    env = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')} | variables
    command = [sys.executable, '-c', HEAPS, str(tmp_path / 'info.xml')]
    done = subprocess.run(
        command, cwd=repo_root, env=env, capture_output=True, text=True, check=True
    )
    return tuple(map(int, done.stdout.split()))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_info'), reason='no glibc')
def test_one_heap_without_large_blocks(tmp_path, repo_root):
    assert heaps(tmp_path, repo_root) == (1, 1)
    variables = {'MALLOC_ARENA_MAX': '5', 'MALLOC_MMAP_THRESHOLD_': str(4 << 20)}
    assert heaps(tmp_path, repo_root, **variables) == (5, 2)  # as the user wants it


AGAIN = """
import ctypes, resource
from unidrive_perception.node.memory import limit_heaps

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)
limit_heaps()
for image in range(100):
    if image == 50:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(4 << 20)
    ctypes.memset(block, 1, 4 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallopt'), reason='no glibc')
def test_the_memory_of_an_image_is_used_again(repo_root):
    """Not given back and asked for again with each image: 1024 pages of 4 kB each time."""
    env = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')}
    command = [sys.executable, '-c', AGAIN]
    done = subprocess.run(
        command, cwd=repo_root, env=env, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1024


RETURNED = """
from unidrive_perception.node.memory import give_back_memory
from unidrive_perception.node.diagnostics import resident_mb

blocks = [b'x' * 100_000 for _ in range(1000)]
last = b'x' * 100_000  # the end of the heap is in use
loop = [blocks]
loop.append(loop)  # only garbage collection can free it
before = resident_mb()
del blocks, loop
give_back_memory()
print(before, resident_mb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='no glibc')
def test_memory_is_given_back(repo_root):
    done = subprocess.run(
        [sys.executable, '-c', RETURNED], cwd=repo_root, capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    assert after < before - 50


@pytest.mark.skipif(math.isnan(heap_in_use_mb()), reason='a C library that does not tell')
@pytest.mark.parametrize('block', [1000, 100_000, 20_000_000], ids=['small', 'large', 'no heap'])
def test_heap_in_use(block):
    """Whatever the size of the blocks, and with holes between those that are left."""
    gc.collect()
    before = heap_in_use_mb()
    blocks = [bytes(block) for _ in range(max(1, 20_000_000 // block))]
    assert 19 < heap_in_use_mb() - before < 25
    del blocks[1::2]
    held = sum(map(len, blocks)) / 1e6
    assert held - 1 < heap_in_use_mb() - before < held + 3
    del blocks
    assert abs(heap_in_use_mb() - before) < 1


def test_heap_in_use_where_the_library_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory, '_of_glibc', lambda name: None)
    assert math.isnan(heap_in_use_mb())


@pytest.mark.parametrize('size', [10, 10_000])
def test_python_blocks(size):
    gc.collect()
    before = python_blocks()
    kept = [bytes(size) for _ in range(5_000)]
    assert 5_000 <= python_blocks() - before < 5_100
    del kept
