# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the perception node: one table with their meaning, limits and checks.

``config/perception.param.yaml`` repeats the names and defaults for users; a test keeps them equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_perception.predictor import DEVICES

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')
USE_BUNDLE_THRESHOLD = -1.0


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
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if isinstance(self.default, list):
            value = list(value) if isinstance(value, (list, tuple)) else value
        if type(value) is not type(self.default):
            raise self._error(f'of type {type(self.default).__name__}', value)
        if self.choices and value not in self.choices:
            raise self._error(f'one of {", ".join(self.choices)}', value)
        if self.low is not None and not self.low <= value <= self.high:
            raise self._error(f'from {self.low:g} to {self.high:g}', value)
        return value

    def _error(self, expected: str, value: Any) -> ParameterError:
        return ParameterError(f'parameter {self.name} must be {expected}, not {value!r}')


@dataclass(frozen=True)
class _ScoreThreshold(ParameterSpec):
    def check(self, value: Any) -> float:
        value = super().check(value)
        if value != USE_BUNDLE_THRESHOLD and not 0 <= value <= 1:
            raise self._error("from 0 to 1, or -1 for the model's own", value)
        return value


@dataclass(frozen=True)
class _Topics(ParameterSpec):
    def check(self, value: Any) -> list[str]:
        value = super().check(value)
        if not value or not all(value) or len(set(value)) != len(value):
            raise self._error('a list of at least one topic, each named once', value)
        return value


PARAMETERS = (
    ParameterSpec(
        'model_path',
        '',
        'Folder of the model bundle; empty for the one that comes with the package.',
    ),
    ParameterSpec(
        'device',
        'auto',
        'Where the model runs; auto takes a CUDA device if there is one.',
        choices=DEVICES,
    ),
    ParameterSpec('threads', 0, 'CPU threads of the model; 0 for one per core.', low=0, high=256),
    _Topics(
        'image_topics',
        ['image'],
        'Topics of the cameras. Results of all come out on the same topics, told apart by the '
        'frame_id of their header.',
    ),
    ParameterSpec(
        'image_transport',
        'raw',
        'raw subscribes sensor_msgs/Image; compressed subscribes sensor_msgs/CompressedImage on '
        'the topic with /compressed appended.',
        choices=TRANSPORTS,
    ),
    ParameterSpec(
        'image_reliability',
        'best_effort',
        'Reliability that the image subscription asks for. best_effort takes images of every '
        'publisher; reliable only those of reliable ones.',
        choices=RELIABILITIES,
    ),
    _ScoreThreshold(
        'score_threshold',
        USE_BUNDLE_THRESHOLD,
        "Smallest score of a published detection, 0 to 1; -1 for the model's own.",
        read_only=False,
        low=-1.0,
        high=1.0,
    ),
    ParameterSpec(
        'mask_downscale',
        1,
        'Masks are published at 1/n of the height and width of the image, to save transport.',
        read_only=False,
        low=1,
        high=16,
    ),
    ParameterSpec(
        'no_image_warning_s',
        5.0,
        'Seconds without an image after which the node warns and diagnostics turn stale.',
        read_only=False,
        low=0.1,
        high=3600.0,
    ),
    ParameterSpec(
        'autostart',
        True,
        'Configure and activate at start; false where a lifecycle manager does that.',
    ),
)

TABLE = {spec.name: spec for spec in PARAMETERS}


def check_all(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of any of our parameters; raises :class:`ParameterError`."""
    return {name: TABLE[name].check(value) for name, value in values.items() if name in TABLE}


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Names that are no parameter but nearly one, with the one that was probably meant.

    ROS ignores unknown parameters without a word, and a parameter file may serve several nodes,
    so only what looks like a slip is reported.
    """
    meant = {}
    for name in names:
        close = difflib.get_close_matches(name, TABLE, n=1, cutoff=0.8)
        if name not in TABLE and close:
            meant[name] = close[0]
    return meant
