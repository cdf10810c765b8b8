# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Opens a bag with rosbags, whatever became of it, and finds out what really is in it.

Bags are cut off when a robot loses power, copied without their metadata.yaml, and renamed. What
can be read is read, and the user is told what is missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Connection

from unidrive_perception.bags.files import is_bag, storage_files
from unidrive_perception.bags.unfinished_mcap import UnfinishedMcap, is_unfinished
from unidrive_perception.bounded_yaml import YamlError, read_bounded_yaml
from unidrive_perception.errors import UserError, nothing_at, one_line

Reader = rosbag1.Reader | rosbag2.Reader

ROSBAG1_MAGIC = b'#ROSBAG V2.0\n'
LATEST_NS = 2**31 * 10**9
"""Times from here on are not in a ROS message, whose seconds are an int32."""

MOST_CHARACTERS = 500
"""Of a topic or type; ROS has no longer names."""


class BagError(UserError):
    """A bag cannot be read or written; one line says which and why."""

    def __str__(self) -> str:
        """Give the line, whatever names and errors are in it."""
        return one_line(super().__str__())


class OpenBag(NamedTuple):
    """An open bag: ``damage`` is what to tell the user about one that is not whole.

    ``counts`` are the messages of each topic and type, ``begin_ns`` and ``end_ns`` when the first
    and the last was recorded: as the files say that hold them, not as metadata.yaml does.
    """

    reader: Reader
    damage: str | None
    counts: dict[tuple[str, str], int]
    begin_ns: int
    end_ns: int


def open_files(path: Path) -> OpenBag:
    """Open the bag at ``path``; raises BagError."""
    try:
        reader, damage = _open_reader(path)
    except OSError as error:
        raise BagError(f'the bag {path} cannot be opened: {error.strerror}') from error
    try:
        return OpenBag(reader, damage, *_contents(reader))
    except Exception as error:  # of what a damaged index may hold
        close(reader)
        raise BagError(f'the bag {path} cannot be opened: its index is damaged') from error


def close(reader: Reader) -> None:
    """Close the files; what metadata.yaml holds can be in the library's way."""
    with contextlib.suppress(Exception):
        reader.close()


def reason(error: Exception) -> str:
    """What a library says of damaged bytes, on one line of a bounded length."""
    text = one_line(str(error)[:300])
    known = isinstance(error, (rosbag1.ReaderError, rosbag2.ReaderError))
    return text if known and text else f'{type(error).__name__}: {text}'


def _open_reader(path: Path) -> tuple[Reader, str | None]:
    if not path.exists():
        raise BagError(nothing_at(path))
    if not is_bag(path):
        raise BagError(
            f'{path} is no bag: expected a rosbag2 folder or a .mcap, .db3 or .bag file'
        )
    if not path.is_dir():
        return _open_file(path)
    files = storage_files(path)
    for entry in path.iterdir():  # a named pipe would be waited for
        if entry.exists() and not entry.is_file() and not entry.is_dir():
            raise BagError(f'the bag {path} cannot be opened: {entry.name} is no regular file')
    if not (path / 'metadata.yaml').exists():
        if len(files) > 1:
            raise BagError(
                f'the bag {path} has no metadata.yaml and several storage files: write it with '
                f'`ros2 bag reindex {path}`, or give one of the files'
            )
        return _open_file(files[0])
    if len(files) == 1 and is_unfinished(files[0]):
        reader, damage = _open_file(files[0])
        return reader, f'{damage}{_promised(path)}'
    try:
        read_bounded_yaml(path / 'metadata.yaml')
        return _opened(path, lambda: rosbag2.Reader(path)), None
    except (YamlError, BagError) as error:
        if len(files) != 1:
            raise BagError(f'the bag {path} cannot be opened: {error}') from error
        reader, damage = _open_file(files[0])
        return reader, damage or f'{files[0]} is read without its metadata.yaml ({error})'


def _promised(folder: Path) -> str:
    """How many messages metadata.yaml tells of, to end a sentence with; '' where it does not."""
    try:
        told = read_bounded_yaml(folder / 'metadata.yaml')
        count = told['rosbag2_bagfile_information']['message_count']
    except (YamlError, KeyError, TypeError):
        return ''
    is_count = type(count) is int and 0 <= count < 1 << 63
    return f' (metadata.yaml tells of {count})' if is_count else ''


def _open_file(path: Path) -> tuple[Reader, str | None]:
    if not path.is_file():
        raise BagError(f'the bag {path} cannot be opened: it is no regular file')
    if is_unfinished(path):
        damage = f'{path} was never finished: only its complete messages are read'
        return _opened(path, lambda: rosbag2.Reader(UnfinishedMcap(path))), damage
    if path.suffix != '.bag':
        return _opened(path, lambda: rosbag2.Reader(path)), None
    with path.open('rb') as file:
        if file.read(len(ROSBAG1_MAGIC)) != ROSBAG1_MAGIC:  # rosbags reads on to a line's end
            raise BagError(f'the bag {path} cannot be opened: it is empty or no rosbag1')
    return _opened(path, lambda: rosbag1.Reader(path)), None


def _opened(path: Path, make: Callable[[], Reader]) -> Reader:
    try:
        reader = make()
        reader.open()
    except Exception as error:  # whatever the library makes of damaged bytes
        raise BagError(f'the bag {path} cannot be opened: {reason(error)}') from error
    return reader


def _contents(reader: Reader) -> tuple[dict[tuple[str, str], int], int, int]:
    """Return counts, begin and end; raises some error where they cannot be."""
    counts: dict[tuple[str, str], int] = {}
    for conn in reader.connections:
        counts[_name(conn)] = 0
    for conn in _stored_connections(reader):
        _check(isinstance(conn.msgcount, int) and conn.msgcount >= 0)
        if _name(conn) in counts:
            counts[_name(conn)] += conn.msgcount
    if not sum(counts.values()):
        return counts, 0, 0
    parts = [part for part in _parts(reader) if part.message_count]
    begin, end = min(p.start_time for p in parts), max(p.end_time for p in parts) - 1
    _check(isinstance(begin, int) and isinstance(end, int))
    begin = min(max(begin, 0), LATEST_NS - 1)  # one damaged time is no reason to read nothing
    return counts, begin, min(max(end, begin), LATEST_NS - 1)


def _name(conn: Connection) -> tuple[str, str]:
    _check(isinstance(conn.topic, str) and isinstance(conn.msgtype, str))
    _check((conn.topic + conn.msgtype).isprintable() and len(conn.topic) < MOST_CHARACTERS)
    _check(len(conn.msgtype) < MOST_CHARACTERS)
    return conn.topic, conn.msgtype


def _stored_connections(reader: Reader) -> Collection[Connection]:
    if isinstance(reader, rosbag2.Reader) and hasattr(reader.storage, 'storages'):
        return [conn for part in reader.storage.storages for conn in part.connections]
    return reader.connections


def _parts(reader: Reader) -> list:
    """Return what knows counts and times: the files of a folder, or the reader of the one file."""
    if isinstance(reader, rosbag2.Reader) and hasattr(reader.storage, 'storages'):
        return [part.metadata for part in reader.storage.storages]
    return [reader]


def _check(is_right: bool) -> None:
    if not is_right:
        raise ValueError
