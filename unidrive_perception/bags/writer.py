# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes rosbag2 folders without ROS; imported from :mod:`unidrive_perception.bags.reader`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags import rosbag2
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys.store import Typestore

from unidrive_perception.bags.opening import BagError
from unidrive_perception.message_types import default_typestore

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
