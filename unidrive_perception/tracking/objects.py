# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The objects that are followed: a table with one row each."""

from __future__ import annotations

import numpy as np

from unidrive_perception.tracking.kalman import BoxFilters

_VOTE_MEMORY = 0.9  # what a vote for a class still counts after the next one


class Objects:
    """What is known of each object, in rows.

    ``filters``: where it is; ``ids`` (N,) int64, 0 for a beginner that was seen once;
    ``unseen_s`` (N,): for how long it has had no box.
    """

    def __init__(self) -> None:
        """Start without objects."""
        self.filters = BoxFilters()
        self.ids = np.zeros(0, np.int64)
        self.unseen_s = np.zeros(0)
        self._votes = np.zeros((0, 0))  # (N, classes): summed scores, the newest count most

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self.ids)

    @property
    def classes(self) -> np.ndarray:
        """The class that got the most votes of late: (N,) int64."""
        return self._votes.argmax(1)

    def add(self, boxes: np.ndarray, class_ids: np.ndarray, scores: np.ndarray) -> None:
        """Append beginners that were seen once."""
        count = len(boxes)
        if not count:
            return
        self.filters.add(boxes)
        self.ids = np.append(self.ids, np.zeros(count, np.int64))
        self.unseen_s = np.append(self.unseen_s, np.zeros(count))
        self._votes = np.concatenate([self._votes, np.zeros((count, self._votes.shape[1]))])
        self._vote(np.arange(len(self) - count, len(self)), class_ids, scores)

    def see(
        self, rows: np.ndarray, boxes: np.ndarray, class_ids: np.ndarray, scores: np.ndarray
    ) -> None:
        """Take a box for each of ``rows``."""
        self.filters.correct(rows, boxes)
        self.unseen_s[rows] = 0
        self._vote(rows, class_ids, scores)

    def let_pass(self, seconds: float) -> None:
        """Move on by ``seconds`` in which nothing was seen."""
        self.unseen_s += seconds
        self.filters.predict(seconds)

    def keep(self, rows: np.ndarray) -> None:
        """Forget all objects but those of the mask ``rows``."""
        if rows.all():
            return
        self.filters.keep(rows)
        self.ids, self.unseen_s = self.ids[rows], self.unseen_s[rows]
        self._votes = self._votes[rows]

    def _vote(self, rows: np.ndarray, class_ids: np.ndarray, scores: np.ndarray) -> None:
        missing = int(class_ids.max(initial=-1)) + 1 - self._votes.shape[1]
        if missing > 0:
            self._votes = np.pad(self._votes, ((0, 0), (0, missing)))
        self._votes[rows] *= _VOTE_MEMORY
        self._votes[rows, class_ids] += scores
