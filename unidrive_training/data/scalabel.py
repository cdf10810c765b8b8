# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads a Scalabel label file frame by frame, in both its forms and in bounded memory.

BDD100K's ``det_train.json`` is some 400 MB of text; as Python objects it would be several GB, in
every process of a training job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_CHUNK = 1 << 22  # characters


class FrameFile:
    """Iterating gives the frames of ``[frame, …]`` or ``{frames: […], config: {…}}``.

    ``config``: that of the second form, complete when the iteration has ended. Raises ValueError
    where the text is not JSON of either form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with open(self.path, encoding='utf-8') as file:
            text = _JsonText(file)
            if text.peek() == '[':
                yield from text.items()
            else:
                found = False
                for key in text.members():
                    if key == 'frames':
                        found = True
                        yield from text.items()
                    elif key == 'config':
                        self.config = text.value()
                    else:
                        text.value()
                if not found:
                    raise ValueError("no 'frames'")
            if text.peek():
                raise ValueError(f'{text.peek()!r} after the end')


class _JsonText:
    """A reader of JSON text that holds a part of it; containers are entered or taken whole."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at = file, '', 0
        self._decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[Any]:
        """The values of the array that begins here."""
        self._take('[')
        if self.peek() != ']':
            yield self.value()
            while self._take(',]') == ',':
                yield self.value()
        else:
            self._take(']')

    def members(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller takes each value."""
        self._take('{')
        if self.peek() != '}':
            yield self._key()
            while self._take(',}') == ',':
                yield self._key()
        else:
            self._take('}')

    def value(self) -> Any:
        """The value that begins here."""
        self.peek()
        chunk = _CHUNK
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError:  # not JSON, or its end is not here yet
                if not self._more(chunk):
                    raise
            else:
                # A number that ends where the text does may go on in what follows.
                if end < len(self._text) or not self._more(chunk):
                    self._at = end
                    return value
            chunk *= 2  # so that a wrong file costs no more than a few times its length

    def peek(self) -> str:
        """The next character that is no white space; '' at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in ' \t\r\n':
                    return self._text[self._at]
                self._at += 1
            if not self._more(_CHUNK):
                return ''

    def _key(self) -> str:
        key = self.value()
        self._take(':')
        if not isinstance(key, str):
            raise ValueError(f'{key!r} is no key')
        return key

    def _take(self, expected: str) -> str:
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f'{found or "the end"!r} instead of one of {expected!r}')
        self._at += 1
        return found

    def _more(self, count: int) -> bool:
        more = self._file.read(count)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
