# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a result was computed with: versions, commit and machine, to be kept beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

_PACKAGES = ('numpy', 'torch', 'torchvision')
_OURS = 'unidrive_perception'


def environment() -> dict:
    """``versions`` {name: text}, ``machine`` {cpu, cores, gpus} and ``commit`` (None outside of a
    checkout; ends in -dirty when files differ from it). Nothing names the host or its user.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        'versions': {'python': platform.python_version(), **versions, 'unidrive': _version(_OURS)},
        'machine': {
            'cpu': _cpu(),
            'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None,
            'gpus': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
        'commit': _commit(Path(__file__)),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a checkout, or not needed for this command
        return None


def _cpu() -> str:
    """The processor's name as Linux has it; elsewhere its architecture."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def _commit(file: Path) -> str | None:
    """The commit of the checkout that tracks ``file``."""
    # An installed copy may lie in somebody else's checkout, whose commit would say nothing.
    if _git(file.parent, 'ls-files', '--error-unmatch', file.name) is None:
        return None
    return _git(file.parent, 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*')


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails or is not there."""
    try:
        done = subprocess.run(
            ['git', '-C', str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
