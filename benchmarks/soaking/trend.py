# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the memory of a long run grows, told from the noise of its samples.

The slope is that of Theil and Sen (the median of the slopes between all pairs of samples), which a
few odd samples do not move, with its 95 % confidence interval (Sen 1968). That interval is right
for samples that know nothing of each other. Where one resembles the one before it, the interval is
widened as if there were fewer samples (Yue and Wang 2004, Water Resources Management 18:201).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

LIMIT = 2.0
"""Percent that the memory may grow over a run."""

CONFIDENCE = 0.95
FEWEST = 30
"""Samples for a trend; of less it cannot be told how much neighbours resemble each other."""

MOST_RESEMBLANCE = 0.9
"""Of neighbours; with more, a run has no more than some five independent samples in a hundred."""


@dataclass(frozen=True)
class Trend:
    """Growth from the first sample to the last in percent of the median, and its interval."""

    growth: float
    low: float
    high: float

    @property
    def grows(self) -> bool:
        """More than the limit by the estimate, and beyond doubt not by chance.

        That the whole interval lies above the limit is not asked for: with the noise that there
        is, half of all leaks of 5 % would pass. So a flat memory is called growing in less than
        one of 40 runs, for each trend that is judged, and one that leaks a little less than the
        limit in up to half of them.
        """
        return self.growth > LIMIT and self.low > 0

    @property
    def holds(self) -> bool:
        """It is sure, too, that it does not grow by more than the limit."""
        return self.high <= LIMIT

    @property
    def verdict(self) -> str:
        """In words."""
        if self.grows:
            return 'grows'
        return (
            'holds' if self.holds else f'NOT SHOWN to hold, up to {self.high:+.1f} % is possible'
        )


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend | None:
    """The trend of samples taken at ``seconds``; None where there are too few."""
    if len(values) < FEWEST:
        return None
    times, held = np.asarray(seconds), np.asarray(values)
    slope, intercept, low, high = theilslopes(held, times, CONFIDENCE)
    wider = _widening(held - slope * times - intercept)
    low, high = slope - wider * (slope - low), slope + wider * (high - slope)
    to_percent = 100 * (times[-1] - times[0]) / np.median(held)
    return Trend(*(float(s * to_percent) for s in (slope, low, high)))


def _widening(rest: np.ndarray) -> float:
    """How much wider the interval is for what each sample has of its neighbour; 1 for nothing.

    ``rest`` is what the samples are above or below the line.
    """
    rest = rest - rest.mean()
    power = float(rest @ rest)
    resemblance = float(rest[1:] @ rest[:-1]) / power if power else 0.0
    if resemblance < 2 / math.sqrt(len(rest)):  # as much as chance makes
        return 1.0
    resemblance = min(resemblance, MOST_RESEMBLANCE)
    return math.sqrt((1 + resemblance) / (1 - resemblance))
