# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags without ROS: one reader for rosbag2 (sqlite3, mcap) and rosbag1, and a rosbag2 writer.

What the reader yields is ROS 2 everywhere: messages of a rosbag1 are converted to CDR as they are
read, so nobody else has to know where a message came from.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rosbags import rosbag1, rosbag2
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys.store import Typestore

from unidrive_perception.bag_files import is_bag, storage_files
from unidrive_perception.errors import UserError
from unidrive_perception.message_types import BagTypes, default_typestore
from unidrive_perception.unfinished_mcap import UnfinishedMcap, is_unfinished

STORAGES = {'mcap': rosbag2.StoragePlugin.MCAP, 'sqlite3': rosbag2.StoragePlugin.SQLITE3}
FOREVER = QosTime(sec=9223372036, nsec=854775807)
LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=1,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=FOREVER,
    lifespan=FOREVER,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=FOREVER,
    avoid_ros_namespace_conventions=False,
)
"""For a topic whose last message late subscribers shall get when the bag is played."""


class BagError(UserError):
    """A bag cannot be read or written; the message says which and why."""


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
        self._reader, self.damage = _open_reader(path)
        self._is_rosbag1 = isinstance(self._reader, rosbag1.Reader)
        self._types = BagTypes(self._reader.connections, self._is_rosbag1)
        self.topics = _topics(self._reader.connections)

    def __enter__(self) -> BagReader:
        """Give the reader; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    @property
    def message_count(self) -> int:
        """Number of messages of all topics, as the bag's index says."""
        return self._reader.message_count

    @property
    def start_ns(self) -> int:
        """When the first message was recorded; 0 for an empty bag."""
        return self._reader.start_time if self.message_count else 0

    @property
    def end_ns(self) -> int:
        """When the last message was recorded; 0 for an empty bag."""
        return self._reader.end_time - 1 if self.message_count else 0

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
        if not connections:
            return
        count = 0
        try:
            for conn, stamp_ns, data in self._reader.messages(connections, start=start_ns):
                if self._is_rosbag1:
                    data = self._types.to_cdr(data, conn.msgtype)
                yield BagMessage(conn.topic, conn.msgtype, stamp_ns, data)
                count += 1
        except Exception as error:  # whatever the libraries make of damaged bytes
            self.damage = (
                f'{self.path} is damaged: {count} messages were read, the rest is lost ({error})'
            )

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
                f'is not a readable {message.msgtype} ({error})'
            ) from error

    def close(self) -> None:
        """Close the files."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _open_reader(path: Path) -> tuple[rosbag1.Reader | rosbag2.Reader, str | None]:
    """Return an open reader, and what to tell the user about a bag whose end is missing."""
    if not path.exists():
        raise BagError(f'there is no bag {path}')
    if not is_bag(path):
        raise BagError(
            f'{path} is no bag: expected a rosbag2 folder or a .mcap, .db3 or .bag file'
        )
    files = storage_files(path) if path.is_dir() else [path]
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        if len(files) > 1:
            raise BagError(
                f'the bag {path} has no metadata.yaml and several storage files: write it with '
                f'`ros2 bag reindex {path}`, or give one of the files'
            )
        path = files[0]
    if len(files) == 1 and is_unfinished(files[0]):
        damage = f'{path} was never finished: only its complete messages are read'
        return _opened(UnfinishedMcap(files[0])), damage
    return _opened(path), None


def _opened(path: Path | UnfinishedMcap) -> rosbag1.Reader | rosbag2.Reader:
    try:
        reader = rosbag1.Reader(path) if path.suffix == '.bag' else rosbag2.Reader(path)
        reader.open()
    except Exception as error:  # whatever the library makes of damaged bytes
        raise BagError(f'the bag {path} cannot be opened: {error}') from error
    return reader


def _offered_qos(conn: Connection) -> tuple[Qos, ...]:
    if isinstance(conn.ext, ConnectionExtRosbag1):
        return (LATCHED,) if conn.ext.latching else ()
    return tuple(conn.ext.offered_qos_profiles)


def _topics(connections: Collection[Connection]) -> dict[str, BagTopic]:
    """Join the connections (one per publisher in a rosbag1) of each topic."""
    topics: dict[str, BagTopic] = {}
    for conn in connections:
        before = topics.get(conn.topic)
        topics[conn.topic] = BagTopic(
            conn.topic,
            conn.msgtype,
            conn.msgcount + (before.count if before else 0),
            _offered_qos(conn),
        )
    return topics


class BagWriter:
    """Writes a rosbag2 folder; a context manager.

    Everything goes to a temporary folder beside ``path``, which takes its name at ``close()``: no
    half-written bag is ever found there, and after an error nothing remains.
    """

    def __init__(self, path: str | Path, storage: str = 'mcap', compress: bool = False) -> None:
        """Start a bag at ``path``, stored as 'mcap' (``compress``: with zstd) or 'sqlite3'.

        Raises BagError where that cannot be.
        """
        self.path = Path(path)
        self.counts: dict[str, int] = {}
        self.typestore = default_typestore()
        self._connections: dict[str, Connection] = {}
        if storage not in STORAGES:
            raise BagError(f'unknown bag storage {storage!r}: it is one of {", ".join(STORAGES)}')
        if self.path.exists():
            raise BagError(f'{self.path} exists already: remove it or choose another name')
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent)
        except OSError as error:
            raise BagError(f'the bag {self.path} cannot be written: {error.strerror}') from error
        self._folder = Path(folder)
        self._writer = rosbag2.Writer(self.unfinished, version=8, storage_plugin=STORAGES[storage])
        if compress and storage == 'mcap':
            self._writer.set_compression(
                rosbag2.CompressionMode.STORAGE, rosbag2.CompressionFormat.ZSTD
            )
        try:
            with self._writing():
                self._writer.open()
        except BagError:
            self.abort()
            raise

    def __enter__(self) -> BagWriter:
        """Give the writer; leaving the block finishes the bag, an error removes it."""
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        """Finish the bag, or remove it where there was an error."""
        if error_type is not None:
            self.abort()
            return
        try:
            self.close()
        except BagError:
            self.abort()
            raise

    @property
    def unfinished(self) -> Path:
        """Where the bag lies until it is finished."""
        return self._folder / self.path.name

    def add_topic(
        self, topic: str, msgtype: str, qos: Collection[Qos] = (), store: Typestore | None = None
    ) -> None:
        """Declare ``topic``; ``store`` knows ``msgtype`` where the default store does not.

        Only needed for a QoS, a type of another package, or a topic that may stay empty.
        """
        store = store or self.typestore
        if msgtype not in store.fielddefs:
            raise BagError(
                f'{topic}: the definition of {msgtype} is not known, so it cannot be written'
            )
        with self._writing():
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=store, offered_qos_profiles=tuple(qos)
            )
        self.counts[topic] = 0

    def write(self, topic: str, message: object, stamp_ns: int) -> None:
        """Append a message made with ``typestore`` (see ``messages.BagFactory``)."""
        msgtype = message.__msgtype__
        self.write_raw(topic, msgtype, self.typestore.serialize_cdr(message, msgtype), stamp_ns)

    def write_raw(self, topic: str, msgtype: str, data: bytes | memoryview, stamp_ns: int) -> None:
        """Append a message that is CDR bytes already."""
        if topic not in self._connections:
            self.add_topic(topic, msgtype)
        with self._writing():
            self._writer.write(self._connections[topic], stamp_ns, data)
        self.counts[topic] += 1

    def close(self) -> None:
        """Finish the bag and give it its name; after an error what was written is still there."""
        with self._writing():
            self._writer.close()
            os.rename(self.unfinished, self.path)
        self._folder.rmdir()

    def abort(self) -> None:
        """Give up: remove what was written."""
        with contextlib.suppress(Exception):  # we are leaving because of another error
            self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell of a full disk and the like as a BagError."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise BagError(f'the bag {self.path} cannot be written: {error}') from error
