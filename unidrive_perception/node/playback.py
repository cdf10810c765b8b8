# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the bag player plays, and when. Without ROS.

A recording has ``topics``, ``start_ns``, ``end_ns``, ``messages()`` and ``damage`` like
:class:`unidrive_perception.bags.reader.BagReader`, which is one; :class:`FileRecording` makes one
of a video or an image folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from unidrive_perception.bags.reader import BagMessage, BagReader, BagTopic, is_bag, open_bag
from unidrive_perception.command_line import Parser
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_perception.sources import (
    FILE_FRAME_ID,
    FILE_TOPIC,
    Frame,
    FrameSource,
    open_source,
)

FILE_ENCODING = 'rgb8'
RAW_ENCODINGS = ('rgb8', 'bgr8', 'mono8')
CODECS = ('jpeg', 'png')


class PlaybackError(UserError):
    """The player was asked for something that cannot be; the sentence says what."""


@dataclass(frozen=True)
class Schedule:
    """Which recorded time is played when.

    ``recorded_ns`` is played at ``steady_ns`` (time.monotonic_ns), which is ``wall_ns``
    (time.time_ns), and what follows ``rate`` times as fast. Everything is reckoned from there, so
    no delay adds up.
    """

    recorded_ns: int
    rate: float
    steady_ns: int
    wall_ns: int

    @classmethod
    def from_now(cls, recorded_ns: int, rate: float) -> Schedule:
        """Start to play at ``recorded_ns`` now."""
        return cls(recorded_ns, rate, time.monotonic_ns(), time.time_ns())

    def due_ns(self, recorded_ns: int) -> int:
        """When, on the steady clock, what was recorded at ``recorded_ns`` is due."""
        return self.steady_ns + round((recorded_ns - self.recorded_ns) / self.rate)

    def wall_due_ns(self, recorded_ns: int) -> int:
        """The same on the wall clock."""
        return self.wall_ns + round((recorded_ns - self.recorded_ns) / self.rate)

    def recorded_at(self, steady_ns: int) -> int:
        """Which recorded time is played at ``steady_ns``."""
        return self.recorded_ns + round((steady_ns - self.steady_ns) * self.rate)


def parse_remaps(texts: Collection[str]) -> dict[str, str]:
    """Parse 'from:=to' rules; raises PlaybackError."""
    remaps = {}
    for text in texts:
        old, separator, new = text.partition(':=')
        if not (separator and old and new):
            raise PlaybackError(f'--remap takes /old:=/new, not {text!r}')
        remaps[old] = new
    return remaps


class FileRecording:
    """A video or an image folder as the recording of one camera.

    ``encoding`` is one of RAW_ENCODINGS, which makes Images, or of CODECS, which makes
    CompressedImages on ``TOPIC/compressed``; a JPEG file as 'jpeg' keeps its bytes.
    """

    def __init__(
        self, source: FrameSource, encoding: str = FILE_ENCODING, frame_id: str = FILE_FRAME_ID
    ) -> None:
        """Play the frames of ``source``, a VideoSource or FolderSource."""
        compressed = encoding in CODECS
        self._source = source
        self._encoding = encoding
        self._frame_id = frame_id
        self._typestore = default_typestore()
        self._make = BagFactory(self._typestore)
        self._msgtype = COMPRESSED if compressed else IMAGE
        self._topic = source.topic.removesuffix(SUFFIX) + (SUFFIX if compressed else '')
        self.topics = {self._topic: BagTopic(self._topic, self._msgtype, source.count)}
        self.start_ns = source.stamp_ns(0)
        # The last frame is shown as long as the others, also when a loop begins anew.
        self.end_ns = source.stamp_ns(source.count)
        self.damage: str | None = None
        self.stamp: Callable[[int], int] = lambda stamp_ns: stamp_ns
        """What header stamp a frame gets for its time within the file."""

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int = 0
    ) -> Iterator[BagMessage]:
        """Yield the frames from ``start_ns`` on; those that cannot be decoded are left out."""
        if topics is not None and self._topic not in topics:
            return
        bad = []
        for frame in self._source:
            if frame.stamp_ns >= start_ns:
                try:
                    yield self._message(frame)
                except UserError as error:
                    bad.append(str(error))
        self.damage = self._source.damage
        if bad:
            self.damage = f'{len(bad)} frames could not be decoded, the first: {bad[0]}'

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _message(self, frame: Frame) -> BagMessage:
        make = self._make
        header = make_header(make, self.stamp(frame.stamp_ns), self._frame_id)
        if self._msgtype == IMAGE:
            message = image_message(make, header, frame.rgb(), self._encoding)
        elif frame.msgtype == COMPRESSED and frame.message.format == self._encoding:
            message = compressed_message(make, header, frame.message.data, self._encoding)
        else:
            data = rgb_to_compressed(frame.rgb(), self._encoding)
            message = compressed_message(make, header, data, self._encoding)
        data = self._typestore.serialize_cdr(message, self._msgtype)
        return BagMessage(self._topic, self._msgtype, frame.stamp_ns, data)


