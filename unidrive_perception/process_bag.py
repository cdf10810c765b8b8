# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive process-bag IN OUT``: the results of every frame of a bag, video or folder, as a bag.

No ROS, no drops. The messages are those that the node publishes, on its topics, under the header
of their image and with the image's time of recording; nothing depends on the clock, so every run
writes the same messages. The work is divided among processes and survives a kill: the same command
goes on from the parts that are finished. See :mod:`unidrive_perception.processing`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unidrive_perception.bags.reader import STORAGES
from unidrive_perception.bundle import default_bundle
from unidrive_perception.errors import UserError
from unidrive_perception.node.parameters import TABLE, USE_BUNDLE_THRESHOLD
from unidrive_perception.predictor import DEVICES
from unidrive_perception.processing.cameras import asked_cameras
from unidrive_perception.processing.plan import Settings
from unidrive_perception.processing.steps import Stopped, make_bag
from unidrive_perception.processing.summary import PLOT, SUMMARY

ALSO = (
    *('drivable_area', 'drivable_grid', 'semantic_image', 'drivable_image'),
    *('semantic_color', 'drivable_color'),
)
"""Topics of the node that are written only where they are asked for."""
OVERLAY_QUALITY = 85
SHOWN_BAD_FRAMES = 5
MOST_JOBS = 256
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('input', help='bag (rosbag2 or rosbag1), video, or folder of images')
    parser.add_argument('output', help='bag to write; it must not exist')
    parser.add_argument(
        '--model', metavar='BUNDLE', help='model bundle (default: the one shipped)'
    )
    _add_input_arguments(parser)
    _add_output_arguments(parser)
    parser.add_argument('--device', choices=DEVICES, default='auto', help='default: auto')
    parser.add_argument(
        '--jobs',
        type=int,
        default=0,
        help='processes (default: one per core; with CUDA 4 at most)',
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='CPU threads of each (default: cores / jobs)'
    )
    parser.add_argument(
        '--score-threshold',
        type=float,
        default=USE_BUNDLE_THRESHOLD,
        help='smallest score reported (default: the bundle says)',
    )
    parser.add_argument(
        '--track',
        action='store_true',
        help='follow objects: track_id. Done frame by frame at the end, where overlays are then '
        'drawn too',
    )


def _add_input_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--topic',
        action='append',
        default=[],
        help='image topic of the input, where it has several; of several that are given, each '
        'has its results below /perception/NAME/, where /NAME/image_raw is the topic',
    )
    parser.add_argument(
        '--camera',
        action='append',
        default=[],
        metavar='NAME=TOPIC',
        help='image topic whose results are to be below /perception/NAME/; as often as needed',
    )
    parser.add_argument(
        '--fps', type=float, help='frames per second of a video or folder (default: its own; 10)'
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--storage', choices=STORAGES, default='mcap', help='default: mcap')
    parser.add_argument(
        '--copy-images', action='store_true', help='write the images too, beside their results'
    )
    parser.add_argument(
        '--overlay', action='store_true', help='write overlay/compressed too: JPEG pictures'
    )
    parser.add_argument(
        '--overlay-quality',
        type=int,
        default=OVERLAY_QUALITY,
        metavar='1..100',
        help=f'JPEG quality of overlays (default: {OVERLAY_QUALITY})',
    )
    parser.add_argument(
        '--also', nargs='+', choices=ALSO, default=[], metavar='TOPIC',
        help=f'further topics of the node to write: {", ".join(ALSO)}',
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    settings = _settings(args)
    out = Path(os.path.abspath(args.output))  # not resolved: a link is given its target's place
    was_done = out.exists()
    try:
        content = make_bag(settings, out, args.storage, args.jobs, args.threads)
    except Stopped as stopped:
        print(f'\nunidrive: {stopped}')
        return INTERRUPTED
    for sentence in _report(content, args.output, was_done):
        print(sentence)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """Check the arguments."""
    TABLE['threads'].check(args.threads)
    threshold = TABLE['score_threshold'].check(args.score_threshold)
    if not 0 <= args.jobs <= MOST_JOBS:
        raise UserError(f'--jobs must be from 0 to {MOST_JOBS}, not {args.jobs}')
    if not 1 <= args.overlay_quality <= 100:
        raise UserError(f'--overlay-quality must be from 1 to 100, not {args.overlay_quality}')
    return Settings(
        input=args.input,
        cameras=tuple(asked_cameras(args.topic, args.camera)),
        model=str(args.model or default_bundle()),
        fps=args.fps,
        device=args.device,
        score_threshold=None if threshold == USE_BUNDLE_THRESHOLD else threshold,
        track=args.track,
        overlay=args.overlay_quality if args.overlay else None,
        copy_images=args.copy_images,
        also=tuple(sorted(set(args.also))),
    )


def _report(content: Mapping[str, Any], output: str, was_done: bool) -> list[str]:
    """Return the lines that tell what is in ``summary.json``, which may be of an earlier run."""
    bad, frames, run = content['bad_frames'], content['frames'], content['run']
    lines = [
        f'bad frame {b["frame"]} (recorded at {b["stamp_ns"]} ns): {b["reason"]}'
        for b in bad[:SHOWN_BAD_FRAMES]
    ]
    if len(bad) > SHOWN_BAD_FRAMES:
        lines.append(f'... and {len(bad) - SHOWN_BAD_FRAMES} more bad frames')
    if content['damage']:
        lines.append(f'warning: {content["damage"]}')
    found = {name: c['boxes'] for name, c in content['objects'].items() if c['boxes']}
    if found:
        best = sorted(found, key=found.get, reverse=True)
        lines.append('objects: ' + ', '.join(f'{found[name]} {name}' for name in best))
    is_timed = run['frames'] and not was_done
    rate = f', {run["frames_per_second"]:.1f} frames/s' if is_timed else ''
    lines.append(
        f'{"nothing is left to do: " if was_done else ""}{frames["processed"]} frames processed, '
        f'{frames["bad"]} bad{rate}; results, {SUMMARY} and {PLOT} in {output}'
    )
    return lines
