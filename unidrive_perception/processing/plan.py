# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is to be done with which input, and how that is divided into shards.

A shard is a run of frames small enough that little is lost when the work is killed. Where one ends
depends on the input alone, so any number of processes, and any number of starts, makes the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unidrive_perception.bundle import Manifest
from unidrive_perception.processing.cameras import Camera

SHARD_FRAMES = 100
SHARDS = 16
"""As many at least, where that leaves ``LEAST_FRAMES`` for each: several processes want some."""
LEAST_FRAMES = 10
OPTIONS = {
    'frame rate': '--fps',
    'model': '--model',
    'device': '--device',
    'score threshold': '--score-threshold',
    'tracking': '--track',
    'overlay': '--overlay',
    'copied images': '--copy-images',
    'further topics': '--also',
    'storage': '--storage',
}
"""The options of ``process-bag`` that say what has these names in an :func:`identity`."""


@dataclass(frozen=True)
class Settings:
    """What decides the results of a frame.

    ``score_threshold`` None: the model's own; ``overlay``: JPEG quality of overlays, None for no
    overlays; ``also``: further topics of the node, see ``frame_messages``.
    """

    input: str
    cameras: tuple[Camera, ...]
    model: str
    fps: float | None = None
    device: str = 'auto'
    score_threshold: float | None = None
    track: bool = False
    overlay: int | None = None
    copy_images: bool = False
    also: tuple[str, ...] = ()

    @property
    def topics(self) -> list[str]:
        """The image topics of the cameras."""
        return [camera.topic for camera in self.cameras]


@dataclass(frozen=True)
class Shard:
    """Frames ``begin`` to ``begin + count``; the source finds the first at ``position``.

    The last one takes all that come: a video does not always know how many frames it has.
    """

    index: int
    begin: int
    count: int
    position: int
    is_last: bool

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f'shard_{self.index:04d}'


@dataclass(frozen=True)
class Plan:
    """All shards of an input; ``damage``: what is wrong with it, as far as that is known."""

    shards: list[Shard]
    damage: str | None = None


def identity(settings: Settings, manifest: Manifest, storage: str) -> dict[str, str]:
    """What must be the same when the work is taken up again, each by a name for users."""
    path = Path(settings.input).resolve()
    files = sorted(f for f in path.rglob('*') if f.is_file()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    state = [
        (str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns)
        for file, stat in zip(files, stats, strict=True)
    ]
    cameras = (f'{c.name}={c.topic}' if c.name else c.topic for c in settings.cameras)
    return {
        'input': str(path),
        'size of the input': f'{sum(s.st_size for s in stats)} bytes in {len(files)} files',
        'state of the input': hashlib.sha256(repr(state).encode()).hexdigest()[:12],
        'cameras': ', '.join(cameras),
        'frame rate': _shown(settings.fps),
        'model': f'{manifest.name} {manifest.program.sha256[:12]}',
        'device': settings.device,
        'score threshold': _shown(settings.score_threshold),
        'tracking': 'on' if settings.track else 'off',
        'overlay': f'JPEG quality {settings.overlay}' if settings.overlay else 'off',
        'copied images': 'yes' if settings.copy_images else 'no',
        'further topics': ', '.join(settings.also) or 'none',
        'storage': storage,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """What is not the same in two identities, as one phrase; empty where nothing is."""
    return '; '.join(
        f'{OPTIONS.get(name, name)} was {before.get(name, "unknown")}, is now {value}'
        for name, value in now.items()
        if before.get(name) != value
    )


def make_shards(positions: Iterable[int]) -> list[Shard]:
    """Divide frames, of which ``positions`` are known, at places where a source can begin.

    That is where all before have smaller positions than all behind: frames recorded in the same
    nanosecond, or in files of a bag that overlap, stay together.
    """
    found = np.fromiter(positions, np.int64)
    count = len(found)
    if not count:
        return []
    size = min(SHARD_FRAMES, max(LEAST_FRAMES, count // SHARDS))
    highest_before = np.maximum.accumulate(found)[:-1]
    lowest_behind = np.minimum.accumulate(found[::-1])[::-1][1:]
    cuts = np.flatnonzero(highest_before < lowest_behind) + 1
    begins = [0]
    while (i := np.searchsorted(cuts, begins[-1] + size)) < len(cuts):
        begins.append(int(cuts[i]))
    return [
        Shard(i, begin, end - begin, int(found[begin:end].min()), end == count)
        for i, (begin, end) in enumerate(zip(begins, [*begins[1:], count], strict=True))
    ]


def shares(shards: Sequence[Shard], jobs: int) -> list[list[Shard]]:
    """Divide shards into ``jobs`` (or fewer) runs of about as many frames."""
    ends = np.cumsum([shard.count for shard in shards])
    middles = ends - np.array([shard.count for shard in shards]) / 2
    owners = (middles * jobs / ends[-1]).astype(int) if len(shards) else []
    groups = [
        [s for s, owner in zip(shards, owners, strict=True) if owner == j] for j in range(jobs)
    ]
    return [group for group in groups if group]


def _shown(value: object) -> str:
    return 'default' if value is None else str(value)
