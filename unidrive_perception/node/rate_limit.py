# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Passes images over, so that results come no faster than a given rate."""

from __future__ import annotations

EARLY_SHARE = 0.25
"""Share of a period by which an image may come early: at 10 Hz, up to 25 ms."""


class RateLimit:
    """Lets an image through when its turn has come. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        """Let the first image through."""
        self._due = float('-inf')

    def admits(self, now: float, rate: float) -> bool:
        """Whether an image that comes at ``now`` keeps ``rate`` per second; 0 is no limit.

        The turns keep their rhythm, so a 30 Hz camera at a limit of 20 Hz gives 20 Hz, not 15.
        """
        if rate <= 0:
            self._due = float('-inf')
            return True
        period = 1 / rate
        if now < self._due - EARLY_SHARE * period:
            return False
        # After a pause the rhythm begins anew: there is nothing to catch up with.
        self._due = max(self._due, now - EARLY_SHARE * period) + period
        return True
