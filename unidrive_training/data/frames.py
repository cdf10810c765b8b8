# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive frames BAG… OUT``: camera frames of bags, videos and folders as unlabelled images.

OUT has the BDD100K layout (``images/100k/SPLIT/NAME.jpg``) and a ``provenance.jsonl``
(frame_folder.py). First the frames are chosen by their time of recording, then those are left
out that show what was seen before (frame_selection.py), in this recording or another in OUT.

A second run goes on where the first was killed, with the result of one that was not, and adds
nothing to a finished one; another recording is added to what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.image_topics import COMPRESSED
from unidrive_perception.messages import stamp_of
from unidrive_perception.sources import Frame
from unidrive_training.data.frame_folder import FrameFolder
from unidrive_training.data.frame_selection import MIN_CHANGE, Pace, SeenImages, thumbnail
from unidrive_training.data.recordings import Recording, Shot, open_recording
from unidrive_training.typed import Typed, parse

SHOWN_BAD_FRAMES = 5


class Selection(Typed):
    """What is taken of a recording, and how it is written."""

    rate: float = Field(2.0, ge=0, allow_inf_nan=False)
    start: float | None = Field(None, ge=0, allow_inf_nan=False)
    end: float | None = Field(None, ge=0, allow_inf_nan=False)
    min_change: float = Field(MIN_CHANGE, ge=0, le=1)
    quality: int = Field(92, ge=1, le=100)
    longest_side: int | None = Field(None, ge=32)


