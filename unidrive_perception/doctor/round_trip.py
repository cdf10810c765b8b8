# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Measures whether images of some size get from one process to another over the real DDS.

The image content does not matter to the transport, so the images are zeros in one long row.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unidrive_perception.doctor.trials import Trials
from unidrive_perception.image_topics import TRIAL_PREFIX

_NUMBERS = itertools.count()
RELIABILITIES = ('best_effort', 'reliable')


@dataclass(frozen=True)
class Plan:
    """How many images, how fast, and how many each side keeps: of a camera, often only 1."""

    count: int = 20
    rate: float = 30.0
    depth: int = 1
    reliabilities: Sequence[str] = RELIABILITIES


@dataclass(frozen=True)
class Trip:
    """What became of the images of one reliability; latencies in ms from before publish."""

    sent: int
    latencies: Sequence[float] = ()
    rate: float = 0.0

    @property
    def lost(self) -> int:
        """How many did not arrive."""
        return self.sent - len(self.latencies)

    @property
    def median(self) -> float:
        """Median latency in ms; NaN where nothing arrived."""
        return statistics.median(self.latencies) if self.latencies else float('nan')

    @property
    def p99(self) -> float:
        """99th percentile of the latency: the largest of up to 100; NaN where nothing arrived."""
        ordered = sorted(self.latencies)
        return (
            ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else float('nan')
        )


class NotMeasured(Exception):
    """The two sides did not get as far as sending."""


def measure(
    trials: Trials,
    size: int,
    plan: Plan,
    sender: Mapping[str, str],
    receiver: Mapping[str, str],
    seconds: float,
) -> dict[str, Trip]:
    """Send images of ``size`` bytes between two fresh processes with these environments.

    Raises :class:`NotMeasured` with a few words.
    """
    topic = f'{TRIAL_PREFIX}{os.getpid()}_{next(_NUMBERS)}'
    reliabilities = ','.join(plan.reliabilities)
    receiving = trials.start(
        'round_trip_node', 'receive', topic, reliabilities, plan.depth, plan.count,
        seconds=seconds, environment=receiver,
    )  # fmt: skip
    sending = trials.start(
        'round_trip_node', 'send', topic, reliabilities, plan.depth, plan.count, size, plan.rate,
        seconds=seconds, environment=sender,
    )  # fmt: skip
    said, problem, _ = sending.result()
    heard, trouble, _ = receiving.finish(within=0.3)
    if 'sent' not in said:
        joined = 'joined' in said and 'joined' in heard
        raise NotMeasured(_how_far(joined, said, problem or trouble or 'nothing was sent'))
    return {
        reliability: Trip(
            count,
            heard.get('latencies', {}).get(reliability, []),
            _rate(heard.get('arrivals', {}).get(reliability, [])),
        )
        for reliability, count in said['sent'].items()
    }


def _how_far(joined: bool, said: Mapping[str, Any], problem: str) -> str:
    """What the two sides did not get to, and the words of their trial."""
    if not joined:
        return f'two processes did not get as far as joining the graph: {problem}'
    if said.get('answered'):
        return f'not all could be sent: {problem}'
    if said.get('matched'):
        return (
            f'two processes find each other, and not even a small message is answered: {problem}'
        )
    return f'two processes do not find each other: {problem}'


def _rate(arrivals: Sequence[float]) -> float:
    """Images per second."""
    if len(arrivals) < 2:
        return 0.0
    return (len(arrivals) - 1) / max(1e-9, arrivals[-1] - arrivals[0])
