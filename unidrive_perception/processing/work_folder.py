# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``OUT.partial``: the finished shards of a bag that is being made, and what they are of.

It holds ``plan.json``, a folder for each finished shard, and ``merged`` while that is written. One
command is at work in it at a time, told by a lock that its worker processes share: what a killed
command has left running is waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from unidrive_perception.errors import UserError
from unidrive_perception.processing.plan import Plan, Shard, differences

_LOCK = 'lock'
_PLAN = 'plan.json'
_PATIENCE = 10.0  # seconds; a worker whose command was killed ends after its frame


class WorkFolder:
    """The folder beside ``out``; use it within :meth:`hold`."""

    def __init__(self, out: Path) -> None:
        """Choose the place; nothing is written yet."""
        self.out = out
        self.path = out.with_name(f'{out.name}.partial')

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Make the folder and keep other commands out; without a finished shard it does not stay.

        Raises UserError where another command is at work in it.
        """
        with self._lock():
            for rest in [*self.path.glob('.*'), self.merged]:  # of a killed command
                shutil.rmtree(rest, ignore_errors=True)
            try:
                yield
            finally:
                if self.path.exists() and not any(self.path.glob('shard_*')):
                    self.remove()

    @contextlib.contextmanager
    def share(self) -> Iterator[None]:
        """Hold the folder together with the command that a worker process works for."""
        with (self.path / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @property
    def merged(self) -> Path:
        """Where the whole bag is written until it is finished."""
        return self.path / 'merged'

    def shard(self, shard: Shard) -> Path:
        """The folder of a shard, which exists once it is finished."""
        return self.path / shard.name

    def finished(self, shards: list[Shard]) -> list[Shard]:
        """Those of ``shards`` that are finished."""
        return [shard for shard in shards if self.shard(shard).exists()]

    def write_plan(self, job: dict[str, str], plan: Plan) -> None:
        """Note what the shards are of."""
        content = {'job': job, **asdict(plan)}
        aside = self.path / f'.{_PLAN}'
        aside.write_text(json.dumps(content))
        os.replace(aside, self.path / _PLAN)

    def read_plan(self, job: dict[str, str]) -> Plan | None:
        """The plan of an earlier command, None where there is none.

        Raises UserError where the plan is that of another job.
        """
        try:
            content = json.loads((self.path / _PLAN).read_text())
            shards = [Shard(**shard) for shard in content['shards']]
            before, plan = content['job'], Plan(shards, content['damage'])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(
                f'{self.path / _PLAN} cannot be read ({error}): remove {self.path} to begin anew'
            ) from error
        if what := differences(before, job):
            raise UserError(
                f'{self.path} holds unfinished work of another command ({what}): give that '
                f'command again to finish it, or remove the folder to begin anew'
            )
        return plan

    def discard(self) -> None:
        """Remove the finished shards, which are of no use."""
        for path in self.path.glob('shard_*'):
            shutil.rmtree(path)

    def finish(self) -> None:
        """Give the merged bag its name; nothing else of the work remains."""
        os.rename(self.merged / self.out.name, self.out)
        self.remove()

    def remove(self) -> None:
        """Remove all; the plan last, so that a kill meanwhile leaves what can be understood."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        for name in (_LOCK, _PLAN):
            (self.path / name).unlink(missing_ok=True)
        self.path.rmdir()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        deadline = time.monotonic() + _PATIENCE
        while (file := self._locked()) is None:
            if time.monotonic() > deadline:
                raise UserError(
                    f'another command is at work on {self.out} (in {self.path}): wait for it, or '
                    f'choose another name'
                )
            time.sleep(0.1)
        with file:
            yield

    def _locked(self) -> TextIO | None:
        """Return the file that is locked as long as it is open, None where another has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            file = (self.path / _LOCK).open('a')
        except FileNotFoundError:  # its last holder removed the folder meanwhile
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:  # or its last holder removed it meanwhile
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for our workers to share
                return file
        except BlockingIOError:
            pass
        file.close()
        return None