@dataclass
class Tally:
    """What became of the frames that were ``read``; ``bad`` has a sentence for each such one."""

    read: int = 0
    kept: int = 0
    there: int = 0
    too_close: int = 0
    near_duplicates: int = 0
    bad: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line."""
        there = f'{self.there} there already, ' if self.there else ''
        return (
            f'{self.read} frames read, {self.kept} kept, {there}{self.too_close} too close in '
            f'time, {self.near_duplicates} near-duplicates, {len(self.bad)} bad'
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    defaults = Selection()
    parser.add_argument(
        'recordings', nargs='+', type=Path, metavar='BAG', help='bag, video, or folder of images'
    )
    parser.add_argument('out', type=Path, metavar='OUT', help='folder to make or add to')
    parser.add_argument(
        '--topic', action='append', default=[], dest='topics', metavar='TOPIC',
        help='image topic of the bags; may be repeated (default: all cameras)',
    )  # fmt: skip
    parser.add_argument(
        '--rate', type=float, default=defaults.rate, metavar='HZ',
        help='most frames a second of each camera, 0: all (default: %(default)s)',
    )  # fmt: skip
    for name in ('start', 'end'):
        parser.add_argument(
            f'--{name}', type=float, metavar='S',
            help='seconds from the beginning of a recording, or (from 1e8 on) since 1970',
        )  # fmt: skip
    parser.add_argument(
        '--fps', type=float,
        help="of videos and folders (default: a video's own; of a folder all images are taken)",
    )  # fmt: skip
    parser.add_argument(
        '--min-change', type=float, default=defaults.min_change, metavar='SHARE',
        help='least share of an image that is new, 0: keep all (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument(
        '--quality', type=int, default=defaults.quality,
        help='of JPEG, where a frame is not one already (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--longest-side', type=int, metavar='PX', help='make larger images this small'
    )


def run(args: argparse.Namespace) -> int:
    """Take the frames of every recording; returns the exit status."""
    values = {name: getattr(args, name) for name in Selection.model_fields}
    selection = parse(Selection, values, 'unidrive frames')
    _check(args.recordings, args.out, args.topics, args.fps, selection)
    with FrameFolder(args.out, args.split) as folder:
        seen = SeenImages(selection.min_change)
        for image in folder.thumbnails:
            seen.add(image)
        for path in args.recordings:
            with open_recording(path, args.topics, args.fps) as recording:
                tally = take_frames(recording, folder, seen, selection)
            _report(recording, tally)
        if not len(folder):
            raise UserError(f'{args.out}: not one frame could be taken; see the lines above')
        print(f'{len(folder)} images in {args.out}')
    return 0


def take_frames(
    recording: Recording, folder: FrameFolder, seen: SeenImages, selection: Selection
) -> Tally:
    """Write the chosen frames of a recording into ``folder``; returns what became of all."""
    tally = Tally()
    start_ns, end_ns = _window(recording, selection)
    pace = Pace(selection.rate if recording.has_time else 0)
    is_whole = selection.start is None and selection.end is None
    total = recording.count if is_whole else None  # nobody knows how many a part has
    with tqdm(total=total, unit='frame', desc=recording.path.name, dynamic_ncols=True) as progress:
        for shot in recording.shots(start_ns, end_ns):
            tally.read += 1
            progress.update()
            if not pace.is_due(shot.frame.topic, shot.frame.stamp_ns):
                tally.too_close += 1
            elif folder.has(shot):
                tally.there += 1
                pace.take(shot.frame.topic, shot.frame.stamp_ns)
            elif _take(shot, folder, seen, selection, tally):
                pace.take(shot.frame.topic, shot.frame.stamp_ns)
    return tally


def _take(
    shot: Shot, folder: FrameFolder, seen: SeenImages, selection: Selection, tally: Tally
) -> bool:
    """Write the frame unless it was seen; False for a bad one, instead of which comes the next."""
    frame = shot.frame
    try:
        rgb = frame.rgb()
        image = thumbnail(rgb)
        if seen.has_near_duplicate(image):
            tally.near_duplicates += 1
            return True
        data = _jpeg(frame, rgb, selection)
    except UserError as error:
        tally.bad.append(f'{shot.source} {frame.topic} at {frame.stamp_ns} ns: {error}')
        return False
    folder.add(shot, data, stamp_of(frame.header), image)
    seen.add(image)
    tally.kept += 1
    return True


def _jpeg(frame: Frame, rgb: np.ndarray, selection: Selection) -> bytes:
    """The image as a JPEG file; one that is a JPEG of the right size is not encoded again."""
    height, width = rgb.shape[:2]
    scale = (selection.longest_side or max(height, width)) / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    elif frame.msgtype == COMPRESSED and _is_plain_jpeg(frame.message):
        return bytes(frame.message.data)
    return rgb_to_compressed(rgb, quality=selection.quality).tobytes()


def _is_plain_jpeg(message: Any) -> bool:
    """Whether any program shows its true colours (see image_codec on what CompressedImage has)."""
    text = message.format
    is_odd = 'compressed rgb' in text or text.startswith('bayer_')
    return bytes(message.data[:2]) == b'\xff\xd8' and not is_odd


def _check(
    paths: Sequence[Path],
    out: Path,
    topics: Sequence[str],
    fps: float | None,
    selection: Selection,
) -> None:
    """Open every recording once, so that a wrong one is found before hours of work."""
    found: set[str] = set()
    for path in paths:
        inside, outside = path.resolve(), out.resolve()
        if inside == outside or inside in outside.parents or outside in inside.parents:
            raise UserError(f'{path} and OUT {out} lie in each other; give another OUT')
        with open_recording(path, topics, fps) as recording:
            found.update(recording.topics)
            _window(recording, selection)
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise UserError(f'no bag has images on {", ".join(missing)}; leave it out')


def _window(recording: Recording, selection: Selection) -> tuple[int, int | None]:
    """First and last time of recording (ns) of the frames to take; None: to the end."""
    start, end = selection.start, selection.end
    if not recording.has_time and (start, end) != (None, None):
        raise UserError(f'{recording.path}: images have no time for start and end; give fps too')
    start_ns = recording.begin_ns if start is None else recording.stamp_ns(start)
    end_ns = None if end is None else recording.stamp_ns(end)
    if end_ns is not None and end_ns <= start_ns:
        raise UserError(f'{recording.path}: the end, {end:g}, is not after the start; make it so')
    return start_ns, end_ns


def _report(recording: Recording, tally: Tally) -> None:
    for sentence in tally.bad[:SHOWN_BAD_FRAMES]:
        print(f'bad frame {sentence}')
    if len(tally.bad) > SHOWN_BAD_FRAMES:
        print(f'... and {len(tally.bad) - SHOWN_BAD_FRAMES} more bad frames')
    if recording.aside:
        print(f'no camera by its name, so left out: {", ".join(recording.aside)}; see --topic')
    if recording.damage:
        print(f'warning: {recording.damage}')
    print(f'{recording.path}: {tally}')
