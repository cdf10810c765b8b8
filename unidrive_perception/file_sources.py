# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera images from a video file or a folder of images, as ``sensor_msgs`` messages.

Such files have no stamps and no topics; what they get instead stands here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_perception.source_frames import Frame, FrameSource, SourceError

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

    def frames(self, position: int | None = None) -> Iterator[Frame]:
        """Yield the frames in order, from number ``position`` on.

        Those before are decoded too: not every video can be told to go to a certain frame.
        """
        capture = self._open()
        read = 0
        try:
            while read < (position or 0) and capture.grab():
                read += 1
            while read >= (position or 0):
                found, bgr = capture.read()
                if not found:
                    break
                yield self._frame(read, bgr)
                read += 1
        finally:
            capture.release()
        if read < 0.95 * self.count:  # containers often say a few too many
            self.damage = f'{self.path} is damaged: {read} of its {self.count} frames were read'

    def positions(self) -> Iterator[int]:
        """Yield the numbers of the frames; they are counted where the file does not say how many.

        A file may say a few too many or too few.
        """
        return iter(range(self.count or sum(1 for _ in self.frames())))

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
    """Image files as CompressedImage messages of their bytes."""

    msgtype = COMPRESSED

    def __init__(
        self, files: Sequence[Path], topic: str = FILE_TOPIC, fps: float = FOLDER_FPS
    ) -> None:
        """Take image files, in this order; see :func:`image_files`."""
        super().__init__()
        self.topic = topic if topic.endswith(SUFFIX) else topic + SUFFIX
        self.fps = fps
        self.files = list(files)
        self.count = len(self.files)

    def frames(self, position: int | None = None) -> Iterator[Frame]:
        """Yield the frames in order, from number ``position`` on."""
        for i in range(position or 0, len(self.files)):
            yield self._frame(i, self.files[i])

    def _frame(self, i: int, file: Path) -> Frame:
        def load() -> Any:
            try:
                data = np.fromfile(file, np.uint8)
            except OSError as error:
                raise SourceError(f'{file} cannot be read: {error.strerror}') from error
            codec = file.suffix[1:].lower().replace('jpg', 'jpeg')
            return compressed_message(self._make, self._header(i), data, codec)

        return Frame(self.stamp_ns(i), self.topic, COMPRESSED, load)


def image_files(path: Path) -> list[Path]:
    """Return the image files at ``path``: itself, its own, or else those in folders below.

    They are in the order of their names. Of a BDD100K-layout folder only ``images`` is searched:
    what is in ``labels`` are masks. Raises SourceError where there are none.
    """
    if path.is_file():
        return [path]
    if (path / 'images').is_dir():
        path = path / 'images'
    for files in (path.iterdir(), path.rglob('*')):
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if images:
            return sorted(images, key=natural_order)
    raise SourceError(f'{path} holds no bag and no images ({", ".join(IMAGE_SUFFIXES)})')


def natural_order(path: Path) -> list:
    """Sort frame10 behind frame9."""
    parts = re.split(r'(\d+)', str(path))
    return [int(part) if part.isdigit() else part for part in parts]
