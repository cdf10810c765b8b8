# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a parameter of the perception node may be: its type, limits and check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_perception.node.frame_messages import TOPIC_TYPES

USE_BUNDLE_THRESHOLD = -1.0
NOT_CAMERAS = ('timing', 'labels', 'enable', *(name for name in TOPIC_TYPES if '/' not in name))
"""Names that are topics of the node already."""
TYPES = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    list: 'a list of text',
}


class ParameterError(UserError):
    """A parameter has a value that the node cannot use."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter: its default tells its type; ``low`` and ``high`` are inclusive limits."""

    name: str
    default: bool | int | float | str | list[str]
    description: str
    read_only: bool = True
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """The value as the type of the default, an int where a double is meant too.

        Raises :class:`ParameterError` with one sentence.
        """
        value = self._typed(value)
        if self.choices and value not in self.choices:
            raise self._error(f'one of {", ".join(self.choices)}', value)
        if self.low is not None and not self.low <= value <= self.high:
            raise self._error(f'from {self.low:g} to {self.high:g}', value)
        return value

    def _typed(self, value: Any) -> Any:
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if isinstance(self.default, list) and isinstance(value, (list, tuple)):
            value = list(value)
            fits = all(isinstance(item, str) for item in value)
        else:
            fits = type(value) is type(self.default)
        if not fits:
            raise self._error(TYPES[type(self.default)], value)
        return value

    def _error(self, expected: str, value: Any) -> ParameterError:
        return ParameterError(f'parameter {self.name} must be {expected}, not {value!r}')


@dataclass(frozen=True)
class Limit(ParameterSpec):
    """A number from ``least`` to ``high``, or 0 for no limit; ``low``, for ROS, is 0."""

    least: float = 0.0

    def check(self, value: Any) -> float:
        """As that of :class:`ParameterSpec`."""
        value = self._typed(value)
        if value and not self.least <= value <= self.high:
            raise self._error(f'0, or from {self.least:g} to {self.high:g}', value)
        return value


@dataclass(frozen=True)
class ScoreThreshold(ParameterSpec):
    """A score, or the sign that the bundle's own holds."""

    def check(self, value: Any) -> float:
        """As that of :class:`ParameterSpec`."""
        value = self._typed(value)  # its limits would allow what lies between -1 and 0
        if value != USE_BUNDLE_THRESHOLD and not 0 <= value <= 1:
            raise self._error("from 0 to 1, or -1 for the model's own", value)
        return value


@dataclass(frozen=True)
class TopicName(ParameterSpec):
    """A topic; what else is wrong with a name ROS says when it is subscribed to."""

    def check(self, value: Any) -> str:
        """As that of :class:`ParameterSpec`."""
        value = super().check(value)
        if not value:
            raise self._error('the name of a topic', value)
        return value


@dataclass(frozen=True)
class Choices(ParameterSpec):
    """Some of ``choices``, each at most once."""

    def check(self, value: Any) -> list[str]:
        """As that of :class:`ParameterSpec`."""
        value = self._typed(value)
        if not value or len(set(value)) != len(value) or set(value) - set(self.choices):
            raise self._error(f'one or more of {", ".join(self.choices)}, each once', value)
        return value


@dataclass(frozen=True)
class CameraNames(ParameterSpec):
    """Names of cameras that can be parts of topics, or one empty name."""

    def check(self, value: Any) -> list[str]:
        """As that of :class:`ParameterSpec`."""
        value = super().check(value)
        named = [name for name in value if name]
        if not value or len(set(value)) != len(value):
            raise self._error('a list of different names', value)
        if named and len(named) < len(value):
            raise self._error('names that are not empty, where there are several', value)
        if not all(re.fullmatch('[A-Za-z][A-Za-z0-9_]*', name) for name in named):
            raise self._error('names of letters, digits and _, a letter first', value)
        if taken := [name for name in named if name in NOT_CAMERAS]:
            raise self._error(f'other names than {", ".join(NOT_CAMERAS)}', taken[0])
        return value
