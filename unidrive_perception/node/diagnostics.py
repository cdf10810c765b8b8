# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How well one camera is served: counters, rates over a few seconds, and a verdict. No ROS here.

Times are seconds of any steady clock. GPU memory is not reported: ONNX Runtime does not tell how
much it holds.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unidrive_perception.durations import in_words

OK, WARN, ERROR, STALE = range(4)
"""Levels as numbered in diagnostic_msgs/DiagnosticStatus."""

STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'track', 'publish')
"""Of the work on an image, in their order; ``FrameTiming`` has a field ``STAGE_ms`` for each."""

ENDS = ('processed', 'dropped', 'late', 'limited', 'bad', 'failed')
"""What becomes of an image that was received: each has just one of these ends."""

WINDOW = 5
"""Reports that a rate and a verdict look back on."""

LATENCIES = 200
"""Images that the percentiles of the latency look back on."""

DROP_SHARE = 0.1
"""Share of dropped images that is worth a warning; one now and then is how keep-latest works."""


@dataclass(frozen=True)
class Counters:
    """Images since the node was activated."""

    received: int = 0
    processed: int = 0
    dropped: int = 0
    late: int = 0
    limited: int = 0
    bad: int = 0
    failed: int = 0
    lost: int = 0

    def __str__(self) -> str:
        """Return what became of the images in words, for the log."""
        return (
            f'{self.received} images received: {self.processed} processed, '
            f'{self.dropped} dropped, {self.late} late, {self.limited} passed over, '
            f'{self.bad} bad, {self.failed} failed'
        )

    def __sub__(self, earlier: Counters) -> Counters:
        """What came to it since ``earlier``."""
        return Counters(
            *(getattr(self, f) - getattr(earlier, f) for f in self.__dataclass_fields__)
        )


@dataclass(frozen=True)
class Report:
    """One diagnostic status: level, one sentence, and values for display."""

    level: int
    message: str
    values: dict[str, str]


