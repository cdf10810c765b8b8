# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Ends a process that stands still, so that whoever started it can start it again.

Not all that stops a node can be mended in it. Fast DDS to 3.6 never returns from publishing, now
and then, when a process that listened is killed (eProsima/Fast-DDS issue 6485); rclpy holds the
GIL, Python's global interpreter lock, meanwhile, so neither callbacks nor signals are served.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.5
"""How often it looks."""

LONG_S = 600.0
"""For what may take long: engines hold the GIL while they load a model, some for minutes."""

LAST_WORDS_S = 1.0
"""For the log, which may be what stands still."""


class Watchdog:
    """Ends the process with exit code 1 once its main thread has not come round for too long.

    The stacks of all threads are written to standard error first. A thread looks after the main
    one and tells the log why it ends the process. It needs the GIL, so it in turn is looked after
    by :mod:`faulthandler`, which does not; the first line is then ``Timeout``.
    """

    def __init__(self) -> None:
        """Look at nothing until :meth:`start`."""
        self._limit_s = 0.0
        self._log: Callable[[str], object] = print
        self._fed = 0.0
        self._patient = 0  # how many things are done that may take long
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)
        self._stacks = sys.stderr or open(os.devnull, 'w')  # noqa: SIM115 as long as the process

    def start(self, limit_s: float, log: Callable[[str], object]) -> None:
        """Begin to look, or go on with another limit; 0 for none."""
        self._limit_s, self._log = limit_s, log
        self.feed()
        self._arm()
        if not self._thread.is_alive():
            self._thread.start()

    def feed(self) -> None:
        """Tell that the main thread has come round."""
        self._fed = time.monotonic()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Meanwhile the main thread may wait, and the GIL be held, for ``LONG_S``."""
        self._add_patience(1)
        try:
            yield
        finally:
            self._add_patience(-1)

    def stop(self) -> None:
        """Never end the process from now on."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            faulthandler.cancel_dump_traceback_later()

    def _add_patience(self, change: int) -> None:
        self.feed()  # before the limit is the short one again
        with self._lock:
            self._patient += change
        self._arm()

    @property
    def _limit(self) -> float:
        return max(self._limit_s, LONG_S) if self._patient else self._limit_s

    def _arm(self) -> None:
        """Begin to count anew how long nobody gets the GIL."""
        with self._lock:
            if self._ended.is_set():
                return
            faulthandler.cancel_dump_traceback_later()
            if self._limit_s:
                faulthandler.dump_traceback_later(self._limit, exit=True, file=self._stacks)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            late = time.monotonic() - self._fed
            if self._limit_s and late > self._limit:
                self._end(late)
            self._arm()

    def _end(self, late: float) -> None:
        faulthandler.dump_traceback_later(LAST_WORDS_S, exit=True, file=self._stacks)
        try:
            faulthandler.dump_traceback(self._stacks)
            self._log(
                f'the main thread has not come round for {late:.0f} s (watchdog_s: '
                f'{self._limit_s:g}): the process ends'
            )
        finally:
            os._exit(1)
