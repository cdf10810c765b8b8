# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Message definitions without ROS: a ``rosbags`` type store that knows ``unidrive_msgs``.

The common packages (``sensor_msgs``, ``std_msgs``, ...) come with rosbags. Ours, and any other
package that is installed, are read from the ``.msg`` files of the ROS environment
(``AMENT_PREFIX_PATH``); ours are found in the source tree too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

OWN_PACKAGE = 'unidrive_msgs'
SOURCE_TREE = Path(__file__).resolve().parents[1]


def default_typestore() -> Typestore:
    """Return a new store: the common ROS 2 messages and, where found, ``unidrive_msgs``."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict = {}
    for file in sorted(_own_folder().glob('*.msg')):
        types.update(get_types_from_msg(file.read_text(), f'{OWN_PACKAGE}/msg/{file.stem}'))
    store.register(types)
    return store


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
