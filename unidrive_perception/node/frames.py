# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep-latest hand-over from the thread that receives images to the one that works on them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

WORKER_THREAD = 'perception'
"""Name of the thread that works on images."""

Batch = list[tuple[str, Any]]
"""(camera, frame) of each frame that is worked on together; no camera twice."""


class LatestFrames:
    """The newest waiting frame of each camera, handed out in order of arrival.

    A frame that a newer one of its camera replaces passes its turn on, so a fast camera cannot
    starve a slow one.
    """

    def __init__(self) -> None:
        """Begin with no frame waiting."""
        self._waiting: OrderedDict[str, Any] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, frame: Any) -> bool:
        """Leave a frame; true when it replaced one that nobody had taken."""
        with self._changed:
            replaced = camera in self._waiting
            self._waiting[camera] = frame
            self._changed.notify()
            return replaced

    def take(self, limit: int = 1, wait_s: float = 0.0) -> Batch | None:
        """Wait for a frame and take up to ``limit``, one per camera; ``None`` once closed.

        Where fewer than ``limit`` are there, the others have ``wait_s`` seconds to come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if limit > 1 and wait_s > 0:
                self._changed.wait_for(lambda: len(self._waiting) >= limit or self._closed, wait_s)
            if self._closed:
                return None
            return [
                self._waiting.popitem(last=False) for _ in range(min(limit, len(self._waiting)))
            ]

    def close(self) -> list[str]:
        """Wake the taker; frames that still wait are given up. Returns their cameras."""
        with self._changed:
            self._closed = True
            given_up = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return given_up


class FrameWorker:
    """One thread that calls ``work(batch)`` for the frames that it takes.

    ``work`` must not raise; what it does raise goes to ``failed(batch, error)`` and the thread
    goes on. ``limits()`` gives the arguments of :meth:`LatestFrames.take`, asked for each time.
    """

    def __init__(
        self,
        frames: LatestFrames,
        work: Callable[[Batch], None],
        failed: Callable[[Batch, Exception], None],
        limits: Callable[[], tuple[int, float]] = lambda: (1, 0.0),
    ) -> None:
        """Start the thread."""
        self._frames, self._work, self._failed, self._limits = frames, work, failed, limits
        self._thread = threading.Thread(target=self._run, name=WORKER_THREAD, daemon=True)
        self._thread.start()

    def close(self) -> list[str]:
        """Give up the frames that wait; returns their cameras. Those in work are finished."""
        return self._frames.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Once closed, wait for the frames in work; whether they ended in time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (batch := self._frames.take(*self._limits())) is not None:
            try:
                self._work(batch)
            except Exception as error:  # one bad frame must not end perception
                self._failed(batch, error)
