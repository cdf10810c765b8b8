# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive process-bag IN OUT``: the results of every frame of a bag, video or folder, as a bag.

No ROS, no drops. The messages are those that the node publishes, on its topics, under the header
of their image and with the image's time of recording; nothing depends on the clock, so every run
writes the same messages.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from unidrive_perception.bags import LATCHED, STORAGES, BagWriter
from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.errors import UserError
from unidrive_perception.messages import (
    BagFactory,
    labels_message,
    make_header,
    prediction_messages,
)
from unidrive_perception.parameters import TABLE, USE_BUNDLE_THRESHOLD
from unidrive_perception.predictor import DEVICES, Predictor
from unidrive_perception.sources import Frame, FrameSource, SourceError, open_source

TOPICS = '/perception/'
"""Where the node publishes when it runs under its own name and no namespace."""
SHOWN_BAD_FRAMES = 5


@dataclass
class Summary:
    """What became of the frames: how many were ``processed``, and a sentence for each bad one."""

    processed: int = 0
    bad: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('input', help='bag (rosbag2 or rosbag1), video, or folder of images')
    parser.add_argument('output', help='bag to write; it must not exist')
    parser.add_argument(
        '--model', metavar='BUNDLE', help='model bundle (default: the one shipped)'
    )
    parser.add_argument('--topic', help='image topic of the input, where it has several')
    parser.add_argument(
        '--fps', type=float, help='frames per second of a video or folder (default: its own; 10)'
    )
    parser.add_argument('--storage', choices=STORAGES, default='mcap', help='default: mcap')
    parser.add_argument(
        '--copy-images', action='store_true', help='write the images too, beside their results'
    )
    parser.add_argument('--device', choices=DEVICES, default='auto', help='default: auto')
    parser.add_argument('--threads', type=int, default=0, help='CPU threads (default: all cores)')
    parser.add_argument(
        '--score-threshold',
        type=float,
        default=USE_BUNDLE_THRESHOLD,
        help='smallest score reported (default: the bundle says)',
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    threads = TABLE['threads'].check(args.threads)
    threshold = TABLE['score_threshold'].check(args.score_threshold)
    bundle = Bundle.load(args.model or default_bundle())
    predictor = Predictor(
        bundle, args.device, threads, None if threshold == USE_BUNDLE_THRESHOLD else threshold
    )
    with (
        open_source(args.input, args.topic, args.fps) as source,
        BagWriter(args.output, args.storage) as writer,
        tqdm(total=source.count, unit='frame', dynamic_ncols=True) as progress,
    ):
        summary = process(source, predictor, writer, args.copy_images, progress)
        rate = progress.n / progress.format_dict['elapsed']
    for sentence in summary.bad[:SHOWN_BAD_FRAMES]:
        print(f'bad frame {sentence}')
    if len(summary.bad) > SHOWN_BAD_FRAMES:
        print(f'... and {len(summary.bad) - SHOWN_BAD_FRAMES} more bad frames')
    if source.damage:
        print(f'warning: {source.damage}')
    print(
        f'{summary.processed} frames processed, {len(summary.bad)} bad, {rate:.1f} frames/s; '
        f'results in {args.output}'
    )
    return 0


def process(
    source: FrameSource,
    predictor: Predictor,
    writer: BagWriter,
    copy_images: bool = False,
    progress: tqdm | None = None,
) -> Summary:
    """Write the results of every frame of ``source``; raises SourceError if there is not one."""
    make = BagFactory(writer.typestore)
    summary = Summary()
    for i, frame in enumerate(source):
        if i == 0:
            _write_labels(writer, make, predictor, frame.stamp_ns)
        rgb = _decoded(frame, i, summary)
        if rgb is not None:
            if copy_images:
                data = frame.cdr(writer.typestore)
                writer.write_raw(frame.topic, frame.msgtype, data, frame.stamp_ns)
            _write_results(writer, make, predictor, frame, rgb)
            summary.processed += 1
        if progress is not None:
            progress.update()
    if not summary.processed:
        reason = f': frame {summary.bad[0]}' if summary.bad else ''
        raise SourceError(f'there is no frame on {source.topic} that can be read{reason}')
    return summary


def _decoded(frame: Frame, i: int, summary: Summary) -> np.ndarray | None:
    """Return the pixels; None for a bad frame, which is noted."""
    try:
        return frame.rgb()
    except UserError as error:
        summary.bad.append(f'{i} (recorded at {frame.stamp_ns} ns): {error}')
        return None


def _write_labels(
    writer: BagWriter, make: BagFactory, predictor: Predictor, stamp_ns: int
) -> None:
    """Write the label tables once, latched as the node's are."""
    manifest = predictor.bundle.manifest
    message = labels_message(
        make,
        make_header(make, stamp_ns, ''),
        manifest.name,
        manifest.program.sha256,
        predictor.labels,
    )
    writer.add_topic(f'{TOPICS}labels', message.__msgtype__, [LATCHED])
    writer.write(f'{TOPICS}labels', message, stamp_ns)


def _write_results(
    writer: BagWriter, make: BagFactory, predictor: Predictor, frame: Frame, rgb: np.ndarray
) -> None:
    prediction = predictor.predict(rgb)
    messages = prediction_messages(make, frame.header, prediction, predictor.labels)
    for name, message in messages._asdict().items():
        writer.write(TOPICS + name, message, frame.stamp_ns)
