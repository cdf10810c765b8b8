# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The camera frames of bags, videos and folders of images, each with what says where it is from.

A bag gives the frames of all its cameras in one pass. Videos and images have no stamps of their
own: theirs are those of ``unidrive process-bag`` and of the player (frame i gets 1 s + i / fps).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from unidrive_perception.bags.reader import BagTopic, is_bag, open_bag
from unidrive_perception.errors import nothing_at
from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX
from unidrive_perception.sources import (
    FILE_START_NS,
    FolderSource,
    Frame,
    SourceError,
    open_source,
)

_NO_CAMERA = re.compile('depth|disparity|mask|overlay', re.IGNORECASE)
_UNIX_TIME_FROM = 1e8
"""Seconds; a smaller number cannot be a time since 1970 at which a robot has driven."""


class Shot(NamedTuple):
    """A frame, the file or bag that it is from, and a name made of bag, topic and stamp."""

    frame: Frame
    source: Path
    name: str


class Recording:
    """The frames of a bag, a video or a folder; a context manager. Use :func:`open_recording`.

    ``count``: how many there should be; ``begin_ns``: when it begins, which means nothing where
    ``has_time`` is false; ``damage``: a sentence when not all could be read; ``topics``: those
    of a bag that are read; ``aside``: those that are left out because they seem no cameras.
    """

    path: Path
    count: int
    begin_ns: int
    has_time: bool = True
    topics: Sequence[str] = ()
    aside: Sequence[str] = ()
    damage: str | None = None

    def shots(self, start_ns: int, end_ns: int | None) -> Iterator[Shot]:
        """Yield the frames recorded from ``start_ns`` to ``end_ns``, in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what is open."""

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stamp_ns(self, seconds: float) -> int:
        """A time given in seconds from the beginning, or since 1970 (1e8 and more), in ns."""
        return round(seconds * 1e9) + (0 if seconds >= _UNIX_TIME_FROM else self.begin_ns)


def open_recording(
    path: str | Path, topics: Sequence[str] = (), fps: float | None = None
) -> Recording:
    """Open a bag (its image ``topics``, by default all cameras), a video, an image or a folder.

    ``fps``: of videos and folders (default: a video's own; images without it have no time).
    Raises UserError where there are no images, or none on ``topics``.
    """
    if not Path(path).exists():
        raise SourceError(nothing_at(path))
    path = Path(path).resolve()
    return _Bag(path, topics) if is_bag(path) else _Files(path, fps)


class _Bag(Recording):
    def __init__(self, path: Path, topics: Sequence[str]) -> None:
        self.path = path
        self._bag = open_bag(path)
        images = {n: t for n, t in self._bag.topics.items() if t.msgtype in (IMAGE, COMPRESSED)}
        self.topics = [name for name in topics if name in images] if topics else _cameras(images)
        if not self.topics:
            self.close()
            listed = ', '.join(f'{t.name} ({t.msgtype})' for t in self._bag.topics.values())
            where = f' on {", ".join(topics)}' if topics else ' of a camera'
            raise SourceError(f'{path} has no images{where}; its topics are: {listed or "none"}')
        self.aside = [n for n in images if _NO_CAMERA.search(n) and n not in self.topics]
        self.count = sum(images[topic].count for topic in self.topics)
        self.begin_ns = self._bag.start_ns
        self.damage = self._bag.damage

    def shots(self, start_ns: int, end_ns: int | None) -> Iterator[Shot]:
        stem = self.path.name if self.path.is_dir() else self.path.stem
        for message in self._bag.messages(self.topics, start_ns):
            if end_ns is not None and message.stamp_ns > end_ns:
                break
            load = partial(self._bag.deserialize, message)
            frame = Frame(message.stamp_ns, message.topic, message.msgtype, load, message.data)
            name = f'{stem}-{message.topic.strip("/")}-{message.stamp_ns}'
            yield Shot(frame, self.path, name)
        self.damage = self._bag.damage

    def close(self) -> None:
        self._bag.close()


class _Files(Recording):
    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self._source = open_source(path, fps=fps)
        self.count = self._source.count
        self.begin_ns = FILE_START_NS
        self._files = self._source.files if isinstance(self._source, FolderSource) else None
        self.has_time = self._files is None or fps is not None

    def shots(self, start_ns: int, end_ns: int | None) -> Iterator[Shot]:
        for i, frame in enumerate(self._source):
            if end_ns is not None and frame.stamp_ns > end_ns:
                break
            if frame.stamp_ns < start_ns:
                continue
            if self._files is None:
                yield Shot(frame, self.path, f'{self.path.stem}-{frame.stamp_ns}')
            else:
                yield Shot(frame, self._files[i], self._name(self._files[i]))
        self.damage = self._source.damage

    def _name(self, file: Path) -> str:
        """Folder and file: a number would not stay the same when an image is added."""
        inner = file.relative_to(self.path).with_suffix('') if file != self.path else file.stem
        return f'{self.path.name}-{inner}' if file != self.path else str(inner)


def _cameras(images: Mapping[str, BagTopic]) -> list[str]:
    """The image topics that seem to be cameras; of one that is there raw and compressed, raw."""
    return [
        name
        for name in images
        if not _NO_CAMERA.search(name)
        and not (name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in images)
    ]
