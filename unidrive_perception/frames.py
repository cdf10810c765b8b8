# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep-latest hand-over from the thread that receives images to the one that works on them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


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

    def take(self) -> tuple[str, Any] | None:
        """Wait for a frame; ``(camera, frame)``, or ``None`` once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting.popitem(last=False)

    def close(self) -> None:
        """Wake the taker; frames that still wait are given up."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()


class FrameWorker:
    """One thread that calls ``work(camera, frame)`` for each frame it takes.

    ``work`` must not raise; what it does raise goes to ``failed(camera, error)`` and the thread
    goes on.
    """

    def __init__(
        self,
        frames: LatestFrames,
        work: Callable[[str, Any], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        """Start the thread."""
        self._frames, self._work, self._failed = frames, work, failed
        self._thread = threading.Thread(target=self._run, name='perception', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the frame in work be finished, give up those that wait, and end the thread."""
        self._frames.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._frames.take()) is not None:
            camera, frame = item
            try:
                self._work(camera, frame)
            except Exception as error:  # one bad frame must not end perception
                self._failed(camera, error)
