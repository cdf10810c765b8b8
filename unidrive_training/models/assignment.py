# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Optimal one-to-one assignment of predictions to truths (the Hungarian method, by SciPy)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def assign(cost: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest pairs of a (predictions, truths) cost: row and column indices, (min(P, T),) each.

    Costs of a diverged model (NaN, infinite) are made finite, so that it is the loss that reports
    them.
    """
    finite = torch.nan_to_num(cost, nan=1e6, posinf=1e6, neginf=-1e6)
    return linear_sum_assignment(finite.cpu().numpy())
