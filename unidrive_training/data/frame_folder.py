# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``OUT/provenance.jsonl``: where each image of a folder of frames comes from, one line per image.

::

    {"name": "drive-front_image-1700000000003000000", "split": "train",
     "source": "/bags/drive", "topic": "/front/image", "stamp_ns": 1700000000000000000,
     "recorded_ns": 1700000000003000000, "frame_id": "front_optical_frame", "thumbnail": "…"}

``stamp_ns`` is the stamp in the header of the message, ``recorded_ns`` when it was recorded,
``thumbnail`` (base64 of (576,) int8) what near-duplicates are told by, see frame_selection.py.

This file is the book: what is in it is there, and is not taken again. A line is added when its
image is complete under its name, so after a kill at most one image lacks its line; it is then
found to be there already.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
from pathlib import Path

import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.sources import IMAGE_SUFFIXES
from unidrive_training.data.frame_selection import HEIGHT, WIDTH
from unidrive_training.data.recordings import Shot

Key = tuple[str, str, int]


class FrameFolder:
    """The images ``ROOT/images/100k/SPLIT/NAME.jpg`` and their book; a context manager.

    Only one process at a time may add to a folder; UserError for a second one, and where the
    book cannot be read.
    """

    def __init__(self, root: Path, split: str) -> None:
        """Open or make the folder."""
        self._images = root / 'images' / '100k' / split
        self._split = split
        self._path = root / 'provenance.jsonl'
        self._names: set[str] = set()
        self._keys: set[Key] = set()
        self.thumbnails: list[np.ndarray] = []
        """Of the images that were there when the folder was opened."""
        try:
            self._images.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise UserError(f'{error.filename} is a file; give another folder') from error
        self._book = self._path.open('a+b')
        try:
            self._lock()
            self._read()
        except UserError:
            self._book.close()
            raise

    def __enter__(self) -> FrameFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.close()
        (self._images / '.unfinished').unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._names)

    def has(self, shot: Shot) -> bool:
        """Whether this frame was taken before."""
        return _key(str(shot.source), shot.frame.topic, shot.frame.stamp_ns) in self._keys

    def add(self, shot: Shot, jpeg: bytes, stamp_ns: int, thumbnail: np.ndarray) -> str:
        """Write an image and its line; returns its name. ``stamp_ns``: that of its header."""
        name = self._write(re.sub(r'[^\w.-]+', '_', shot.name).strip('._'), jpeg)
        entry = {
            'name': name,
            'split': self._split,
            'source': str(shot.source),
            'topic': shot.frame.topic,
            'stamp_ns': stamp_ns,
            'recorded_ns': shot.frame.stamp_ns,
            'frame_id': shot.frame.frame_id,
            'thumbnail': base64.b64encode(thumbnail.tobytes()).decode(),
        }
        self._book.write(json.dumps(entry, ensure_ascii=False).encode() + b'\n')
        self._book.flush()
        self._note(entry)
        return name

    def _write(self, wanted: str, jpeg: bytes) -> str:
        """Write the image under the wanted name, or with a number where another has that."""
        name, number = wanted, 1
        while name in self._names or self._is_another(name, jpeg):
            number += 1
            name = f'{wanted}_{number}'
        unfinished = self._images / '.unfinished'
        unfinished.write_bytes(jpeg)
        os.replace(unfinished, self._images / f'{name}.jpg')
        return name

    def _is_another(self, name: str, jpeg: bytes) -> bool:
        """Whether an image that is not in the book has this name, and is not this very one."""
        path = self._images / f'{name}.jpg'
        return path.exists() and path.read_bytes() != jpeg

    def _lock(self) -> None:
        try:
            fcntl.flock(self._book, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f'{self._path}: another `unidrive frames` is writing there; wait for it'
            ) from error

    def _read(self) -> None:
        """Read the lines; half a line, left by a kill, is cut off."""
        self._book.seek(0)
        complete = 0
        for number, line in enumerate(self._book, 1):
            if not line.endswith(b'\n'):
                break
            try:
                entry = json.loads(line)
                self._note(entry)
                cells = np.frombuffer(base64.b64decode(entry['thumbnail']), np.int8)
                self.thumbnails.append(cells.reshape(WIDTH * HEIGHT))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f'{self._path}: line {number} is none that `unidrive frames` wrote '
                    f'({error!r}); restore it or give a new folder'
                ) from error
            complete += len(line)
        self._book.truncate(complete)

    def _note(self, entry: dict) -> None:
        self._names.add(entry['name'])
        self._keys.add(_key(entry['source'], entry['topic'], entry['recorded_ns']))


def _key(source: str, topic: str, recorded_ns: int) -> Key:
    """What one frame is known by. An image file is so by itself: its stamp is only its place."""
    if source.lower().endswith(IMAGE_SUFFIXES):
        return source, '', 0
    return source, topic, recorded_ns
