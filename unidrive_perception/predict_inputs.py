# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``unidrive predict`` is given: images, videos and bags, and the names of their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from unidrive_perception.bags.reader import is_bag
from unidrive_perception.errors import UserError, nothing_at
from unidrive_perception.file_sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural_order
from unidrive_perception.source_frames import FrameSource, SourceError
from unidrive_perception.sources import BagSource, FolderSource, open_source


@dataclass
class Pictures:
    """Image files, each with a name of its own, which has no suffix and may begin with folders."""

    files: list[Path]
    names: list[str]
    fps: float | None = None

    def open(self) -> FrameSource:
        """Open the files."""
        return FolderSource(self.files, **({'fps': self.fps} if self.fps else {}))


@dataclass
class Movie:
    """A video, or the images of one camera in a bag."""

    path: Path
    name: str
    topic: str | None = None
    fps: float | None = None

    def open(self) -> FrameSource:
        """Open the file."""
        return open_source(self.path, self.topic, self.fps)


Input = Pictures | Movie


def find_inputs(
    paths: Sequence[str], out: Path, topics: Sequence[str] = (), fps: float | None = None
) -> list[Input]:
    """Find what there is at ``paths``; folders are searched with all that are below them.

    What lies in ``out`` is left out. ``topics``: of bags, the cameras; ``fps``: of videos and
    images. Raises UserError for a path without images.
    """
    if fps is not None and not fps > 0:
        raise UserError(f'--fps must be greater than 0, not {fps}')
    if topics and not any(map(is_bag, paths)):
        raise UserError(f'--topic {topics[0]} is for bags, and there is none')
    finder = _Finder(out.resolve(), topics, fps, len(paths) > 1)
    return [found for path in paths for found in finder.at(Path(path))]


def frame_rate(source: FrameSource) -> float:
    """Frames per second of a source: for a bag, the mean of its recording."""
    if not isinstance(source, BagSource):
        return source.fps
    seconds = (source.bag.end_ns - source.bag.start_ns) / 1e9
    return min(120.0, max(1.0, (source.count - 1) / seconds)) if seconds > 0 else 10.0


@dataclass
class _Finder:
    out: Path
    topics: Sequence[str]
    fps: float | None
    are_several: bool
    taken: set[str] = field(default_factory=set)

    def at(self, path: Path) -> Iterator[Input]:
        if not path.exists():
            raise SourceError(nothing_at(path))
        if is_bag(path):
            yield from self._bag(path)
        elif path.is_dir():
            yield from self._folder(path)
        else:
            yield self._file(path)

    def _bag(self, path: Path) -> Iterator[Movie]:
        if self.fps is not None:
            raise UserError(f'{path} is a bag and has a timing of its own: leave --fps out')
        for topic in self.topics or [None]:
            movie = Movie(path, '', topic)
            with movie.open() as source:  # to see at once whether it can be
                camera = f'-{source.topic.strip("/").replace("/", "-")}' if topic else ''
            movie.name = self._own_name(f'{path.name if path.is_dir() else path.stem}{camera}')
            yield movie

    def _folder(self, path: Path) -> Iterator[Input]:
        root = path / 'images' if (path / 'images').is_dir() else path  # labels are no images
        files = sorted(
            (f for f in root.rglob('*') if self.out not in f.resolve().parents), key=natural_order
        )

        def below(file: Path) -> str:
            own = file.relative_to(root).with_suffix('').as_posix()
            return f'{path.resolve().name}/{own}' if self.are_several else own

        images = [f for f in files if f.suffix.lower() in IMAGE_SUFFIXES]
        videos = [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES]
        if not images and not videos:
            raise SourceError(f'{path} holds no bag, no images and no videos')
        if images:
            yield Pictures(images, [self._own_name(below(f)) for f in images], self.fps)
        for file in videos:
            yield self._video(file, below(file))

    def _file(self, path: Path) -> Input:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return Pictures([path], [self._own_name(path.stem)], self.fps)
        open_source(path).close()  # or it tells why not
        return self._video(path, path.stem)

    def _video(self, path: Path, name: str) -> Movie:
        return Movie(path, self._own_name(name), fps=self.fps)

    def _own_name(self, name: str) -> str:
        """``name``, or with a number behind it where an earlier image has that already."""
        own, number = name, 2
        while own.lower() in self.taken:
            own, number = f'{name}_{number}', number + 1
        self.taken.add(own.lower())
        return own


def frame_name(item: Input, i: int) -> str:
    """Name of frame ``i``, without suffix; of a movie it is numbered as in BDD100K's tracks."""
    if isinstance(item, Pictures):
        return item.names[i]
    return f'{item.name}/{PurePath(item.name).name}-{i + 1:07d}'
