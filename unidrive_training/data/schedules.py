# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Task schedules: which samples make a batch (LV-Adapter paper, section 3.2).

- ``joint``: any image, with the labels of every task, pseudo-labels among them (self-training).
- ``zeroing``: any image, with its true labels; a task without a label costs nothing.
- ``uniform``, ``weighted``: each batch is of one task, drawn at random; evenly, or in proportion
  to the task's number of labelled images × its epochs.
- ``round-robin``: each batch is of one task, in a fixed order.

All but ``joint`` use true labels only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

Schedule = Literal['joint', 'zeroing', 'uniform', 'weighted', 'round-robin']


def task_of_each_step(
    schedule: Schedule,
    labelled: Mapping[str, int],
    epochs: Mapping[str, float],
    steps: int,
    seed: int | tuple[int, ...],
) -> list[str | None]:
    """The task of every step's batch; ``None``: of all tasks.

    ``labelled``: images with a true label, by task; ``epochs``: 1 for a task that is not in it.
    """
    if schedule in ('joint', 'zeroing'):
        return [None] * steps
    tasks = list(labelled)
    if schedule == 'round-robin':
        return [tasks[step % len(tasks)] for step in range(steps)]
    weights = np.ones(len(tasks))
    if schedule == 'weighted':
        weights = np.array([labelled[task] * epochs.get(task, 1.0) for task in tasks], float)
    rng = np.random.default_rng(seed)
    return [tasks[i] for i in rng.choice(len(tasks), steps, p=weights / weights.sum())]
