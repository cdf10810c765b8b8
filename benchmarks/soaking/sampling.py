# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a process holds, read from /proc once a second."""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

WARM_UP = 0.1
"""Share of the samples that the trend leaves out."""


@dataclass(frozen=True)
class Sample:
    """Memory in MB, and how many threads, open files and shared memory segments there are."""

    seconds: float
    rss: float
    anonymous: float
    shared: float
    threads: int
    files: int
    segments: int

    @property
    def own(self) -> float:
        """Memory without that which DDS shares: it shows what others have written there."""
        return self.rss - self.shared


def sample(pid: int, seconds: float = 0.0) -> Sample:
    """Read what the process ``pid`` holds now; raises OSError once it has ended."""
    proc = Path(f'/proc/{pid}')
    values = dict(
        line.split(':', 1) for line in (proc / 'status').read_text().splitlines() if ':' in line
    )
    memory = (int(values[f].split()[0]) / 1024 for f in ('VmRSS', 'RssAnon', 'RssShmem'))
    files = len(os.listdir(proc / 'fd'))
    return Sample(seconds, *memory, int(values['Threads']), files, len(shared_segments(pid)))


def shared_segments(pid: int) -> set[Path]:
    """The shared memory of Fast DDS that the process has mapped, its own and that of its peers.

    Not its ports, which are small and are used again by the next process of the same number.
    """
    maps = Path(f'/proc/{pid}/maps').read_text()
    names = re.findall(r'/dev/shm/fastdds_[0-9a-f]{16}$', maps, re.MULTILINE)
    return {Path(name) for name in names}


def remove_abandoned(segments: Iterable[Path]) -> None:
    """Remove those that nobody has mapped: a process that is killed leaves its own, 64 MB each."""
    in_use: set[Path] = set()
    for process in Path('/proc').glob('[0-9]*'):
        with suppress(OSError):  # it has ended, or is somebody else's
            in_use |= shared_segments(int(process.name))
    for path in set(segments) - in_use:
        path.unlink(missing_ok=True)
        path.with_name(f'{path.name}_el').unlink(missing_ok=True)


class Sampler:
    """Takes a sample of a process each second, in a thread of its own."""

    def __init__(self, pid: int, file: Path) -> None:
        """Begin; the samples are written to a CSV file too."""
        self._file = file
        file.write_text(','.join(field.name for field in fields(Sample)) + '\n')
        self.samples: list[Sample] = []
        self._pid, self._start = pid, time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Sample]:
        """End, and give all samples."""
        self._ended.set()
        self._thread.join()
        return self.samples

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            try:
                self.samples.append(sample(self._pid, time.monotonic() - self._start))
                with self._file.open('a') as file:
                    file.write(','.join(f'{v:g}' for v in astuple(self.samples[-1])) + '\n')
            except (OSError, KeyError):  # it has ended
                return


def first_and_last(samples: list[Sample], field: str) -> tuple[float, float]:
    """The medians of a field over the first and the last fifth after the warm-up."""
    values = [getattr(s, field) for s in samples][int(len(samples) * WARM_UP) :]
    fifth = max(1, len(values) // 5)
    return statistics.median(values[:fifth]), statistics.median(values[-fifth:])
