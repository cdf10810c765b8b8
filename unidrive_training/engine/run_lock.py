# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One training at a time in a run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unidrive_perception.errors import UserError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made; UserError while another process holds it.

    The lock goes with its process, however that ends. Where nothing came of it, no folder stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / '.lock'
    with lock.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f'{folder}: another training is at work here; wait for it, or give a new folder'
            ) from error
        try:
            yield
        finally:
            if list(folder.iterdir()) == [lock]:
                lock.unlink()
                folder.rmdir()
