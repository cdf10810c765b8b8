# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags without ROS: one reader for rosbag2 (sqlite3, mcap) and rosbag1, and a rosbag2 writer.

What the reader yields is ROS 2 everywhere: messages of a rosbag1 are converted to CDR as they are
read, so nobody else has to know where a message came from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rosbags import rosbag1
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    Qos,
)
from rosbags.typesys.store import Typestore

from unidrive_perception.bags.files import is_bag
from unidrive_perception.bags.opening import LATEST_NS, BagError, close, open_files, reason
from unidrive_perception.bags.writer import FOREVER, LATCHED, STORAGES, BagWriter
from unidrive_perception.errors import quoted
from unidrive_perception.message_types import BagTypes

__all__ = [
    'FOREVER',
    'LATCHED',
    'STORAGES',
    'BagError',
    'BagMessage',
    'BagReader',
    'BagTopic',
    'BagWriter',
    'is_bag',
    'open_bag',
]


class BagMessage(NamedTuple):
    """One message: ``data`` is its CDR serialisation, ``stamp_ns`` the time of its recording."""

    topic: str
    msgtype: str
    stamp_ns: int
    data: bytes | memoryview


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: its type, how many messages it has, and the QoS its publishers offered."""

    name: str
    msgtype: str
    count: int
    qos: tuple[Qos, ...] = ()


def open_bag(path: str | Path) -> BagReader:
    """Open a rosbag2 (folder, ``.mcap`` or ``.db3`` file) or a rosbag1 (``.bag``) for reading.

    Raises BagError where ``path`` is missing, is no bag, or cannot be opened.
    """
    return BagReader(Path(path))


class BagReader:
    """The messages of a bag in the order in which they were recorded. Use :func:`open_bag`.

    A bag that turns out damaged while it is read ends there: ``damage`` is then the sentence to
    show, and None as long as all is well.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag at ``path``."""
        self.path = path
        self._open = open_files(path)
        self._reader, self.damage = self._open.reader, self._open.damage
        self._is_rosbag1 = isinstance(self._reader, rosbag1.Reader)
        self._types = BagTypes(self._reader.connections, self._is_rosbag1)
        self.topics = _topics(self._reader.connections, self._open.counts)

    def __enter__(self) -> BagReader:
        """Give the reader; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    @property
    def message_count(self) -> int:
        """Number of messages of all topics, as the bag's index says."""
        return sum(self._open.counts.values())

    @property
    def start_ns(self) -> int:
        """When the first message was recorded; 0 for an empty bag."""
        return self._open.begin_ns

    @property
    def end_ns(self) -> int:
        """When the last message was recorded; 0 for an empty bag."""
        return self._open.end_ns

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Yield the messages of ``topics`` (None: all) that were recorded from ``start_ns`` on.

        Messages of a rosbag1 whose type ROS 2 cannot have are left out.
        """
        connections = [
            conn
            for conn in self._reader.connections
            if (topics is None or conn.topic in topics)
            and self._types.is_convertible(conn.msgtype)
        ]
        if connections:
            yield from self._read(connections, start_ns)

    def _read(
        self, connections: Collection[Connection], start_ns: int | None
    ) -> Iterator[BagMessage]:
        """Yield the messages that can be read, and say in ``damage`` what is lost."""
        count, lost = 0, 0
        try:
            for conn, stamp_ns, data in self._reader.messages(connections, start=start_ns):
                try:
                    message = self._message(conn, stamp_ns, data)
                except Exception as error:  # whatever the libraries make of damaged bytes
                    lost += 1
                    self._tell(
                        f'{lost} messages are left out, the last on {conn.topic} recorded at '
                        f'{quoted(stamp_ns)} ns ({reason(error)})'
                    )
                    continue
                yield message
                count += 1
        except Exception as error:  # the same
            self._tell(f'{count} messages were read, the rest is lost ({reason(error)})')
        names = {(conn.topic, conn.msgtype) for conn in connections}
        expected = sum(self._open.counts[name] for name in names)
        if start_ns is None and self.damage is None and count != expected:
            self._tell(f'{count} of its {expected} messages were read')

    def _tell(self, what: str) -> None:
        self.damage = f'{self.path} is damaged: {what}'

    def _message(self, conn: Connection, stamp_ns: int, data: bytes) -> BagMessage:
        """Check and convert what the library gives: a database holds values of any type."""
        if not isinstance(stamp_ns, int) or not 0 <= stamp_ns < LATEST_NS:
            raise ValueError('no time that ROS has')
        if not isinstance(data, (bytes, memoryview)):
            raise ValueError(f'it has no bytes but {type(data).__name__}')
        if self._is_rosbag1:
            data = self._types.to_cdr(data, conn.msgtype)
        return BagMessage(conn.topic, conn.msgtype, stamp_ns, data)

    def is_readable(self, topic: str) -> bool:
        """Say whether :meth:`messages` yields this topic (not so for some types of a rosbag1)."""
        return self._types.is_convertible(self.topics[topic].msgtype)

    def typestore(self, msgtype: str) -> Typestore:
        """Return a type store that knows ``msgtype`` as the messages of this bag have it."""
        return self._types.store(msgtype)

    def deserialize(self, message: BagMessage) -> object:
        """Return the message as an object with the fields of its type (arrays are NumPy views).

        Raises BagError where its bytes do not fit its type or the type is unknown.
        """
        try:
            return self._types.store(message.msgtype).deserialize_cdr(
                memoryview(message.data), message.msgtype
            )
        except Exception as error:  # whatever the library makes of damaged bytes
            raise BagError(
                f'{self.path}: the message on {message.topic} recorded at {message.stamp_ns} ns '
                f'is not a readable {message.msgtype} ({reason(error)})'
            ) from error

    def close(self) -> None:
        """Close the files."""
        if self._reader is not None:
            close(self._reader)
            self._reader = None


def _offered_qos(conn: Connection) -> tuple[Qos, ...]:
    if isinstance(conn.ext, ConnectionExtRosbag1):
        return (LATCHED,) if conn.ext.latching else ()
    return tuple(conn.ext.offered_qos_profiles)


def _topics(
    connections: Collection[Connection], counts: Mapping[tuple[str, str], int]
) -> dict[str, BagTopic]:
    """Join the connections (one per publisher in a rosbag1) of each topic."""
    totals: dict[str, int] = {}
    for (topic, _), count in counts.items():
        totals[topic] = totals.get(topic, 0) + count
    return {
        conn.topic: BagTopic(conn.topic, conn.msgtype, totals[conn.topic], _offered_qos(conn))
        for conn in connections
    }
