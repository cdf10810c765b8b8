# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a replay gave: rate, latency, drops, and scores where the recording brings its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unidrive_perception.bags import is_bag, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.labels import LabelTable
from unidrive_perception.messages import (
    ResultArrays,
    array_from_mask,
    arrays_from_detections,
    labels_from_message,
    prediction_from_result,
)
from unidrive_perception.sources import FrameSource
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.segmentation import SegmentationEvaluator

_MASKS = ('semantic', 'drivable')
_STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'publish')

_ANOTHER_CLOCK_MS = 60_000.0


@dataclass
class Outcome:
    """Results by image stamp (ns), the node's times (ms) per result, counters, and scores 0..1."""

    frames: int
    span_s: float
    results: dict[int, ResultArrays]
    labels: dict[str, LabelTable]
    times: dict[str, np.ndarray]
    received: int
    dropped: int
    bad: int
    scores: dict[str, float]


def stamp_of(header: object) -> int:
    """Header stamp in ns."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def read_outcome(results: Path, recording: Path, source: FrameSource) -> Outcome:
    """Read the recorded messages; UserError when the node published nothing."""
    predictions: dict[int, ResultArrays] = {}
    timings, labels = [], {}
    with open_bag(results) as bag:
        for message in bag.messages():
            content = bag.deserialize(message)
            if message.topic.endswith('/result'):
                predictions[stamp_of(content.header)] = prediction_from_result(content)
            elif message.topic.endswith('/timing'):
                timings.append(content)
            elif message.topic.endswith('/labels'):
                labels = labels_from_message(content)
    if not predictions or not timings:
        raise UserError(f'{results}: the node published no result; see logs/ beside it')
    times = {name: np.array([getattr(t, f'{name}_ms') for t in timings]) for name in _STAGES}
    times['age'] = np.array([t.age_ms for t in timings])
    stamps = sorted(predictions)
    return Outcome(
        frames=source.count,
        span_s=(stamps[-1] - stamps[0]) / 1e9,
        results=predictions,
        labels=labels,
        times=times,
        received=timings[-1].received,
        dropped=timings[-1].dropped,
        bad=timings[-1].bad,
        scores=_scores(recording, predictions, labels),
    )


def _scores(
    recording: Path, predictions: dict[int, ResultArrays], labels: dict[str, LabelTable]
) -> dict[str, float]:
    """Scores against ``/truth/*`` messages of the recording; empty where it has none."""
    if not is_bag(recording):
        return {}
    boxes = DetectionEvaluator(labels['detection']) if 'detection' in labels else None
    masks = {task: SegmentationEvaluator(labels[task]) for task in _MASKS if task in labels}
    scored: set[str] = set()
    with open_bag(recording) as bag:
        wanted = [topic for topic in bag.topics if topic.startswith('/truth/')]
        for message in bag.messages(wanted) if wanted else ():
            truth = bag.deserialize(message)
            found = predictions.get(stamp_of(truth.header))
            task = message.topic.rsplit('/', 1)[1].removesuffix('_mask').removesuffix('s')
            if found is None:
                continue
            if message.topic == '/truth/detections' and boxes:
                truth_boxes, truth_scores, truth_ids = arrays_from_detections(truth)
                detections = (found.boxes, found.scores, found.class_ids)
                boxes.add(truth_boxes, truth_ids, *detections, crowd=truth_scores == 0)
                scored.add('detection')
            elif task in masks:
                masks[task].add(array_from_mask(truth), getattr(found, task))
                scored.add(task)
    scores = {'AP50 of the published boxes': boxes.scores().ap50} if 'detection' in scored else {}
    for task in _MASKS:
        if task in scored:
            scores[f'{task} mIoU'] = masks[task].scores().mean_iou
    return scores


def _latency(age: np.ndarray) -> str:
    age = age[np.isfinite(age)]
    if not len(age) or abs(np.median(age)) > _ANOTHER_CLOCK_MS:
        return 'not known: the stamps of the images are not the times at which they were recorded'
    p50, p99 = np.percentile(age, [50, 99])
    return f'{p50:.0f} ms median, {p99:.0f} ms p99 (image due → results published)'


def table(outcome: Outcome) -> str:
    """The outcome as text."""
    rows = [
        ('frames', f'{outcome.frames} played, {outcome.received} received by the node'),
        ('results', f'{len(outcome.results)} ({outcome.dropped} dropped, {outcome.bad} bad)'),
    ]
    if outcome.span_s > 0:
        rate = (len(outcome.results) - 1) / outcome.span_s
        rows.append(('rate', f'{rate:.1f} results per second of the recording'))
    rows.append(('latency', _latency(outcome.times['age'])))
    stages = ', '.join(f'{name} {np.median(outcome.times[name]):.1f}' for name in _STAGES)
    rows.append(('stages, ms', f'{stages} (medians)'))
    rows += [(name, f'{value:.3f}') for name, value in outcome.scores.items()]
    width = max(len(name) for name, _ in rows)
    return '\n'.join(f'{name:<{width}}  {value}' for name, value in rows)
