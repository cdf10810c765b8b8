# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images from a bag, a video file or a folder of images, all as ``sensor_msgs`` messages.

Without ROS. A frame is decoded only when it is asked for, so one that cannot be is an error of
that frame and not of the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.typesys.store import Typestore

from unidrive_perception.bags import BagMessage, is_bag, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb
from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import (
    BagFactory,
    compressed_message,
    image_message,
    make_header,
)

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.wmv')
"""Asked for, because FFmpeg opens a text file as a video too."""

FILE_TOPIC = '/camera/image_raw'
FILE_FRAME_ID = 'camera_optical_frame'
FILE_START_NS = 1_000_000_000
"""Stamp of the first frame of a video or folder: not 0, which in ROS means "not set"."""
FOLDER_FPS = 10.0
VIDEO_FPS = 30.0
"""For a video file that does not say its own."""


class SourceError(UserError):
    """There are no frames to be had; the sentence says why."""


class Frame:
    """One camera image. ``stamp_ns``: when it was recorded; ``topic``, ``msgtype``: as what."""

    def __init__(
        self, stamp_ns: int, topic: str, msgtype: str, load: Callable[[], Any], data: Any = None
    ) -> None:
        """Take what makes the message, and its CDR bytes where there are any."""
        self.stamp_ns = stamp_ns
        self.topic = topic
        self.msgtype = msgtype
        self._load = load
        self._data = data

    @cached_property
    def message(self) -> Any:
        """The ``sensor_msgs`` Image or CompressedImage. Raises UserError if it cannot be read."""
        return self._load()

    @property
    def header(self) -> Any:
        """The header of the message."""
        return self.message.header

    @property
    def frame_id(self) -> str:
        """The frame_id of the camera."""
        return self.message.header.frame_id

    def rgb(self) -> np.ndarray:
        """Return the pixels (H, W, 3) uint8 RGB. Raises UserError if they cannot be decoded."""
        decode = compressed_to_rgb if self.msgtype == COMPRESSED else image_to_rgb
        return decode(self.message)

    def cdr(self, store: Typestore) -> bytes | memoryview:
        """Return the serialised message: the recorded bytes where it comes from a bag."""
        if self._data is not None:
            return self._data
        return store.serialize_cdr(self.message, self.msgtype)


class FrameSource:
    """Iterates over the frames of one camera, as often as it is asked to.

    ``topic`` and ``msgtype`` are those of the frames, ``count`` how many there should be.
    ``damage`` is a sentence to show when it turned out that not all of them could be read.
    """

    topic: str
    msgtype: str
    count: int
    damage: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what is open."""

    def __enter__(self) -> FrameSource:
        """Give the source; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free what is open."""
        self.close()


def open_source(
    path: str | Path, topic: str | None = None, fps: float | None = None
) -> FrameSource:
    """Open a bag, a video file, an image or a folder of images (a BDD100K-layout one too).

    ``topic``: of a bag, the image topic to read, needed only where there are several cameras (of
    one that is there raw and as TOPIC/compressed, the raw images are read); of files, the name
    for it. ``fps``: of files, frames per second (default: a video's own; 10 for images).
    Raises UserError (BagError, SourceError) where there are no images.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(f'there is no bag, video or image folder {path}')
    if fps is not None and not fps > 0:
        raise SourceError(f'fps must be greater than 0, not {fps}')
    if is_bag(path):
        if fps is not None:
            raise SourceError(f'{path} is a bag and has a timing of its own: leave fps out')
        return BagSource(path, topic)
    topic = topic or FILE_TOPIC
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource(path, topic, fps or FOLDER_FPS)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, topic, fps)
    raise SourceError(
        f'{path} is no bag (a folder, .mcap, .db3, .bag), no video ({", ".join(VIDEO_SUFFIXES)}) '
        f'and no image ({", ".join(IMAGE_SUFFIXES)})'
    )


