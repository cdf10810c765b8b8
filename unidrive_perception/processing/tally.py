# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts the objects of all frames: per class, per camera and over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from unidrive_perception.labels import LabelTable
from unidrive_perception.predictor import Prediction


class Tally:
    """Takes the predictions of all good frames in order."""

    def __init__(self, labels: Mapping[str, LabelTable]) -> None:
        """Start at zero; ``labels['detection']`` gives the classes, if there are any."""
        self.classes = labels['detection'].names if 'detection' in labels else []
        self.frames: Counter[str] = Counter()
        self._stamps: list[int] = []
        self._counts: list[np.ndarray] = []
        self._tracks: set[tuple[str, int, int]] = set()

    def add(self, camera: str, stamp_ns: int, prediction: Prediction) -> None:
        """Count one frame."""
        self.frames[camera] += 1
        self._stamps.append(stamp_ns)
        counts = np.bincount(prediction.class_ids, minlength=len(self.classes))
        self._counts.append(counts.astype(np.uint16))
        pairs = zip(prediction.class_ids.tolist(), prediction.track_ids.tolist(), strict=True)
        self._tracks.update((camera, class_id, track) for class_id, track in pairs if track)

    @property
    def seconds(self) -> np.ndarray:
        """When each frame was recorded, from the first one on."""
        stamps = np.array(self._stamps, np.int64)
        return (stamps - stamps.min(initial=stamps[0] if len(stamps) else 0)) / 1e9

    @property
    def counts(self) -> np.ndarray:
        """(frames, classes): number of objects."""
        return np.array(self._counts, np.uint16).reshape(len(self._stamps), len(self.classes))

    def objects(self) -> dict[str, dict[str, Any]]:
        """Class → boxes in all frames, boxes per frame and, where followed, different objects."""
        totals, frames = self.counts.sum(0, dtype=np.int64), max(1, len(self._stamps))
        tracks = Counter(class_id for _, class_id, _ in self._tracks)
        found = {}
        for i, name in enumerate(self.classes):
            found[name] = {'boxes': int(totals[i]), 'per_frame': round(totals[i] / frames, 4)}
            if self._tracks:
                found[name]['tracks'] = tracks[i]
        return found
