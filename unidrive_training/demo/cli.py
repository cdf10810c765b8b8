# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive demo``: the whole run-time side at work, on generated scenes or your recording."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.errors import UserError, nothing_at
from unidrive_perception.sources import open_source
from unidrive_training.demo import graph, pictures, report
from unidrive_training.scenes.dataset import SceneSet, write_bag

_SEED = 900  # streets that neither training nor validation has seen
_PRODUCTS = ('scenes', 'results', 'overlay.mp4', 'grid.png', 'logs')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        '--input', type=Path, help='bag, video or image folder (default: generated scenes)'
    )
    parser.add_argument('--topic', help='image topic of a bag that has several')
    parser.add_argument('--out', type=Path, default=Path('out'), help='folder for what it makes')
    parser.add_argument('--model', type=Path, help='bundle (default: the one shipped)')
    parser.add_argument('--rate', type=float, default=1.0, help='times as fast as recorded')


def run(args: argparse.Namespace) -> int:
    """Replay, score, draw; returns the exit status."""
    bundle = Bundle.load(args.model or default_bundle())
    if args.input and not args.input.exists():
        raise UserError(nothing_at(args.input))
    if args.input and args.out.resolve() in args.input.resolve().parents:
        raise UserError(
            f'{args.input} lies in {args.out}, which is cleared: move it or give --out'
        )
    _clear(args.out)
    recording = args.input or _generate(args.out / 'scenes')
    with open_source(recording, args.topic) as source:
        print(f'{source.count} frames of {recording} → perception_node ({bundle.manifest.name})')
        replay = graph.Replay(recording, source, bundle.folder, args.rate)
        results = replay.record(args.out / 'results', args.out / 'logs')
        outcome = report.read_outcome(results, recording, source, args.rate)
        print(report.table(outcome))
        video = pictures.write_video(args.out / 'overlay.mp4', source, outcome)
        grid = pictures.write_grid(args.out / 'grid.png', source, outcome)
    print(f'messages: {results}\nvideo:    {video}\npictures: {grid}')
    return 0


def _clear(out: Path) -> None:
    """Remove what an earlier demo left in ``out``, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _PRODUCTS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _generate(path: Path) -> Path:
    print('no --input: generating street scenes')
    scenes = SceneSet(drives=3, frames=60, seed=_SEED)
    write_bag(path, scenes, storage='mcap', compressed=False)
    return path
