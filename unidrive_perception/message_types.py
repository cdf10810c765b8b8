# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Message definitions, most of them without ROS: ``rosbags`` type stores with ``unidrive_msgs``.

The common packages (``sensor_msgs``, ``std_msgs``, ...) come with rosbags. Ours, and any other
package that is installed, are read from the ``.msg`` files of the ROS environment
(``AMENT_PREFIX_PATH``); ours are found in the source tree too.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from rosbags.convert.converter import is_same_wireformat, migrate_bytes
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.typesys import (
    Stores,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from unidrive_perception.image_topics import COMPRESSED, IMAGE

OWN_PACKAGE = 'unidrive_msgs'
IMAGES = (IMAGE, COMPRESSED)
"""What these are is not up to a bag: they are used by their fields."""
SOURCE_TREE = Path(__file__).resolve().parents[1]


def default_typestore() -> Typestore:
    """Return a new store: the common ROS 2 messages and, where found, ``unidrive_msgs``."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict = {}
    for file in sorted(_own_folder().glob('*.msg')):
        types.update(_parsed(file.read_text(), f'{OWN_PACKAGE}/msg/{file.stem}'))
    store.register(types)
    return store


@functools.lru_cache(maxsize=100)  # it takes longer than all else at opening a bag
def _parsed(definition: str, name: str) -> dict:
    return get_types_from_msg(definition, name)


def installed_typestore(msgtype: str) -> Typestore | None:
    """Return a store with ``msgtype`` and all it contains as installed here, or None if it is not.

    The definitions of the running ROS distribution may be newer than those that come with rosbags,
    so a recorder writes these.
    """
    types: dict = {}
    missing = [msgtype]
    while missing:
        name = missing.pop()
        text = _installed_definition(name)
        if text is None:
            return None
        types.update(get_types_from_msg(text, name))
        missing += [used for used in _used_types(types[name]) if used not in types]
    store = get_typestore(Stores.EMPTY)
    store.register({name: fields for name, fields in types.items() if name not in store.fielddefs})
    return store


def message_class(msgtype: str) -> type | None:
    """Return the class of a message type for rclpy, or None if its package is not built here."""
    package, _, name = msgtype.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None


class BagTypes:
    """The message types of one bag: as its own definitions say, else as we know them."""

    def __init__(self, connections: Collection[Connection], is_rosbag1: bool) -> None:
        """Take the connections of an open bag."""
        self._base = default_typestore()
        self._connections = {conn.msgtype: conn for conn in connections}
        self._is_rosbag1 = is_rosbag1
        self._stores: dict[str, Typestore] = {}
        self._converters: dict[str, Callable[[bytes], memoryview] | None] = {}

    def store(self, msgtype: str) -> Typestore:
        """Return a store that knows ``msgtype`` the way the bag does."""
        if self._is_rosbag1:
            return self._base
        if msgtype not in self._stores:
            own = None if msgtype in IMAGES else self._own_store(msgtype)
            same = own is not None and self._is_same(own, msgtype)
            self._stores[msgtype] = self._base if same or own is None else own
        return self._stores[msgtype]

    def is_convertible(self, msgtype: str) -> bool:
        """Say whether messages of this type can be given as ROS 2 messages."""
        return not self._is_rosbag1 or self._converter(msgtype) is not None

    def to_cdr(self, data: bytes, msgtype: str) -> memoryview:
        """Convert one message of a rosbag1."""
        converter = self._converter(msgtype)
        assert converter is not None, msgtype
        return converter(data)

    def _own_store(self, msgtype: str) -> Typestore | None:
        """Return a store of the definitions that stand in the bag, None where there are none."""
        definition = self._connections[msgtype].msgdef
        store = get_typestore(Stores.EMPTY)
        try:
            if definition.format == MessageDefinitionFormat.MSG and definition.data:
                types = get_types_from_msg(definition.data, msgtype)
            elif definition.format == MessageDefinitionFormat.IDL:
                types = _types_from_idl(definition.data)
            else:
                return None
            store.register({n: fields for n, fields in types.items() if n not in store.fielddefs})
            store.get_msgdef(msgtype)
        except Exception:  # wrong or incomplete: the type may still be one that we know
            return None
        return store

    def _is_same(self, own: Typestore, msgtype: str) -> bool:
        """Say whether the bag has the type as we know it."""
        try:
            return msgtype in self._base.fielddefs and is_same_wireformat(
                own, self._base, msgtype, msgtype
            )
        except Exception:  # of a definition that contains itself, or what is nowhere
            return False

    def _converter(self, msgtype: str) -> Callable[[bytes], memoryview] | None:
        if msgtype not in self._converters:
            self._converters[msgtype] = self._make_converter(msgtype)
        return self._converters[msgtype]

    def _make_converter(self, msgtype: str) -> Callable[[bytes], memoryview] | None:
        """Return what turns a rosbag1 message into CDR, None where that cannot be."""
        source, target = self._own_store(msgtype), self._base
        if source is None or msgtype not in target.fielddefs:
            return None
        if self._is_same(source, msgtype):
            return lambda data: target.ros1_to_cdr(data, msgtype)
        cache: dict[str, object] = {}
        return lambda data: migrate_bytes(
            source, target, msgtype, msgtype, cache, data, src_is2=False, dst_is2=True
        )


def _prefixes() -> Iterator[Path]:
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if prefix:
            yield Path(prefix)


def _own_folder() -> Path:
    """Return the folder of our ``.msg`` files: the installed package, else the source tree."""
    for prefix in _prefixes():
        folder = prefix / 'share' / OWN_PACKAGE / 'msg'
        if folder.is_dir():
            return folder
    return SOURCE_TREE / OWN_PACKAGE / 'msg'


def _installed_definition(msgtype: str) -> str | None:
    package, _, name = msgtype.split('/')
    for prefix in _prefixes():
        file = prefix / 'share' / package / 'msg' / f'{name}.msg'
        if file.is_file():
            return file.read_text()
    return None


def _used_types(definition: tuple) -> Iterator[str]:
    """Yield the names of the message types among the fields of one parsed definition."""
    for _, (kind, detail) in definition[1]:
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, detail = detail[0]
        if kind == Nodetype.NAME:
            yield detail


def _types_from_idl(text: str) -> dict:
    """Parse the IDL definitions of a bag, which stand one after the other, lines between them."""
    separator = '=' * 80 + '\n'
    parts = [part.split('\n', 1)[1] for part in text.split(separator) if part.startswith('IDL: ')]
    types: dict = {}
    for part in parts or [text]:
        types.update(get_types_from_idl(part))
    return types
