# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends a process that stands still, so that whoever started it can start it again.

Not all that stops a node can be mended in it. Fast DDS to 3.6 never returns from publishing, now
and then, when a process that listened is killed (eProsima/Fast-DDS issue 6485); rclpy holds
Python's lock meanwhile, so neither callbacks nor signals are served.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.5
"""How often it looks."""

LONG_S = 600.0
"""For what may take long: engines hold Python's lock while they load a model, some for minutes."""


class Watchdog:
    """Ends the process with exit code 1 once its main thread has not come round for too long.

    The stacks of all threads are written to standard error first. A thread looks after the main
    one and tells the log why it ends the process. It needs Python's lock, so it in turn is looked
    after by :mod:`faulthandler`, which does not; the first line is then ``Timeout``.
    """

    def __init__(self) -> None:
        """Look at nothing until :meth:`begin`."""
        self._limit_s = 0.0
        self._log: Callable[[str], None] = print
        self._came = 0.0
        self._patient = 0  # how many things are done that may take long
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name='watchdog', daemon=True)

    def begin(self, limit_s: float, log: Callable[[str], None]) -> None:
        """Begin to look; never, with a limit of 0."""
        self._limit_s, self._log = limit_s, log
        self.come_round()
        if limit_s:
            self._arm()
            self._thread.start()

    def come_round(self) -> None:
        """Tell that the main thread is alive."""
        self._came = time.monotonic()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Meanwhile the main thread may wait, and Python's lock be held for ``LONG_S``."""
        self._add_patience(1)
        try:
            yield
        finally:
            self._add_patience(-1)

    def close(self) -> None:
        """Never end the process from now on."""
        self._ended.set()
        if self._limit_s:
            self._thread.join()
        with self._lock:
            faulthandler.cancel_dump_traceback_later()

    def _add_patience(self, change: int) -> None:
        with self._lock:
            self._patient += change
        self.come_round()
        if self._limit_s:
            self._arm()

    def _arm(self) -> None:
        """Begin to count anew how long nobody has Python's lock."""
        with self._lock:
            if not self._ended.is_set():
                limit = max(self._limit_s, LONG_S) if self._patient else self._limit_s
                faulthandler.dump_traceback_later(limit, exit=True)

    def _look(self) -> None:
        while not self._ended.wait(LOOK_S):
            if self._patient:
                self.come_round()
            late = time.monotonic() - self._came
            if late > self._limit_s:
                self._log(f'nothing has been done for {late:.0f} s: the process ends')
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)
            self._arm()
