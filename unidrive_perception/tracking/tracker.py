# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Follows the objects of one camera: the same object has the same id in every image.

After Zhang et al. 2022, "ByteTrack: Multi-Object Tracking by Associating Every Detection Box":
boxes with good scores are matched to the objects that are followed; then weak boxes, which alone
would not be believed, to those that are still missing. Three things differ, because a robot's
camera differs from a benchmark's video: time is that of the stamps, as images are dropped; boxes
are matched with the margin that the motion model leaves open, as at 10 images/s a small sign
jumps by its own width; and classes matter, as a rider sits on a bicycle.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from unidrive_perception.predictor import Prediction
from unidrive_perception.tracking.association import assign, distinct, overlap
from unidrive_perception.tracking.objects import Objects

WEAK_SHARE = 2 / 3
"""Boxes with scores down to this share of the score threshold are weak evidence.

With the default bundle on generated streets, weak boxes close a fifth of the gaps in what is
followed (874 left of 1077): 34 % of the objects are followed instead of 32 %, and 68 % of the
boxes with an id are right instead of 72 %. Lower shares close no more gaps, but cost time.
"""

LOST_BUFFER_S = 1.0
"""How long an object that is not seen is waited for (ByteTrack: 30 images at 30 images/s)."""

ASSUMED_PERIOD_S = 0.1
"""Time since the last image where its stamp does not tell, because it is the same."""

JITTER_S = 0.5
"""Stamps may be as much older than the one before, as of images that overtook each other; more is
another time, that of a bag which begins anew."""

_LEAST_OVERLAP = 0.3  # of an object with its box
_LEAST_OF_WEAK = 0.5  # of an object with a weak box, which may as well be nothing
_OTHER_CLASS = 0.5
"""Overlap with a box of another class counts this much: a car that is called a truck once stays
the same object, but a rider and the bicycle below do not change places."""


class Tracker:
    """Gives the boxes of one camera ids. Not for several threads at once.

    Ids count from 1 and are never given twice, also not after :meth:`reset`.
    """

    def __init__(self) -> None:
        """Start without objects."""
        self._next_id = 1
        self._newest_ns = 0
        self.reset()

    def reset(self) -> None:
        """Forget all objects, as after a jump in time or a change of the camera."""
        self._stamp_ns: int | None = None
        self._objects = Objects()

    def notice(self, stamp_ns: int) -> float:
        """Forget all objects where the stamps have jumped back; by how many seconds, 0 for none.

        For images that are not followed; :meth:`update` does it for the others.
        """
        back = (self._newest_ns - stamp_ns) / 1e9
        if back > JITTER_S:
            self.reset()
            self._newest_ns = stamp_ns
            return back
        self._newest_ns = max(self._newest_ns, stamp_ns)
        return 0.0

    def update(self, prediction: Prediction, score_threshold: float, stamp_ns: int) -> Prediction:
        """Return the prediction with ``track_ids``, without weak boxes that continue no object.

        Weak are boxes with scores below ``score_threshold``, see :data:`WEAK_SHARE`. The class of
        a box that is followed becomes the one that its object was given most of late, so that an
        id does not change its class from image to image. The boxes keep their order.
        """
        self.notice(stamp_ns)
        self._let_time_pass(stamp_ns)
        strong = prediction.scores >= score_threshold
        usable = distinct(prediction.boxes, prediction.class_ids)
        box_of = self._associate(prediction, strong & usable, ~strong & usable)
        lasting = (box_of >= 0) | (self._objects.ids > 0)  # a beginner must not be missed once
        self._objects.keep(lasting)
        box_of = box_of[lasting]
        self._learn(prediction, box_of)
        result = self._followed(prediction, strong, box_of)
        self._begin(prediction, strong & usable, box_of)
        return result

    def _let_time_pass(self, stamp_ns: int) -> None:
        """Move the objects to the time of the stamp; those lost for too long are forgotten."""
        passed = ASSUMED_PERIOD_S
        if self._stamp_ns is not None and stamp_ns != self._stamp_ns:
            passed = max(0, stamp_ns - self._stamp_ns) / 1e9
            stamp_ns = max(stamp_ns, self._stamp_ns)
        self._stamp_ns = stamp_ns
        self._objects.keep(self._objects.unseen_s + passed <= LOST_BUFFER_S)
        self._just_seen = self._objects.unseen_s == 0
        self._objects.let_pass(passed)

    def _associate(
        self, prediction: Prediction, strong: np.ndarray, weak: np.ndarray
    ) -> np.ndarray:
        """Return for each object the index of its box, of the strong and weak ones, or -1."""
        objects = self._objects
        box_of = np.full(len(objects), -1)
        if not len(objects) or not len(strong):
            return box_of
        similarity = overlap(objects.filters.boxes(), prediction.boxes, objects.filters.reach())
        similarity[objects.classes[:, None] != prediction.class_ids] *= _OTHER_CLASS
        known, free = objects.ids > 0, strong.copy()

        def match(wanting: np.ndarray, boxes: np.ndarray, least: float) -> None:
            rows, columns = np.flatnonzero(wanting), np.flatnonzero(boxes)
            if len(rows) and len(columns):
                r, c = assign(similarity[rows[:, None], columns], least)
                box_of[rows[r]] = columns[c]
                free[columns[c]] = False

        match(known, strong, _LEAST_OVERLAP)
        # Weak boxes continue what was there a moment ago; they do not bring back what was lost.
        match(known & self._just_seen & (box_of < 0), weak, _LEAST_OF_WEAK)
        match(~known, free, _LEAST_OVERLAP)
        return box_of

    def _learn(self, prediction: Prediction, box_of: np.ndarray) -> None:
        """Tell the objects what was seen of them; beginners seen a second time get their id."""
        objects, seen = self._objects, np.flatnonzero(box_of >= 0)
        boxes = box_of[seen]
        objects.see(
            seen, prediction.boxes[boxes], prediction.class_ids[boxes], prediction.scores[boxes]
        )
        certain = seen[objects.ids[seen] == 0]
        objects.ids[certain] = self._next_id + np.arange(len(certain))
        self._next_id += len(certain)

    def _followed(
        self, prediction: Prediction, strong: np.ndarray, box_of: np.ndarray
    ) -> Prediction:
        """Give the boxes their objects' ids and classes, and leave out the other weak boxes."""
        track_ids, class_ids = np.zeros(len(strong), np.int64), prediction.class_ids.copy()
        rows = np.flatnonzero((box_of >= 0) & (self._objects.ids > 0))
        if len(rows):
            track_ids[box_of[rows]] = self._objects.ids[rows]
            class_ids[box_of[rows]] = self._objects.classes[rows]
        kept = strong | (track_ids > 0)
        return dataclasses.replace(
            prediction,
            boxes=prediction.boxes[kept],
            scores=prediction.scores[kept],
            class_ids=class_ids[kept],
            track_ids=track_ids[kept],
        )

    def _begin(self, prediction: Prediction, strong: np.ndarray, box_of: np.ndarray) -> None:
        """Begin an object with each strong box that has none."""
        free = strong.copy()
        free[box_of[box_of >= 0]] = False
        self._objects.add(
            prediction.boxes[free], prediction.class_ids[free], prediction.scores[free]
        )
