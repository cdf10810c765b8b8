# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a replay gave: rate, latency, drops, and scores where the recording brings its truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from unidrive_perception.bags.reader import is_bag, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.labels import LabelTable
from unidrive_perception.messages import (
    Message,
    ResultArrays,
    array_from_mask,
    arrays_from_detections,
    labels_from_message,
    prediction_from_result,
    stamp_of,
)
from unidrive_perception.sources import FrameSource
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.segmentation import SegmentationEvaluator, drivable_extras

_MASKS = ('semantic', 'drivable')
_STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'publish')
_ANOTHER_CLOCK_MS = 60_000.0

T = TypeVar('T')


@dataclass
class Outcome:
    """Where the results are, their image stamps (ns) in order, the node's times (ms) per result,
    counters, scores 0..1, and what the user should know of the recording.
    """

    frames: int
    results: Path
    stamps: list[int]
    labels: dict[str, LabelTable]
    times: dict[str, np.ndarray]
    received: int
    dropped: int
    bad: int
    scores: dict[str, float]
    warnings: list[str]

    @property
    def span_s(self) -> float:
        """Seconds of the recording from the first result to the last."""
        return (self.stamps[-1] - self.stamps[0]) / 1e9


def with_results(
    things: Iterable[tuple[int, T]], results: Path
) -> Iterator[tuple[T, ResultArrays]]:
    """Pair what has a stamp (ns) with the result of that stamp; what has none is left out.

    One result is in memory at a time: both sides must come in the order of the recording.
    """
    with open_bag(results) as bag:
        found = _results(bag)
        stamp, result = next(found, (None, None))
        for wanted, thing in things:
            while stamp is not None and stamp < wanted:
                stamp, result = next(found, (None, None))
            if stamp is None:
                return
            if stamp == wanted:
                yield thing, prediction_from_result(result)


def _results(bag) -> Iterator[tuple[int, Message]]:
    topics = [topic for topic in bag.topics if topic.endswith('/result')]
    for message in bag.messages(topics):
        content = bag.deserialize(message)
        yield stamp_of(content.header), content


def read_outcome(results: Path, recording: Path, source: FrameSource, rate: float) -> Outcome:
    """Read the recorded messages; UserError when the node published nothing.

    ``rate``: how many times as fast as recorded it was played; so fast runs the node's clock.
    """
    with open_bag(results) as bag:
        stamps = [stamp for stamp, _ in _results(bag)]
        timings, labels = [], {}
        small = [topic for topic in bag.topics if topic.endswith(('/timing', '/labels'))]
        for message in bag.messages(small):
            content = bag.deserialize(message)
            if message.topic.endswith('/timing'):
                timings.append(content)
            else:
                labels = labels_from_message(content)
    if not stamps or not timings:
        said = _warning_of_the_player(results.with_name('logs') / 'player.log')
        raise UserError(f'{recording}: the node published no result; {said}')
    times = {name: np.array([getattr(t, f'{name}_ms') for t in timings]) for name in _STAGES}
    times['age'] = np.array([t.age_ms for t in timings]) / rate
    return Outcome(
        frames=source.count,
        results=results,
        stamps=stamps,
        labels=labels,
        times=times,
        received=timings[-1].received,
        dropped=timings[-1].dropped,
        bad=timings[-1].bad,
        scores=_scores(recording, results, labels),
        warnings=_warnings(source, stamps),
    )


def _warning_of_the_player(log: Path) -> str:
    """Why there may have been nothing to see for the node, or where to look for a reason."""
    lines = log.read_text().splitlines() if log.is_file() else []
    warnings = [line.partition('warning: ')[2] for line in lines if 'warning: ' in line]
    return warnings[-1] if warnings else f'see the logs in {log.parent}'


def _warnings(source: FrameSource, stamps: list[int]) -> list[str]:
    warnings = [source.damage] if source.damage else []
    if any(later <= earlier for earlier, later in pairwise(stamps)):
        warnings.append(
            'the stamps of its images do not rise: results may be drawn over the wrong images'
        )
    return warnings


def _scores(recording: Path, results: Path, labels: dict[str, LabelTable]) -> dict[str, float]:
    """Scores against ``/truth/*`` messages of the recording; empty where it has none."""
    if not is_bag(recording):
        return {}
    boxes = DetectionEvaluator(labels['detection']) if 'detection' in labels else None
    masks = {task: SegmentationEvaluator(labels[task]) for task in _MASKS if task in labels}
    scored: set[str] = set()
    for (task, truth), found in with_results(_truths(recording), results):
        if task == 'detections' and boxes:
            truth_boxes, truth_scores, truth_ids = arrays_from_detections(truth)
            detections = (found.boxes, found.scores, found.class_ids)
            boxes.add(truth_boxes, truth_ids, *detections, crowd=truth_scores == 0)
            scored.add('detection')
        elif task in masks:
            masks[task].add(array_from_mask(truth), getattr(found, task))
            scored.add(task)
    scores = {'AP50 of the published boxes': boxes.scores().ap50} if 'detection' in scored else {}
    if 'semantic' in scored:
        scores['semantic mIoU'] = masks['semantic'].scores().mean_iou
    if 'drivable' in scored:
        drivable = masks['drivable']
        extras = drivable_extras(drivable.confusion, drivable.labels)
        scores['drivable mIoU, BDD100K toolkit'] = extras['bdd_mean_iou']
        scores['drivable mIoU, plain'] = drivable.scores().mean_iou
    return scores


def _truths(recording: Path) -> Iterator[tuple[int, tuple[str, Message]]]:
    with open_bag(recording) as bag:
        wanted = [topic for topic in bag.topics if topic.startswith('/truth/')]
        for message in bag.messages(wanted):
            truth = bag.deserialize(message)
            task = message.topic.rsplit('/', 1)[1].removesuffix('_mask')
            yield stamp_of(truth.header), (task, truth)


def _latency(age: np.ndarray) -> str:
    age = age[np.isfinite(age)]
    if not len(age) or abs(np.median(age)) > _ANOTHER_CLOCK_MS:
        return 'not known: the stamps of the images are not the times at which they were recorded'
    p50, p99 = np.percentile(age, [50, 99])
    return f'{p50:.0f} ms median, {p99:.0f} ms p99, ± 10 ms (image due → results published)'


def table(outcome: Outcome) -> str:
    """The outcome as text."""
    lost = f'{outcome.dropped} dropped for newer images, {outcome.bad} bad'
    rows = [
        ('frames', f'{outcome.frames} played, {outcome.received} received by the node'),
        ('results', f'{len(outcome.stamps)} ({lost})'),
    ]
    if outcome.span_s > 0:
        rate = (len(outcome.stamps) - 1) / outcome.span_s
        rows.append(('rate', f'{rate:.1f} results per second of the recording'))
    rows.append(('latency', _latency(outcome.times['age'])))
    stages = ', '.join(f'{name} {np.median(outcome.times[name]):.1f}' for name in _STAGES)
    rows.append(('stages, ms', f'{stages} (medians)'))
    rows += [(name, f'{value:.1%}'.replace('%', ' %')) for name, value in outcome.scores.items()]
    rows += [('warning', warning) for warning in outcome.warnings]
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'{name:<{width}}  {value}' for name, value in rows)
