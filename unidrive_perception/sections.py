# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A mapping that was read from a file, whose values are checked as they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError, quoted

MAX_TEXT = 200
MAX_NUMBER = 1e6


class Section:
    """A mapping of a file; each value is asked for once, and left-over keys are errors.

    Errors are of the type ``fail`` and name the file, the place (``where``) and what is right.
    """

    def __init__(self, path: Path, where: str, content: Any, fail: type[UserError]) -> None:
        """Take what was read at ``where``."""
        self._path, self._where, self._fail = path, where, fail
        if not isinstance(content, dict):
            raise self.error(f'must be a mapping, not {quoted(content)}', '')
        self._rest = dict(content)

    def error(self, problem: str, key: str) -> UserError:
        """Return the error that tells of a problem with the value of ``key``."""
        place = '.'.join(part for part in (self._where, key) if part)
        return self._fail(f'{self._path}: {place + ": " if place else ""}{problem}')

    def take(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        """Return a value of the type ``kind``, called ``expected`` in errors."""
        if key not in self._rest:
            raise self.error(f'is missing; it must be {expected}', key)
        value = self._rest.pop(key)
        # bool is an int to Python, not to the author of a file
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(key, expected, value)
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``."""
        expected = f'an integer from {low} to {high}'
        value = self.take(key, int, expected)
        if not low <= value <= high:
            raise self._wrong(key, expected, value)
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        expected = f'a number from {low:g} to {high:g}'
        value = self.take(key, (int, float), expected)
        if not low <= value <= high:  # NaN too
            raise self._wrong(key, expected, value)
        return float(value)

    def text(self, key: str) -> str:
        """Return a text that can be shown on one line."""
        expected = f'a text of 1 to {MAX_TEXT} printable characters'
        value = self.take(key, str, expected)
        if not (0 < len(value) <= MAX_TEXT and value.isprintable()):
            raise self._wrong(key, expected, value)
        return value

    def triple(self, key: str, kind: type | tuple[type, ...], expected: str) -> tuple:
        """Return three numbers of the type ``kind``, of a size that pixels can have."""
        value = self.take(key, list, expected)
        if len(value) != 3 or not all(
            isinstance(v, kind) and not isinstance(v, bool) and abs(v) <= MAX_NUMBER for v in value
        ):
            raise self._wrong(key, expected, value)
        return tuple(value)

    def section(self, key: str) -> Section:
        """Return a mapping within."""
        where = '.'.join(part for part in (self._where, key) if part)
        return Section(self._path, where, self.take(key, dict, 'a mapping'), self._fail)

    def sections(self, key: str) -> list[Section]:
        """Return the mappings of a list within."""
        where = '.'.join(part for part in (self._where, key) if part)
        rows = self.take(key, list, 'a list')
        return [
            Section(self._path, f'{where}[{i}]', row, self._fail) for i, row in enumerate(rows)
        ]

    def has(self, key: str) -> bool:
        """Say whether there is a value of ``key`` that was not taken yet."""
        return key in self._rest

    def finish(self, *known: str) -> None:
        """Raise the error about a key that is not ``known``, if there is one."""
        if self._rest:
            key = next(iter(self._rest))
            plain = isinstance(key, str) and key.isidentifier() and len(key) <= MAX_TEXT
            place = key if plain else quoted(key)
            raise self.error(f'unknown key; known are {", ".join(known)}', place)

    def _wrong(self, key: str, expected: str, value: Any) -> UserError:
        return self.error(f'must be {expected}, not {quoted(value)}', key)
