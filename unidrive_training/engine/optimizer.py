# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How weights move: parameter groups, the learning rate of every step, the moving average."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from unidrive_training.config import Phase


def parameter_groups(
    model: nn.Module, weight_decay: float, rate_factors: Mapping[str, float]
) -> list[dict]:
    """Weight decay on matrices and kernels only, not on norms, biases and learned boxes.

    ``factor``: the group's learning rate relative to the phase's: the product of ``rate_factors``
    whose key is a part of the parameter's name.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decayed = parameter.dim() > 1 and 'proposal_boxes' not in name
        factors = [f for part, f in rate_factors.items() if part in name]
        key = (weight_decay if decayed else 0.0, math.prod(factors))
        groups.setdefault(key, []).append(parameter)
    return [
        {'params': parameters, 'weight_decay': decay, 'factor': factor}
        for (decay, factor), parameters in groups.items()
    ]


def idle_factors(model: nn.Module, rate_factors: Mapping[str, float]) -> list[str]:
    """Those that no parameter is meant by: of a head that a model lacks, or misspelt."""
    names = [name for name, _ in model.named_parameters()]
    return [part for part in rate_factors if not any(part in name for name in names)]


def learning_rate(phase: Phase, step: int, length: int) -> float:
    """The rate at a step of a phase that has ``length`` of them."""
    rate = phase.learning_rate
    if step < phase.warmup:
        ready = step / phase.warmup
        rate *= phase.warmup_factor * (1 - ready) + ready
    if phase.decay == 'steps':
        return rate * 0.1 ** sum(step >= m * length for m in phase.milestones)
    if phase.decay == 'poly':
        return rate * (1 - step / length) ** 0.9
    if phase.decay == 'cosine':
        progress = max(0, step - phase.warmup) / max(1, length - phase.warmup)
        return rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
    return rate


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Exponential average that follows the model closely at first, when there is little to
    average.
    """

    def update(averages: list[Tensor], currents: list[Tensor], count: Tensor) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, 1 - keep)
        else:  # counters
            torch._foreach_copy_(averages, currents)

    return update