class CameraHealth:
    """Counts what becomes of the images of one camera. May be used from several threads."""

    def __init__(self, topic: str, now: float) -> None:
        """Begin to count images of ``topic``."""
        self.topic = topic
        self._lock = threading.Lock()
        self._counters = Counters()
        self._last_image = now  # or the start, as long as there is none
        self._last_problem = ''
        self._age_ms = self._late_s = math.nan
        self._stages_ms: Mapping[str, float] = {}
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES)
        self._done: deque[float] = deque(maxlen=20)
        self._history: deque[tuple[float, Counters]] = deque(
            [(now, Counters())], maxlen=WINDOW + 1
        )

    def received(self, now: float) -> int:
        """Count an image; how many it are by now. What becomes of it is counted by the others."""
        with self._lock:
            self._last_image = now
            self._add(received=1)
            return self._counters.received

    def dropped(self) -> None:
        """Count an image that a newer one replaced, or that still waited when the work ended."""
        with self._lock:
            self._add(dropped=1)

    def limited(self) -> None:
        """Count an image that is passed over to keep a rate."""
        with self._lock:
            self._add(limited=1)

    def late(self, age_s: float) -> None:
        """Count an image that was too old, by its stamp, when its turn came."""
        with self._lock:
            self._late_s = age_s
            self._add(late=1)

    def processed(
        self, now: float, age_ms: float, stages_ms: Mapping[str, float], latency_ms: float
    ) -> Counters:
        """Count an image whose results are out; the counters with it.

        ``age_ms`` is the time since its stamp, ``stages_ms`` what each stage of the work took,
        ``latency_ms`` the time since it was received here.
        """
        with self._lock:
            self._age_ms, self._stages_ms = age_ms, stages_ms
            self._latencies_ms.append(latency_ms)
            self._done.append(now)
            self._add(processed=1)
            return self._counters

    def status_line(self, model: str) -> str:
        """Latency, rate, drops and model, for the strip below a picture."""
        with self._lock:
            times, dropped = list(self._done), self._counters.dropped
            latencies = list(self._latencies_ms)
        parts = [f'{dropped} dropped', model]
        if len(times) > 1:
            rate = (len(times) - 1) / (times[-1] - times[0])
            parts = [f'{latencies[-1]:.0f} ms', f'{rate:.1f} Hz', *parts]
        return ' · '.join(parts)

    def bad(self, problem: str) -> None:
        """Count an image that could not be decoded."""
        with self._lock:
            self._last_problem = problem
            self._add(bad=1)

    def failed(self, problem: str) -> None:
        """Count an image that our own work failed on."""
        with self._lock:
            self._last_problem = problem
            self._add(failed=1)

    def lost(self, count: int) -> None:
        """Count images that DDS says were lost before they reached us."""
        with self._lock:
            self._add(lost=count)

    def silence(self, now: float) -> float:
        """Seconds since the last image, or since the start."""
        return now - self._last_image

    def resumed(self, now: float) -> None:
        """Begin silence, rate and latency anew: only now does anybody wait for images."""
        with self._lock:
            self._last_image = now
            self._latencies_ms.clear()
            self._done.clear()

    @property
    def counters(self) -> Counters:
        """What became of the images so far."""
        with self._lock:
            return self._counters

    def report(self, now: float, stale_after: float, instead: Report | None = None) -> Report:
        """Judge the last few reports' time; to be called once a second.

        ``instead`` is a verdict that holds unless images failed: why none are expected, or why
        none come out.
        """
        with self._lock:
            counters, silence = self._counters, self.silence(now)
            start, before = self._history[0]
            self._history.append((now, counters))
            problem, age_ms, stages_ms = self._last_problem, self._age_ms, self._stages_ms
            latencies = list(self._latencies_ms) or [math.nan]
        p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
        recent, seconds = counters - before, max(now - start, 1e-9)
        level, message = self._verdict(recent, silence, stale_after, problem)
        if instead and level != ERROR:
            level, message = instead.level, instead.message
        values = {
            'input rate [Hz]': f'{recent.received / seconds:.1f}',
            'output rate [Hz]': f'{recent.processed / seconds:.1f}',
            'received': str(counters.received),
            'processed': str(counters.processed),
            'dropped': str(counters.dropped),
            'late': str(counters.late),
            'passed over (max_rate)': str(counters.limited),
            'bad': str(counters.bad),
            'failed': str(counters.failed),
            'lost in transport': str(counters.lost),
            'age of last result [ms]': f'{age_ms:.1f}',
            'work per image [ms]': f'{sum(stages_ms.values()):.1f}',
            'slowest stage': _slowest(stages_ms),
            'latency p50 [ms]': f'{p50:.1f}',
            'latency p95 [ms]': f'{p95:.1f}',
            'latency p99 [ms]': f'{p99:.1f}',
        }
        return Report(level, message, values)

    def _verdict(
        self, recent: Counters, silence: float, stale_after: float, problem: str
    ) -> tuple[int, str]:
        if recent.failed:
            return ERROR, f'{recent.failed} images failed; last: {problem}'
        if recent.bad and not recent.processed:
            return ERROR, f'none of {recent.bad} images could be decoded; last: {problem}'
        if silence > stale_after:
            return STALE, f'no image for {silence:.0f} s on {self.topic}'
        if recent.bad:
            return WARN, f'{recent.bad} images could not be decoded; last: {problem}'
        if recent.late:
            level = WARN if recent.processed else ERROR
            return level, (
                f'{recent.late} of {recent.received} images were older than max_age, '
                f'the last one {in_words(self._late_s)}'
            )
        if recent.lost:
            return WARN, f'{recent.lost} images were lost between the camera and this node'
        if recent.dropped > DROP_SHARE * recent.received:
            return WARN, (
                f'{recent.dropped} of {recent.received} images dropped: they come faster than '
                f'this node works; the slowest stage is {_slowest(self._stages_ms)}'
            )
        if not self._counters.received:
            return OK, 'waiting for the first image'
        return OK, 'images are processed'

    def _add(self, **more: int) -> None:
        new = {name: getattr(self._counters, name) + count for name, count in more.items()}
        self._counters = replace(self._counters, **new)


def _slowest(stages_ms: Mapping[str, float]) -> str:
    """Name and time of the slowest stage, for display."""
    if not stages_ms:
        return 'unknown'
    name = max(stages_ms, key=stages_ms.get)
    return f'{name} {stages_ms[name]:.0f} ms'


def resident_mb() -> float:
    """Memory of this process in MB, all of it; NaN where the system does not tell."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6
