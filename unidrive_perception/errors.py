# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The one base class of errors that a user can mend, and what their sentences share."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong; the message is one sentence with the remedy."""


class Ended(UserError):
    """The program was asked to end, so what it had begun is given up: nothing is wrong."""


def quoted(value: object, limit: int = 60) -> str:
    """Return the repr of what somebody else wrote, short enough for a sentence."""
    try:
        # Of a long text only what is shown: a garbled message may hold megabytes.
        text = repr(value[:limit] if isinstance(value, (str, bytes)) else value)
    except ValueError:  # an int of more digits than Python converts
        return f'a number of {value.bit_length()} bits'
    is_cut = isinstance(value, (str, bytes)) and len(value) > limit
    return f'{text[: limit - 3]}…' if is_cut or len(text) > limit else text


def one_line(text: object) -> str:
    """Return the text of an error of some library, or with a foreign name in it, on one line."""
    line = ' '.join(str(text).split())
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def nothing_at(path: object) -> str:
    """Return the sentence for a path of a recording or of images at which there is nothing."""
    return f'there is no bag, video, image or folder {one_line(path)}'
