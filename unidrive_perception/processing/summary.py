# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``summary.json`` of a processed bag: what went in, what came out, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unidrive_perception.labels import UNKNOWN, LabelTable
from unidrive_perception.processing.plan import Settings
from unidrive_perception.processing.shards import STAGES, Record
from unidrive_perception.processing.tally import Tally

SUMMARY = 'summary.json'
PLOT = 'summary.png'
_PERCENTILES = (50, 90, 99)


@dataclass
class Outcome:
    """What became of all frames; see :class:`Record`, of which this is the sum."""

    seen: int = 0
    bad: list[tuple[int, str, int, str]] = field(default_factory=list)
    times: dict[str, np.ndarray] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    damage: str | None = None

    @classmethod
    def of(cls, records: Sequence[Record], damage: str | None = None) -> Outcome:
        """Add up the records of all shards; ``damage``: what was known before."""
        whole = cls(damage=damage)
        for record in records:
            whole.seen += record.seen
            whole.bad += [tuple(row) for row in record.bad]
            whole.damage = whole.damage or record.damage
            for task, counts in record.pixels.items():
                whole.pixels[task] = whole.pixels.get(task, 0) + np.array(counts, np.int64)
        whole.times = {s: np.array([ms for r in records for ms in r.times[s]]) for s in STAGES}
        return whole

    @property
    def processed(self) -> int:
        """Number of frames with results."""
        return self.seen - len(self.bad)


def summary(
    job: Mapping[str, str],
    settings: Settings,
    labels: Mapping[str, LabelTable],
    outcome: Outcome,
    tally: Tally,
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is written; only ``latency_ms`` and ``run`` are not the same for every run."""
    bad_of = [topic for _, topic, _, _ in outcome.bad]
    return {
        'job': dict(job),
        'frames': {'processed': outcome.processed, 'bad': len(outcome.bad)},
        'seconds_of_recording': float(tally.seconds.max(initial=0)),
        'cameras': {
            camera.name or camera.topic: {
                'topic': camera.topic,
                'results': f'{camera.prefix}result',
                'processed': tally.frames[camera.name],
                'bad': bad_of.count(camera.topic),
            }
            for camera in settings.cameras
        },
        'objects': tally.objects(),
        **{task: shares(outcome.pixels[task], labels[task]) for task in outcome.pixels},
        'damage': outcome.damage,
        'bad_frames': [
            dict(zip(('frame', 'topic', 'stamp_ns', 'reason'), row, strict=True))
            for row in outcome.bad
        ],
        'latency_ms': latencies(outcome.times),
        'run': dict(run),
    }


def shares(pixels: np.ndarray, table: LabelTable) -> dict[str, float]:
    """Class name → its share of all pixels, 0..1."""
    total = max(1, int(pixels.sum()))
    named = {info.name: round(int(pixels[info.id]) / total, 6) for info in table.classes}
    return {**named, 'unknown': round(int(pixels[UNKNOWN]) / total, 6)}


def latencies(times: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Stage → mean, percentiles and maximum in ms of the frames; of their sums under 'total'."""
    rows = {**times, 'total': sum(times.values())}
    return {stage: _distribution(values) for stage, values in rows.items() if np.any(values > 0)}


def _distribution(values: np.ndarray) -> dict[str, float]:
    percentiles = np.percentile(values, _PERCENTILES)
    named = {f'p{p}': float(v) for p, v in zip(_PERCENTILES, percentiles, strict=True)}
    numbers = {'mean': float(values.mean()), **named, 'max': float(values.max())}
    return {name: round(value, 3) for name, value in numbers.items()}
