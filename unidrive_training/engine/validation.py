# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a model in training on held-out folders, and which of them is the best so far."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from unidrive_training.data.sources import read_held_out
from unidrive_training.evaluation.checkpoint_predictor import ModelPredictor
from unidrive_training.evaluation.dataset_names import name_datasets
from unidrive_training.evaluation.evaluate import Evaluation, evaluate

_MAIN = {'detection': 'ap50', 'semantic': 'mean_iou', 'drivable': 'mean_iou'}


class Validation:
    """``history``: [{iteration, scores}] of every evaluation; ``latest``: the last one, whole.

    ``records``: what is scored of each of the ``datasets``, name → folder.
    """

    def __init__(
        self, folders: Sequence[Path], tasks: Collection[str], broken: Literal['stop', 'skip']
    ) -> None:
        """Read what of ``tasks`` can be scored; what cannot be read is to be said now."""
        self.folders = folders
        self.datasets = name_datasets(folders)
        self.records = {
            name: read_held_out(root, tasks, broken) for name, root in self.datasets.items()
        }
        self.history: list[dict[str, Any]] = []
        self.best = -math.inf
        self.latest: dict[str, Evaluation] = {}

    def run(self, predictor: ModelPredictor, iteration: int) -> bool:
        """Score the model; whether it is better than ever. All processes must call it.

        Better: the mean over folders and tasks of AP50 and mIoU (of three classes for drivable).
        """
        self.latest = {
            name: evaluate(predictor, root, records=self.records[name])
            for name, root in self.datasets.items()
        }
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