class BagSource(FrameSource):
    """The images of one topic of a bag."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Open the bag and find its image topic."""
        self.bag = open_bag(path)
        images = {n: t for n, t in self.bag.topics.items() if t.msgtype in (IMAGE, COMPRESSED)}
        try:
            topic = _choose_topic(path, images, topic, self.bag.topics)
        except SourceError:
            self.bag.close()
            raise
        self.topic = topic
        self.msgtype = images[topic].msgtype
        self.count = images[topic].count

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        for message in self.bag.messages([self.topic]):
            yield self._frame(message)
        self.damage = self.bag.damage

    def _frame(self, message: BagMessage) -> Frame:
        def load() -> Any:
            return self.bag.deserialize(message)

        return Frame(message.stamp_ns, self.topic, self.msgtype, load, message.data)

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()


class _FileSource(FrameSource):
    """What videos and folders share: they have no stamps, so frame i gets start + i / fps."""

    fps: float

    def __init__(self) -> None:
        self._make = BagFactory(default_typestore())

    def stamp_ns(self, i: int) -> int:
        """Return the stamp of frame ``i``."""
        return FILE_START_NS + round(i * 1e9 / self.fps)

    def _header(self, i: int) -> Any:
        return make_header(self._make, self.stamp_ns(i), FILE_FRAME_ID)


class VideoSource(_FileSource):
    """The frames of a video file, as Image messages."""

    msgtype = IMAGE

    def __init__(self, path: Path, topic: str = FILE_TOPIC, fps: float | None = None) -> None:
        """Open the video at ``path`` to see what it is."""
        super().__init__()
        self.path = path
        self.topic = topic
        capture = self._open()
        own_fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps or (own_fps if 0 < own_fps < 1000 else VIDEO_FPS)
        self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        capture = self._open()
        read = 0
        try:
            while True:
                found, bgr = capture.read()
                if not found:
                    break
                yield self._frame(read, bgr)
                read += 1
        finally:
            capture.release()
        if read < 0.95 * self.count:  # containers often say a few too many
            self.damage = f'{self.path} is damaged: {read} of its {self.count} frames were read'

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise SourceError(f'{self.path} is damaged or no video that OpenCV can open')
        return capture

    def _frame(self, i: int, bgr: np.ndarray) -> Frame:
        def load() -> Any:
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            return image_message(self._make, self._header(i), rgb)

        return Frame(self.stamp_ns(i), self.topic, IMAGE, load)


class FolderSource(_FileSource):
    """Image files in the order of their names, as CompressedImage messages of their bytes."""

    msgtype = COMPRESSED

    def __init__(self, path: Path, topic: str = FILE_TOPIC, fps: float = FOLDER_FPS) -> None:
        """Find the images of the folder, or take the one image, at ``path``."""
        super().__init__()
        self.topic = topic if topic.endswith(SUFFIX) else topic + SUFFIX
        self.fps = fps
        self.files = _image_files(path)
        self.count = len(self.files)
        if not self.files:
            raise SourceError(f'{path} holds no bag and no images ({", ".join(IMAGE_SUFFIXES)})')

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        for i, file in enumerate(self.files):
            yield self._frame(i, file)

    def _frame(self, i: int, file: Path) -> Frame:
        def load() -> Any:
            try:
                data = np.fromfile(file, np.uint8)
            except OSError as error:
                raise SourceError(f'{file} cannot be read: {error.strerror}') from error
            codec = file.suffix[1:].lower().replace('jpg', 'jpeg')
            return compressed_message(self._make, self._header(i), data, codec)

        return Frame(self.stamp_ns(i), self.topic, COMPRESSED, load)


def _image_files(path: Path) -> list[Path]:
    """Return the image files at ``path``: itself, its own, or else those in folders below.

    Of a BDD100K-layout folder only ``images`` is searched: what is in ``labels`` are masks.
    """
    if path.is_file():
        return [path]
    if (path / 'images').is_dir():
        path = path / 'images'
    for files in (path.iterdir(), path.rglob('*')):
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if images:
            return sorted(images, key=_natural_order)
    return []


def _natural_order(path: Path) -> list:
    """Sort frame10 behind frame9."""
    parts = re.split(r'(\d+)', str(path))
    return [int(part) if part.isdigit() else part for part in parts]


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
