# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are written aside and renamed: what has its name is whole."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unidrive_perception.errors import UserError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to write to, which becomes ``out`` when the block ends well.

    ``out`` must be absent or empty. What a killed run has left beside it is removed.
    """
    out = out.resolve()  # '.' has no name, and a link cannot be replaced by a folder
    if os.path.ismount(out):
        raise UserError(f'{out}: a disk is mounted here; give a new folder in it')
    partial = out.with_name(f'.{out.name}.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f'{out} cannot be made ({error.strerror}); give another folder') from error
    try:
        yield partial
        os.replace(partial, out)
    finally:
        _remove(partial)


def _remove(folder: Path) -> None:
    """Also where a worker process that is being ended still writes a last file into it."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def write_text(path: Path, text: str) -> None:
    """Write a file in one step."""
    partial = path.with_name(f'.{path.name}.part')
    partial.write_text(text, encoding='utf-8')
    os.replace(partial, path)


def write_json(path: Path, content: object, indent: int | None = 2) -> None:
    """Write a JSON file in one step, NaN as null."""
    write_text(path, json.dumps(_without_nan(content), indent=indent) + '\n')


def _without_nan(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
