# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images from a bag, a video file or a folder of images, all as ``sensor_msgs`` messages.

Without ROS. Open any of them with :func:`open_source`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unidrive_perception.bags.reader import BagMessage, is_bag, open_bag
from unidrive_perception.errors import nothing_at
from unidrive_perception.file_sources import (
    FILE_FRAME_ID,
    FILE_START_NS,
    FILE_TOPIC,
    FOLDER_FPS,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    FolderSource,
    VideoSource,
    image_files,
)
from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX
from unidrive_perception.source_frames import Frame, FrameSource, SourceError

__all__ = [
    'FILE_FRAME_ID',
    'FILE_START_NS',
    'FILE_TOPIC',
    'IMAGE_SUFFIXES',
    'BagSource',
    'FolderSource',
    'Frame',
    'FrameSource',
    'SourceError',
    'VideoSource',
    'open_source',
]


def open_source(
    path: str | Path, topic: str | Sequence[str] | None = None, fps: float | None = None
) -> FrameSource:
    """Open a bag, a video file, an image or a folder of images (a BDD100K-layout one too).

    ``topic``: of a bag, the image topic to read, needed only where there are several cameras (of
    one that is there raw and as TOPIC/compressed, the raw images are read), or a list of several;
    of files, the name for it. ``fps``: of files, frames per second (default: a video's own; 10
    for images).
    Raises UserError (BagError, SourceError) where there are no images.
    """
    path = Path(path)
    topics = [topic] if isinstance(topic, str) else list(topic or [])
    if not path.exists():
        raise SourceError(nothing_at(path))
    if fps is not None and not fps > 0:
        raise SourceError(f'fps must be greater than 0, not {fps}')
    if is_bag(path):
        if fps is not None:
            raise SourceError(f'{path} is a bag and has a timing of its own: leave fps out')
        return BagSource(path, *topics)
    if len(topics) > 1:
        raise SourceError(f'{path} is no bag, so it has one camera: give one topic, or none')
    topic = topics[0] if topics else FILE_TOPIC
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(image_files(path), topic, fps or FOLDER_FPS)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, topic, fps)
    raise SourceError(
        f'{path} is no bag (a folder, .mcap, .db3, .bag), no video ({", ".join(VIDEO_SUFFIXES)}) '
        f'and no image ({", ".join(IMAGE_SUFFIXES)})'
    )


class BagSource(FrameSource):
    """The images of one topic of a bag, or of several."""

    def __init__(self, path: Path, *topics: str) -> None:
        """Open the bag and find its image topics."""
        self.bag = open_bag(path)
        images = {n: t for n, t in self.bag.topics.items() if t.msgtype in (IMAGE, COMPRESSED)}
        try:
            wanted = topics or (None,)
            chosen = [_choose_topic(path, images, topic, self.bag.topics) for topic in wanted]
        except SourceError as error:
            self.bag.close()
            if self.bag.damage:  # what is missing may be in the part that is lost
                raise SourceError(f'{error} ({self.bag.damage})') from error
            raise
        self._topics = tuple(dict.fromkeys(chosen))
        self.topic = chosen[0]
        self.msgtype = images[self.topic].msgtype
        self.count = sum(images[topic].count for topic in self._topics)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of all cameras that are read."""
        return self._topics

    def frames(self, position: int | None = None) -> Iterator[Frame]:
        """Yield the frames in order, those recorded from ``position`` (ns) on."""
        for message in self.bag.messages(self._topics, position):
            yield self._frame(message)
        self.damage = self.bag.damage

    def positions(self) -> Iterator[int]:
        """Yield for each frame, in order, when it was recorded."""
        return (frame.stamp_ns for frame in self.frames())

    def _frame(self, message: BagMessage) -> Frame:
        def load() -> Any:
            return self.bag.deserialize(message)

        return Frame(message.stamp_ns, message.topic, message.msgtype, load, message.data)

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()


def _choose_topic(path: Path, images: Mapping, wanted: str | None, topics: Mapping) -> str:
    """Return the wanted topic, or that of the only camera, of the ``images`` among ``topics``."""
    if wanted in images:
        return wanted
    cameras = [n for n in images if not n.endswith(SUFFIX) or n.removesuffix(SUFFIX) not in images]
    if not wanted and len(cameras) == 1:
        return cameras[0]
    if not wanted and images:
        raise SourceError(f'{path} has several image topics, choose one: {", ".join(images)}')
    listed = ', '.join(f'{topic.name} ({topic.msgtype})' for topic in topics.values())
    where = f' on {wanted}' if wanted else ''
    raise SourceError(f'{path} has no images{where}; its topics are: {listed or "none"}')
