# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unidrive_perception.errors import UserError

LOCK = '.lock'
"""The file that is held; in a folder that holds data, too."""
PATIENCE = 15.0  # seconds: what a killed process has started (children, loaders) ends a bit later


@contextmanager
def hold(folder: Path, refusal: str, patience: float = PATIENCE) -> Iterator[int]:
    """Hold the folder, which is made; UserError ``refusal`` when another process still does after
    ``patience`` seconds.

    Gives the lock's file descriptor: the lock goes with the last process that has it open, however
    that ends.
    """
    deadline = time.monotonic() + patience
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open('w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f'{folder}: {refusal}') from None
            else:
                if os.fstat(file.fileno()).st_nlink:  # or its last holder removed it meanwhile
                    yield file.fileno()
                    return
        time.sleep(0.2)


@contextmanager
def only_one(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the folder that a command writes. Where nothing came of it, no folder stays."""
    refusal = 'another command is at work here; wait for it, or give a new folder'
    with hold(folder, refusal, patience):
        try:
            yield
        finally:
            lock = folder / LOCK
            if list(folder.iterdir()) == [lock]:
                lock.unlink()
                folder.rmdir()
