# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a process holds, read from /proc once a second."""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

WARM_UP = 0.1
"""Share of the samples, the first ones, that are not judged."""

READS, READ_GAP_S = 9, 0.1
"""Of a state, over about a second: what it holds comes and goes."""


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


@dataclass(frozen=True)
class StateSample(Sample):
    """Also what the node says that it has in use: MB of the heap, and blocks of Python."""

    heap: float
    blocks: int


def sample(pid: int, seconds: float = 0.0) -> Sample:
    """Read what the process ``pid`` holds now; raises OSError once it has ended."""
    proc = Path(f'/proc/{pid}')
    values = dict(
        line.split(':', 1) for line in (proc / 'status').read_text().splitlines() if ':' in line
    )
    memory = (int(values[f].split()[0]) * 1024 / 1e6 for f in ('VmRSS', 'RssAnon', 'RssShmem'))
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


class States:
    """Samples of a node in states that come again: the only ones that can be compared."""

    def __init__(self, pid: int, told: Callable[[], Mapping[str, str]], file: Path) -> None:
        """Begin; ``told()`` gives what the node says now. The samples are written to a CSV too."""
        self._pid, self._told, self._start = pid, told, time.monotonic()
        self._file = CsvFile(file, StateSample, 'state')
        self.samples: dict[str, list[StateSample]] = {'unconfigured': [], 'full': []}

    def unconfigured(self) -> None:
        """Now it has no model and nothing to do."""
        self._note('unconfigured')

    def full(self) -> None:
        """Now it has a fresh model, and its results that somebody is still to take."""
        self._note('full')

    def _note(self, state: str) -> None:
        held = typical_sample(self._pid, time.monotonic() - self._start)
        told = self._told()
        noted = StateSample(
            *astuple(held), float(told['heap in use [MB]']), int(told['Python blocks'])
        )
        self.samples[state].append(noted)
        self._file.add(state, *astuple(noted))


def typical_sample(pid: int, seconds: float) -> Sample:
    """The median, for each field, of what it holds during the next second."""
    read = []
    for _ in range(READS):
        read.append(astuple(sample(pid, seconds)))
        time.sleep(READ_GAP_S)
    return Sample(*map(statistics.median, zip(*read, strict=True)))


class CsvFile:
    """A table to which samples are added as they come."""

    def __init__(self, file: Path, kind: type[Sample], *columns: str) -> None:
        """Write the head: these columns, and those of a sample of that kind."""
        self._file = file
        names = [*columns, *(field.name for field in fields(kind))]
        file.write_text(','.join(names) + '\n')

    def add(self, *values: object) -> None:
        """Write a row."""
        texts = (v if isinstance(v, str) else f'{v:g}' for v in values)
        with self._file.open('a') as file:
            file.write(','.join(texts) + '\n')


class Sampler:
    """Takes a sample of a process each second, in a thread of its own."""

    def __init__(self, pid: int, file: Path) -> None:
        """Begin; the samples are written to a CSV file too."""
        self._file = CsvFile(file, Sample)
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
                self._file.add(*astuple(self.samples[-1]))
            except (OSError, KeyError):  # it has ended
                return


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples after the warm-up."""
    return samples[int(len(samples) * WARM_UP) :]


def first_and_last(samples: Sequence[Sample], field: str) -> tuple[float, float]:
    """The medians of a field over the first and the last fifth after the warm-up."""
    values = [getattr(s, field) for s in settled(samples)]
    fifth = max(1, len(values) // 5)
    return statistics.median(values[:fifth]), statistics.median(values[-fifth:])
