# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scalars and pictures of a run's TensorBoard log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

_SMOOTH = 50  # windows in a curve


@dataclass
class Curve:
    """Values over iterations, in the order of the iterations."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Picture:
    """An encoded image (PNG) of an iteration."""

    step: int
    encoded: bytes


@dataclass
class Log:
    """Curves by tag; of each picture's tag the first and the last, or the only one."""

    curves: dict[str, Curve] = field(default_factory=dict)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)

    def below(self, prefix: str) -> dict[str, Curve]:
        """Curves whose tag starts with ``prefix/``, without it."""
        tags = (tag for tag in self.curves if tag.startswith(prefix + '/'))
        return {tag.removeprefix(prefix + '/'): self.curves[tag] for tag in tags}


def read_log(folder: Path) -> Log:
    """Read every event file in the folder.

    A log may be long and its pictures large, so no more of them is held than will be shown, which
    TensorBoard's own EventAccumulator cannot do: it keeps the last, but not the first.
    """
    log = Log()
    for event in _events(folder):
        if event.session_log.status == SessionLog.START:
            _forget_from(log, event.step)
        for value in event.summary.value:
            if value.HasField('simple_value'):
                curve = log.curves.setdefault(value.tag, Curve())
                curve.steps.append(event.step)
                curve.values.append(value.simple_value)
            elif value.HasField('image'):
                kept = log.pictures.setdefault(value.tag, [])
                kept[1:] = []
                kept.append(Picture(event.step, value.image.encoded_image_string))
    log.curves = {tag: curve for tag, curve in log.curves.items() if curve.steps}
    log.pictures = {tag: kept for tag, kept in log.pictures.items() if kept}
    return log


def _events(folder: Path) -> Iterator[Event]:
    """In the order in which they were written; a file that a kill cut off ends there."""
    for path in sorted(folder.glob('*tfevents*')):
        yield from LegacyEventFileLoader(str(path)).Load()


def _forget_from(log: Log, step: int) -> None:
    """A resumed run starts again at ``step``: what was written from there on is not part of it."""
    for curve in log.curves.values():
        kept = [i for i, at in enumerate(curve.steps) if at < step]
        curve.steps = [curve.steps[i] for i in kept]
        curve.values = [curve.values[i] for i in kept]
    for tag, pictures in log.pictures.items():
        log.pictures[tag] = [picture for picture in pictures if picture.step < step]


def smooth(values: np.ndarray) -> np.ndarray:
    """(N,) → (N,): centred mean over a fiftieth of the curve, over the finite values there."""
    half = len(values) // _SMOOTH // 2
    if not half:
        return values
    finite = np.isfinite(values)
    kernel = np.ones(2 * half + 1)
    total = np.convolve(np.where(finite, values, 0), kernel, 'same')
    count = np.convolve(finite.astype(float), kernel, 'same')
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