def make_parser() -> Parser:
    """Make the parser of the command line."""
    parser = Parser(
        prog='bag_player',
        description='Publish a bag, a video or an image folder into a ROS graph.',
    )
    parser.add_argument('input', help='bag (rosbag2 or rosbag1), video, or folder of images')
    parser.add_argument('--rate', type=float, default=1.0, help='times as fast (default: 1)')
    parser.add_argument('--loop', action='store_true', help='begin anew at the end, until Ctrl-C')
    parser.add_argument(
        '--start-offset', type=float, default=0.0, metavar='S', help='begin S seconds later'
    )
    parser.add_argument('--clock', action='store_true', help='publish the played time on /clock')
    parser.add_argument(
        '--clock-rate',
        type=float,
        default=100.0,
        metavar='HZ',
        help='how often, in real time (default: 100)',
    )
    parser.add_argument('--topics', nargs='+', metavar='TOPIC', help='play only these topics')
    parser.add_argument(
        '--remap', nargs='+', default=[], metavar='OLD:=NEW', help='publish under another name'
    )
    parser.add_argument(
        '--wait-for-subscribers',
        type=float,
        default=0.0,
        metavar='S',
        help='begin when any image topic has a subscriber, or after S seconds',
    )
    files = parser.add_argument_group('a video or folder as a camera')
    # No default stands here, so that what is given with a bag can be told from what is not.
    files.add_argument('--topic', help=f'default: {FILE_TOPIC}')
    files.add_argument('--frame-id', help=f'default: {FILE_FRAME_ID}')
    files.add_argument('--fps', type=float, help="default: the video's own; 10 for images")
    files.add_argument(
        '--encoding',
        choices=RAW_ENCODINGS + CODECS,
        help='rgb8, bgr8, mono8: Image; jpeg, png: CompressedImage on TOPIC/compressed '
        f'(default: {FILE_ENCODING})',
    )
    return parser


def open_recording(args: argparse.Namespace) -> BagReader | FileRecording:
    """Open what is to be played; raises UserError."""
    for name, value in (('rate', args.rate), ('clock-rate', args.clock_rate)):
        if not value > 0:
            raise PlaybackError(f'--{name} must be greater than 0, not {value}')
    if not args.start_offset >= 0:
        raise PlaybackError(f'--start-offset must be 0 or more, not {args.start_offset}')
    recording = _open_bag(args) if is_bag(args.input) else _open_files(args)
    seconds = (recording.end_ns - recording.start_ns) / 1e9
    if args.start_offset > seconds:
        raise PlaybackError(
            f'--start-offset {args.start_offset:g} is behind the end: {args.input} '
            f'lasts {seconds:g} s'
        )
    for topic in (*(args.topics or ()), *parse_remaps(args.remap)):
        if topic not in recording.topics:
            names = ', '.join(recording.topics) or 'none'
            raise PlaybackError(f'{args.input} has no topic {topic}; its topics are: {names}')
    return recording


def _open_bag(args: argparse.Namespace) -> BagReader:
    for name in ('topic', 'frame-id', 'fps', 'encoding'):
        if getattr(args, name.replace('-', '_')) is not None:
            raise PlaybackError(
                f'--{name} is for a video or folder, and {args.input} is a bag, which is played '
                f'as it was recorded: choose topics with --topics, rename them with --remap'
            )
    return open_bag(args.input)


def _open_files(args: argparse.Namespace) -> FileRecording:
    source = open_source(args.input, args.topic, args.fps)
    frame_id = FILE_FRAME_ID if args.frame_id is None else args.frame_id
    return FileRecording(source, args.encoding or FILE_ENCODING, frame_id)
