# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory and processors: what there is, and what a container or a setting leaves of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, warn
from unidrive_perception.doctor.remedies import run_node

LEAST_FREE, LOW_FREE = 300 << 20, 1 << 30
"""The node with the default bundle takes some 300 MB, more with larger ones and cameras."""
BUSY = 0.8
UNLIMITED = 1 << 60


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    free, total = free_memory()
    yield memory(free, total)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = examination.settings.get('threads', 0)
    yield processors(os.cpu_count() or 1, allowed or 1, cpu_quota(), threads)
    yield load(os.getloadavg()[0], allowed or 1)
    yield from governor()


def free_memory(root: Path = Path('/')) -> tuple[int, int]:
    """Free and total bytes, of the machine or of the container's limit."""
    fields = {}
    for line in _read(root / 'proc/meminfo').splitlines():
        name, _, rest = line.partition(':')
        fields[name] = int(rest.split()[0]) * 1024
    free = fields.get('MemAvailable', fields.get('MemFree', 0))
    total = fields.get('MemTotal', 0)
    for limit_name, used_name in (
        ('memory.max', 'memory.current'),
        ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
    ):
        limit, used = (_number(_cgroup(root, name)) for name in (limit_name, used_name))
        if limit is not None and limit < min(total, UNLIMITED):
            total, free = limit, min(free, max(0, limit - (used or 0)))
    return free, total


def memory(free: int, total: int) -> Finding:
    """Whether there is room for the node."""
    found = f'{free / 2**30:.1f} of {total / 2**30:.1f} GB free'
    who = 'ps -eo rss,args --sort=-rss | head   # what takes it'
    if free < LEAST_FREE:
        return fail('memory', found, who, free=free, total=total)
    if free < LOW_FREE:
        return warn('memory', found, who, free=free, total=total)
    return ok('memory', found, free=free, total=total)


def cpu_quota(root: Path = Path('/')) -> float | None:
    """Processors' worth of time that a container (cgroup 1 or 2) gets; None for no limit."""
    quota, _, period = _cgroup(root, 'cpu.max').partition(' ')
    if not quota:
        quota = _cgroup(root, 'cpu/cpu.cfs_quota_us')
        period = _cgroup(root, 'cpu/cpu.cfs_period_us')
    limit, span = _number(quota), _number(period)
    return limit / span if limit and limit > 0 and span else None


def processors(count: int, allowed: int, quota: float | None, threads: int = 0) -> Finding:
    """How many there are, and how many we may use; ``threads`` is the parameter, 0 for all."""
    found = f'{allowed} of {count} may be used' if allowed < count else f'{count}'
    if quota is not None:
        found += f'; the container gets the time of {quota:.1f}'
    figures = {'count': count, 'allowed': allowed, 'quota': quota}
    workers = threads or allowed
    if quota is not None and workers > max(1, quota) + 0.5:
        found += f', for {workers} threads of the model, which are held up then'
        return warn('processors', found, _threads(max(1, int(quota))), **figures)
    if threads > allowed:
        found += f', for {threads} threads of the model'
        return warn('processors', found, _threads(0), **figures)
    return ok('processors', found, **figures)


def _threads(count: int) -> str:
    return run_node(f'-p threads:={count}')


def load(average: float, allowed: int) -> Finding:
    """Whether other programs leave time for the node."""
    found = f'{average:.1f} in the last minute, on {allowed} processor{"s" * (allowed > 1)}'
    if average > BUSY * allowed:
        return warn('load', found, 'top   # what else runs', load=average)
    return ok('load', found, load=average)


def governor(root: Path = Path('/')) -> Iterator[Finding]:
    """How the clock rate of the processors is chosen, where that can be read."""
    files = (root / 'sys/devices/system/cpu').glob('cpu[0-9]*/cpufreq/scaling_governor')
    names = sorted({_read(file) for file in files} - {''})
    if not names:
        return
    if 'powersave' in names and not (root / 'sys/devices/system/cpu/intel_pstate').is_dir():
        remedy = 'sudo cpupower frequency-set -g performance'
        yield warn('governor', f'{", ".join(names)}: the processors run at their lowest', remedy)
    else:
        yield ok('governor', ', '.join(names))


def _cgroup(root: Path, name: str) -> str:
    """A file of the cgroup of this process or, as within a container, of the root."""
    below = ''
    for line in _read(root / 'proc/self/cgroup').splitlines():
        if line.startswith('0::'):
            below = line[3:].strip('/')
    base = root / 'sys/fs/cgroup'
    return _read(base / below / name) or _read(base / name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace').strip()
    except OSError:
        return ''


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # 'max', or nothing
        return None
