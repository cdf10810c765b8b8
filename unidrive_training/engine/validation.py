# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a model in training on held-out folders, and which of them is the best so far."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unidrive_training.evaluation.checkpoint_predictor import ModelPredictor
from unidrive_training.evaluation.evaluate import Evaluation, evaluate

_MAIN = {'detection': 'ap50', 'semantic': 'mean_iou', 'drivable': 'mean_iou'}


class Validation:
    """``history``: [{iteration, scores}] of every evaluation; ``latest``: the last one, whole."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.history: list[dict[str, Any]] = []
        self.best = -math.inf
        self.latest: dict[str, Evaluation] = {}

    def run(self, predictor: ModelPredictor, iteration: int) -> bool:
        """Score the model; whether it is better than ever. All processes must call it.

        Better: the mean over folders and tasks of AP50 and mIoU (of three classes for drivable).
        """
        self.latest = {_name(self.folders, f): evaluate(predictor, f) for f in self.folders}
        plain = json.loads(json.dumps(self.scores))  # numbers of Python, for the checkpoint
        self.history = [entry for entry in self.history if entry['iteration'] != iteration]
        self.history.append({'iteration': iteration, 'scores': plain})
        values = [
            metrics[_MAIN[task]]
            for tasks in self.scores.values()
            for task, metrics in tasks.items()
        ]
        value = fmean([v for v in values if math.isfinite(v)] or [-math.inf])
        improved = value > self.best
        self.best = max(self.best, value)
        return improved

    @property
    def scores(self) -> dict[str, dict[str, dict]]:
        """Folder → task → metric → value, of the last evaluation."""
        return {name: evaluation.scores for name, evaluation in self.latest.items()}

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        folders = [str(folder) for folder in self.folders]
        return {'history': self.history, 'best': self.best, 'folders': folders}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; on other folders nothing has been the best yet."""
        self.history = state['history']
        if state['folders'] == self.state()['folders']:
            self.best = state['best']


def _name(folders: Sequence[Path], folder: Path) -> str:
    """The folder's own name, where no other is called so."""
    names = [other.name for other in folders]
    return folder.name if names.count(folder.name) == 1 else str(folder)
