# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive predict IN... OUT``: pictures, boxes and masks of images, videos and bags. No ROS."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.errors import UserError, one_line
from unidrive_perception.node.parameters import TABLE, USE_BUNDLE_THRESHOLD
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predict_files import (
    BoxFile,
    OverlayVideo,
    scalabel_frame,
    write_masks,
    write_overlay,
)
from unidrive_perception.predict_inputs import (
    Input,
    Movie,
    find_inputs,
    frame_name,
    frame_rate,
)
from unidrive_perception.predictor import DEVICES, Prediction, Predictor
from unidrive_perception.source_frames import Frame, FrameSource
from unidrive_perception.tracking import WEAK_SHARE, Tracker

CODECS = {'jpg': 'jpeg', 'png': 'png'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='IN',
        help='images, videos, bags, or folders with such in them or below',
    )
    parser.add_argument('output', metavar='OUT', help='folder for the results, new or empty')
    parser.add_argument(
        '--model', metavar='BUNDLE', help='model bundle (default: the one shipped)'
    )
    parser.add_argument('--device', choices=DEVICES, default='auto', help='default: auto')
    parser.add_argument('--threads', type=int, default=0, help='CPU threads (default: all cores)')
    parser.add_argument(
        '--score-threshold',
        type=float,
        default=USE_BUNDLE_THRESHOLD,
        help='smallest score of a box (default: the bundle says)',
    )
    parser.add_argument(
        '--topic', action='append', default=[], help='image topic of bags; as often as needed'
    )
    parser.add_argument(
        '--fps', type=float, help='frames per second of videos and of images in a row'
    )
    _add_output_arguments(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--json',
        action='store_true',
        help="write boxes too: labels/det_20/det_predict.json, in BDD100K's (Scalabel's) form",
    )
    parser.add_argument(
        '--masks',
        action='store_true',
        help='write masks too: class ids as PNG in labels/sem_seg and labels/drivable',
    )
    parser.add_argument(
        '--track',
        action='store_true',
        help='follow the objects of each video, bag, or folder of images in a row',
    )
    parser.add_argument('--no-overlay', action='store_true', help='write no pictures')
    parser.add_argument(
        '--format', choices=CODECS, default='jpg', help='of the pictures (default: jpg)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='OUT need not be empty; replace what is there'
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 1 where no image could be read."""
    TABLE['threads'].check(args.threads)
    threshold = TABLE['score_threshold'].check(args.score_threshold)
    if args.no_overlay and not (args.json or args.masks):
        raise UserError('with --no-overlay nothing is written: add --json or --masks')
    out = Path(args.output)
    if out.exists() and not out.is_dir():
        raise UserError(f'{out} is a file: give a folder for the results')
    if not args.overwrite and out.is_dir() and any(out.iterdir()):
        raise UserError(f'{out} is not empty: give a new folder, or --overwrite')
    bundle = Bundle.load(args.model or default_bundle())
    inputs = find_inputs(args.inputs, out, args.topic, args.fps)
    predictor = Predictor(
        bundle, args.device, args.threads, None if threshold == USE_BUNDLE_THRESHOLD else threshold
    )
    if args.track:
        predictor.candidate_threshold = predictor.score_threshold * WEAK_SHARE
    predictor.warm_up()
    work = _Work(args, out, predictor)
    with contextlib.ExitStack() as files:
        if args.json:
            work.boxes = files.enter_context(BoxFile(out, predictor.labels))
        for item in inputs:
            work.do(item)
    for line in work.report():
        print(line)
    return 0 if work.processed else 1


@dataclass
class _Work:
    """Predicts one input after the other, and counts."""

    args: argparse.Namespace
    out: Path
    predictor: Predictor
    boxes: BoxFile | None = None
    processed: int = 0
    bad: int = 0
    seconds: float = 0.0
    model_ms: list[float] = field(default_factory=list)
    objects: Counter = field(default_factory=Counter)

    def do(self, item: Input) -> None:
        """Predict all frames of an input."""
        name = item.name if isinstance(item, Movie) else f'{len(item.files)} images'
        with contextlib.ExitStack() as files:
            source = files.enter_context(item.open())
            progress = files.enter_context(
                tqdm(total=source.count, desc=name, unit='frame', dynamic_ncols=True)
            )
            video = None
            if isinstance(item, Movie) and not self.args.no_overlay:
                video = OverlayVideo(self.out, item.name, frame_rate(source))
                files.enter_context(video)
            start = time.monotonic()
            self._frames(item, source, video, progress)
            self.seconds += time.monotonic() - start
        if source.damage:
            tqdm.write(f'warning: {source.damage}')

    def _frames(
        self, item: Input, source: FrameSource, video: OverlayVideo | None, progress: tqdm
    ) -> None:
        tracker, first_ns = Tracker(), None
        for i, frame in enumerate(source):
            first_ns = frame.stamp_ns if first_ns is None else first_ns
            rgb = self._decoded(frame, item, i)
            if rgb is not None:
                prediction = self.predictor.predict(rgb)
                if self.args.track:
                    threshold = self.predictor.score_threshold
                    prediction = tracker.update(prediction, threshold, frame.stamp_ns)
                self._write(item, i, rgb, prediction, video, (frame.stamp_ns - first_ns) / 1e9)
                self._count(prediction)
            progress.update()

    def _decoded(self, frame: Frame, item: Input, i: int) -> np.ndarray | None:
        try:
            return frame.rgb()
        except UserError as error:
            self.bad += 1
            name = frame_name(item, i) if isinstance(item, Movie) else item.files[i]
            tqdm.write(f'bad image {name}: {one_line(error)}')
            return None

    def _write(
        self,
        item: Input,
        i: int,
        rgb: np.ndarray,
        prediction: Prediction,
        video: OverlayVideo | None,
        seconds: float,
    ) -> None:
        name, labels = frame_name(item, i), self.predictor.labels
        if not self.args.no_overlay:
            picture = draw_overlay(rgb, prediction, labels)
            if video is not None:
                video.add(picture)
            else:
                write_overlay(self.out, name, picture, CODECS[self.args.format])
        if self.args.masks:
            write_masks(self.out, name, prediction)
        if self.boxes is not None:
            is_movie = isinstance(item, Movie)
            suffix = '.jpg' if is_movie else item.files[i].suffix
            where = (item.name, i, seconds) if is_movie else ()
            self.boxes.add(scalabel_frame(f'{name}{suffix}', prediction, labels, *where))

    def _count(self, prediction: Prediction) -> None:
        self.processed += 1
        self.model_ms.append(prediction.timing.inference_ms)
        if prediction.class_ids.size:
            names = self.predictor.labels['detection'].names
            self.objects.update(names[class_id] for class_id in prediction.class_ids)

    def report(self) -> list[str]:
        """Return what to tell at the end."""
        if not self.processed:
            return [f'no image could be read ({self.bad} bad)']
        found = ', '.join(f'{n} {name}' for name, n in self.objects.most_common())
        rate = self.processed / self.seconds if self.seconds else 0.0
        return [
            f'objects: {found or "none"}',
            f'{self.processed} images, {self.bad} bad, {rate:.1f} images/s, of which the model '
            f'takes {np.median(self.model_ms):.0f} ms each on {self.predictor.device}; results in '
            f'{self.out}',
        ]
