# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Predicts shares in processes of their own, none of which outlives the command or hangs it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait

import cv2

from unidrive_perception.errors import UserError
from unidrive_perception.processing.shards import Share, predict_share
from unidrive_perception.processing.work_folder import WorkFolder

_SECONDS_TO_END = 5.0


def predict_shares(shares: Sequence[Share], tick: Callable[[], object]) -> None:
    """Predict each share in a process of its own, a single one in this; ``tick`` after each frame.

    Raises UserError, the first of a worker, or, once the others are done, where one was killed.
    """
    with _terminated_like_interrupted():
        if len(shares) == 1:
            for _ in predict_share(shares[0]):
                tick()
        elif shares:
            _in_processes(shares, tick)


def _in_processes(shares: Sequence[Share], tick: Callable[[], object]) -> None:
    workers = {}
    try:
        for share in shares:
            connection, process = _start(share)
            workers[connection] = process
        running, killed = set(workers), []
        while running:
            for connection in wait(running):
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    running.remove(connection)
                    workers[connection].join()
                    if workers[connection].exitcode:
                        killed.append(workers[connection].exitcode)
                    continue
                if message is None:
                    tick()
                else:
                    raise message
        if killed:
            raise UserError(_about_killed(killed, len(shares)))
    finally:
        _end(workers)


def _start(share: Share) -> tuple[Connection, multiprocessing.Process]:
    context = multiprocessing.get_context('spawn')  # not a fork of a process that may have threads
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, share), daemon=True)
    with _interrupts_ignored():  # Ctrl-C goes to all, but it is we who end the workers
        process.start()
    theirs.close()
    return ours, process


def _work(connection: Connection, share: Share) -> None:
    """Predict a share; the first frame after the command is gone is the last."""
    cv2.setNumThreads(share.threads)
    try:
        with WorkFolder(share.out).share():
            for _ in predict_share(share):
                connection.send(None)
    except BrokenPipeError:
        pass
    except UserError as error:
        connection.send(UserError(str(error)))
    except Exception:
        connection.send(RuntimeError(f'in a worker process:\n{traceback.format_exc()}'))


def _end(workers: dict[Connection, multiprocessing.Process]) -> None:
    for connection in workers:
        connection.close()
    for process in workers.values():
        process.join(_SECONDS_TO_END)
        if process.is_alive():
            process.kill()
            process.join()


def _about_killed(exit_codes: Sequence[int], count: int) -> str:
    codes = ', '.join(str(code) for code in exit_codes)
    return (
        f'{len(exit_codes)} of {count} worker processes ended before their work was done (exit '
        f'code {codes}; -9 is often for want of memory); what is finished is kept: give the same '
        f'command again, with fewer --jobs if it was for memory'
    )


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    with _handling(signal.SIGINT, signal.SIG_IGN):
        yield


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    with _handling(signal.SIGTERM, signal.default_int_handler):
        yield


@contextmanager
def _handling(number: int, handler: Callable | int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # where signals are none of our business
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
