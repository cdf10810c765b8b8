# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What makes messages; the builders of :mod:`~unidrive_perception.messages` take either.

:class:`RosFactory` makes those of a ROS environment, :class:`BagFactory` those of a bag's type
store, without ROS.
"""

from __future__ import annotations

import array
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from unidrive_perception.array_memory import array_behind
from unidrive_perception.errors import UserError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

Message = Any  # rosidl and rosbags have no common base class


class MessagesMissingError(UserError):
    """The messages of this package are not there; the sentence says how to build them."""

    def __init__(self) -> None:
        """Take no arguments: the sentence is always the same."""
        super().__init__(
            'unidrive_msgs is not built or not sourced: run `colcon build --base-paths . '
            'unidrive_msgs` in the UniDrive folder, then `source install/setup.bash`'
        )


class RosFactory:
    """Makes messages of the sourced ROS environment."""

    def __init__(self) -> None:
        """Raise MessagesMissingError where the environment lacks our messages."""
        try:
            own = importlib.import_module('unidrive_msgs.msg')
        except ImportError:
            own = None
        # In the source folder the import gives an empty namespace package, so ask for a type.
        if not hasattr(own, 'DetectionArray'):
            raise MessagesMissingError
        self._types: dict[str, type] = {}

    def __call__(self, msgtype: str, **fields: Any) -> Message:
        """Make one message of type 'package/msg/Name'."""
        if msgtype not in self._types:
            package, _, name = msgtype.split('/')
            self._types[msgtype] = getattr(importlib.import_module(f'{package}.msg'), name)
        data = fields.pop('data', None)
        message = self._types[msgtype](**fields)
        if isinstance(data, array.array):
            message._data = data  # rosidl's constructor and, since Jazzy, its setter copy it each
        elif data is not None:
            message.data = data
        return message

    @staticmethod
    def uint8_array(values: np.ndarray) -> array.array:
        """Return the values in the one container that rosidl takes without testing each byte.

        It is the memory of ``values`` itself where these are of :func:`~.array_memory.new_uint8`.
        """
        data = array_behind(values)
        if data is None:
            data = array.array('B')
            data.frombytes(_flat_bytes(values))
        return data


class BagFactory:
    """Makes messages without ROS, for a bag."""

    def __init__(self, typestore: Typestore) -> None:
        """Make the types of ``typestore``, e.g. ``BagWriter.typestore``."""
        self._types = typestore.types

    def __call__(self, msgtype: str, **fields: Any) -> Message:
        """Make one message of type 'package/msg/Name'; every field must be given.

        Raises MessagesMissingError where the definitions of our own messages were not found.
        """
        if msgtype not in self._types:
            raise MessagesMissingError
        return self._types[msgtype](**fields)

    @staticmethod
    def uint8_array(values: np.ndarray) -> np.ndarray:
        """Return the values as a flat array, a view where that is possible."""
        return np.frombuffer(_flat_bytes(values), np.uint8)


MessageFactory = RosFactory | BagFactory


def _flat_bytes(values: np.ndarray) -> memoryview:
    """Return the bytes of a uint8 array row by row, copied only if it is not contiguous."""
    return memoryview(np.ascontiguousarray(values, np.uint8)).cast('B') if values.size else b''
