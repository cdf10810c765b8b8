# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How well objects keep their ids, against a naive tracker and a published one, and what it costs.

    python3 benchmarks/tracking.py [--drives 8] [--seconds 8]

Needs ``pip install motmetrics``; with ``supervision==0.25.1`` beside it, its ByteTrack is measured
on the same boxes. The streets are generated, the boxes are those of the true objects with the
errors of a weak network (about the default bundle) and of a good one. Naive: each box gets the id
of the last image's box that it overlaps most, from 0.3 on. A box is right from an overlap of 0.5.
Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable

import motmetrics
import numpy as np
from street_objects import Network, Truth, street

from unidrive_perception.predictor import Prediction
from unidrive_perception.tracking import WEAK_SHARE, Tracker
from unidrive_perception.tracking.association import overlap

try:
    import supervision
except ImportError:
    supervision = None

THRESHOLD = 0.3
GOOD = Network(0.85, 0.3, 0.1, 0.07, shift=0.03, mistaken=0.02, twice=0.0, false=1.0)
NETWORKS = {'weak': Network(), 'good': GOOD}
FPS = 30  # of the streets; slower cameras see every so-manieth image of them
FIRST_SEED = 800_000
COSTS = (10, 30, 100, 300)

Follow = Callable[[Prediction, int], Prediction]
"""From boxes and a stamp in nanoseconds to those that are followed, with their ids."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--drives', type=int, default=8)
    parser.add_argument('--seconds', type=float, default=8.0, help='of each drive')
    args = parser.parse_args()
    warnings.filterwarnings('ignore', category=FutureWarning)  # of pandas, within motmetrics
    seeds = range(FIRST_SEED, FIRST_SEED + args.drives)
    drives = [list(street(seed, args.seconds, FPS)) for seed in seeds]
    print(
        '| network, images | tracker | MOTA | IDF1 | recall | precision | switches | ids | true |'
    )
    print('| --- | --- | --- | --- | --- | --- | --- | --- | --- |')
    for network in NETWORKS:
        for images in ('30/s', '10/s', '3/s', '10/s, 40 % dropped'):
            measure(network, images, drives)
    print('\n| boxes | median [ms] | 99 % [ms] |\n| --- | --- | --- |')
    for count in COSTS:
        print(f'| {count} | {cost(count)} |')


def measure(network: str, images: str, drives: list[list[Truth]]) -> None:
    """Print the rows of one network and one rate."""
    fps, dropped = int(images.split('/')[0]), 0.4 if 'dropped' in images else 0.0
    rng = np.random.default_rng(0)
    cases = []
    for seed, drive in enumerate(drives):
        truths = [t for t in drive[:: FPS // fps] if rng.random() >= dropped]
        cases.append((truths, NETWORKS[network].detect(truths, seed)))
    for name, make in trackers(fps).items():
        scores = []
        for truths, predictions in cases:
            scores.append(score(make(), truths, predictions))
        metrics = ['mota', 'idf1', 'recall', 'precision', 'num_switches', 'num_unique_objects']
        host = motmetrics.metrics.create()
        summary = host.compute_many([s[0] for s in scores], metrics=metrics, generate_overall=True)
        mota, idf1, recall, precision, switches, true = summary.iloc[-1]
        ids = sum(s[1] for s in scores)
        quality = ' | '.join(f'{value:.3f}' for value in (mota, idf1, recall, precision))
        print(
            f'| {network}, {images} | {name} | {quality} | {switches:.0f} | {ids} | {true:.0f} |',
            flush=True,
        )


def score(
    follow: Follow, truths: list[Truth], predictions: list[Prediction]
) -> tuple[motmetrics.MOTAccumulator, int]:
    """Follow one drive: what motmetrics counts, and the number of ids given."""
    counts, ids = motmetrics.MOTAccumulator(auto_id=True), set()
    for truth, prediction in zip(truths, predictions, strict=True):
        found = follow(prediction, round(truth.seconds * 1e9))
        near = overlap(truth.boxes, found.boxes)
        counts.update(truth.ids, found.track_ids, np.where(near >= 0.5, 1 - near, np.nan))
        ids.update(found.track_ids.tolist())
    return counts, len(ids)


def trackers(fps: float) -> dict[str, Callable[[], Follow]]:
    """Return how to make each tracker anew."""
    made = {
        'UniDrive': lambda: ours(THRESHOLD * WEAK_SHARE),
        'UniDrive without weak boxes': lambda: ours(THRESHOLD),
        'naive': naive,
    }
    if supervision is not None:
        made['supervision'] = lambda: supervision_tracker(fps)
    return made


def ours(least_score: float) -> Follow:
    """Make ours, which is given boxes from ``least_score`` on."""
    tracker = Tracker()

    def follow(prediction: Prediction, stamp_ns: int) -> Prediction:
        boxes = chosen(prediction, prediction.scores >= least_score)
        found = tracker.update(boxes, THRESHOLD, stamp_ns)
        return chosen(found, found.track_ids > 0)

    return follow


def naive() -> Follow:
    """Make a tracker as one would first write it."""
    last: Prediction | None = None
    count = 0

    def follow(prediction: Prediction, _: int) -> Prediction:
        nonlocal last, count
        found = chosen(prediction, prediction.scores >= THRESHOLD)
        ids = np.zeros(len(found.boxes), np.int64)
        near = overlap(last.boxes, found.boxes) if last else np.zeros((0, len(ids)))
        while near.size and near.max() >= 0.3:
            old, new = np.unravel_index(near.argmax(), near.shape)
            ids[new] = last.track_ids[old]
            near[old], near[:, new] = 0, 0
        fresh = np.flatnonzero(ids == 0)
        ids[fresh] = count + 1 + np.arange(len(fresh))
        count += len(fresh)
        last = dataclasses.replace(found, track_ids=ids)
        return last

    return follow


def supervision_tracker(fps: float) -> Follow:
    """Make supervision's ByteTrack, as it comes but for our threshold and the frame rate.

    Its buffer is ``lost_track_buffer * frame_rate / 30`` images: 30 stands for one second.
    """
    tracker = supervision.ByteTrack(
        frame_rate=fps, lost_track_buffer=30, track_activation_threshold=THRESHOLD
    )

    def follow(prediction: Prediction, _: int) -> Prediction:
        detections = supervision.Detections(
            xyxy=prediction.boxes.astype(float),
            confidence=prediction.scores,
            class_id=prediction.class_ids,
            data={'row': np.arange(len(prediction.boxes))},
        )
        found = tracker.update_with_detections(detections)
        rows = found.data['row'].astype(int) if len(found) else np.zeros(0, int)
        ids = np.zeros(len(prediction.boxes), np.int64)
        ids[rows] = found.tracker_id if len(found) else 0
        followed = dataclasses.replace(prediction, track_ids=ids)
        return chosen(followed, ids > 0)

    return follow


def chosen(prediction: Prediction, rows: np.ndarray) -> Prediction:
    """Return the boxes of the mask ``rows``."""
    names = ('boxes', 'scores', 'class_ids', 'track_ids')
    kept = {name: getattr(prediction, name)[rows] for name in names}
    return dataclasses.replace(prediction, **kept)


def cost(count: int, images: int = 300) -> str:
    """Return median and 99 % of the milliseconds an image of ``count`` drifting boxes takes."""
    rng = np.random.default_rng(0)
    low, speed = rng.uniform(0, 1200, (count, 2)), rng.normal(0, 20, (count, 2))
    size = rng.uniform(10, 80, (count, 2))
    scores = np.sort(rng.uniform(THRESHOLD * WEAK_SHARE, 1, count))[::-1].astype(np.float32)
    class_ids, tracker, times = rng.integers(0, 10, count), Tracker(), []
    for i in range(images):
        corner = low + speed * i / 10 + rng.normal(0, 1, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
        prediction = Prediction((720, 1280), boxes, scores, class_ids, None, None)
        start = time.perf_counter()
        tracker.update(prediction, THRESHOLD, i * 10**8)
        times.append((time.perf_counter() - start) * 1e3)
    return f'{statistics.median(times):.2f} | {np.percentile(times, 99):.2f}'


if __name__ == '__main__':
    main()
