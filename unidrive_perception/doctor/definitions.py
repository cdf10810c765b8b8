# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares the messages that are built with their definitions: a stale build loses fields."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_msg

ROS_NAMES = {
    'bool': 'boolean',
    'byte': 'octet',
    'char': 'uint8',
    'float32': 'float',
    'float64': 'double',
}

Fields = Mapping[str, str]


def read_definitions(folder: Path, package: str) -> dict[str, tuple]:
    """Constants and fields of each ``.msg`` file in a folder, comments left out."""
    definitions = {}
    for file in sorted(folder.glob('*.msg')):
        name = f'{package}/msg/{file.stem}'
        definitions[file.stem] = get_types_from_msg(file.read_text(encoding='utf-8'), name)[name]
    return definitions


def installed_folder(package: str) -> Path | None:
    """The folder of a package's ``.msg`` files in the ROS environment."""
    for prefix in filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)):
        folder = Path(prefix, 'share', package, 'msg')
        if folder.is_dir():
            return folder
    return None


def differences(wanted: Mapping[str, tuple], built: Mapping[str, Fields]) -> list[str]:
    """What is wrong with the built classes: ``Detection lacks track_id``."""
    found = []
    for name, (_, fields) in wanted.items():
        if name not in built:
            found.append(f'{name} is missing')
            continue
        expected = {field: ros_type(kind) for field, kind in fields}
        mine = dict(built[name])
        if lacking := [field for field in expected if field not in mine]:
            found.append(f'{name} lacks {", ".join(lacking)}')
        elif list(expected.items()) != list(mine.items()):
            found.append(f'{name} has other fields')
    return found


def ros_type(node: tuple) -> str:
    """The name that rosidl gives a type of rosbags: ``sequence<unidrive_msgs/Detection>``."""
    kind, detail = node
    if kind == Nodetype.NAME:
        return detail.replace('/msg/', '/')
    if kind == Nodetype.BASE:
        name, limit = detail
        return f'{ROS_NAMES.get(name, name)}<{limit}>' if limit else ROS_NAMES.get(name, name)
    inner, count = ros_type(detail[0]), detail[1]
    if kind == Nodetype.ARRAY:
        return f'{inner}[{count}]'
    return f'sequence<{inner}, {count}>' if count else f'sequence<{inner}>'
