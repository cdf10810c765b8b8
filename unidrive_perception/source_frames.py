# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One camera image of a recording, and what every source of them has.

A frame is decoded only when it is asked for, so one that cannot be is an error of that frame and
not of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb
from unidrive_perception.image_topics import COMPRESSED


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

    ``topic`` and ``msgtype`` are those of the frames (``topics``: where several cameras of a bag
    were asked for, all of them), ``count`` how many frames there should be. ``damage`` is a
    sentence to show when it turned out that not all of them could be read.
    """

    topic: str
    msgtype: str
    count: int
    damage: str | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of all cameras that are read."""
        return (self.topic,)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order."""
        return self.frames()

    def frames(self, position: int | None = None) -> Iterator[Frame]:
        """Yield the frames in order, from ``position`` on; see :meth:`positions`."""
        raise NotImplementedError

    def positions(self) -> Iterator[int]:
        """Yield for each frame, in order, the number by which :meth:`frames` finds it.

        Of a bag that is when it was recorded (ns), of files the number of the frame. This may
        take as long as reading all of the input.
        """
        return iter(range(self.count))

    def close(self) -> None:
        """Free what is open."""

    def __enter__(self) -> FrameSource:
        """Give the source; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free what is open."""
        self.close()
