# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads an ``.mcap`` file whose end is missing: its recorder was killed, or a copy was cut short.

The format (mcap.dev/spec) is a sequence of records, then an index, which may be left out. So
the complete records followed by an empty index make a valid file; nothing is written for that.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

MAGIC = b'\x89MCAP0\r\n'
RECORD_HEADER = 9  # one byte of kind, eight of length
DATA_END = b'\x0f' + (4).to_bytes(8, 'little') + bytes(4)
FOOTER_WITHOUT_INDEX = b'\x02' + (20).to_bytes(8, 'little') + bytes(20)
END = DATA_END + FOOTER_WITHOUT_INDEX + MAGIC


def is_unfinished(path: Path) -> bool:
    """Say whether ``path`` begins as an mcap file and does not end as one."""
    with path.open('rb') as file:
        if path.suffix != '.mcap' or file.read(len(MAGIC)) != MAGIC:
            return False
        file.seek(-len(MAGIC), os.SEEK_END)
        return file.read() != MAGIC


class UnfinishedMcap:
    """Stands for the path of an unfinished file where rosbags opens one; reading finds an end."""

    suffix = '.mcap'

    def __init__(self, path: Path) -> None:
        """Find the complete records of the file at ``path``."""
        self.path = path
        self._size = _size_of_complete_records(path)

    def __str__(self) -> str:
        """Give the path itself, for messages."""
        return str(self.path)

    def exists(self) -> bool:
        """Say yes: the file was found before."""
        return True

    def is_dir(self) -> bool:
        """Say no: it is a file."""
        return False

    def open(self, mode: str) -> io.BufferedReader:
        """Open the complete records and an end, for reading."""
        assert mode == 'rb'
        return io.BufferedReader(_WithEnd(self.path, self._size))


class _WithEnd(io.RawIOBase):
    """The first ``size`` bytes of a file, then an mcap end."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open('rb')
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._size + len(END))
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        if self._position < self._size:
            self._file.seek(self._position)
            data = self._file.read(min(len(buffer), self._size - self._position))
        else:
            begin = self._position - self._size
            data = END[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _size_of_complete_records(path: Path) -> int:
    size = path.stat().st_size
    end = len(MAGIC)
    with path.open('rb') as file:
        while True:
            file.seek(end)
            header = file.read(RECORD_HEADER)
            next_end = end + RECORD_HEADER + int.from_bytes(header[1:], 'little')
            if len(header) < RECORD_HEADER or next_end > size or header[0] in (0, DATA_END[0]):
                return end
            end = next_end
