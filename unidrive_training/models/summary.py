# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model consists of: parameters, how many of them learn in each phase, and operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unidrive_training.config import TrainingConfig
from unidrive_training.models.multitask import MultiTaskModel


@dataclass(frozen=True)
class Part:
    """A part of the model. ``learning``: parameters that learn, per phase of the training."""

    name: str
    parameters: int
    learning: list[int]


def parts_of(config: TrainingConfig) -> list[Part]:
    """The parts of a config's model that have parameters, and ``total`` (no memory is used)."""
    with torch.device('meta'):
        model = MultiTaskModel(config.model)
    counts: dict[str, Part] = {}
    for phase, settings in enumerate(config.phases):
        model.apply_plan(settings.tuning)
        for name, parameter in model.named_parameters():
            for part in (_part(name), 'total'):
                row = counts.setdefault(part, Part(part, 0, [0] * len(config.phases)))
                learns = parameter.numel() * parameter.requires_grad
                row.learning[phase] += learns
                if phase == 0:
                    counts[part] = Part(part, row.parameters + parameter.numel(), row.learning)
    total = counts.pop('total')
    return [*counts.values(), total]


def _part(name: str) -> str:
    """Of a parameter's name: heads one by one, prompts and text encoder apart."""
    if name.startswith('backbone.prompts.'):
        return 'prompt blocks'
    if name.startswith('language.'):
        return 'text encoder' if '.encoder.' in name else 'language adapter'
    if name.startswith('heads.'):
        return f'{name.split(".")[1]} head'
    return name.split('.')[0]


def operations(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products in one call of ``model``.

    Half of PyTorch's FLOP count; what papers and torchvision call FLOPs.
    """
    model.requires_grad_(False)  # the counter cannot follow views of parameters that learn
    # Attention written out, since the counter does not know the CPU's fused kernel.
    plain = sdpa_kernel(SDPBackend.MATH)
    with plain, FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops() // 2


def operations_of(config: TrainingConfig, input_size: tuple[int, int]) -> int:
    """:func:`operations` of a config's model for one image, in PyTorch."""
    model = MultiTaskModel(config.model).eval()
    model.fold()
    return operations(model, torch.zeros(1, *input_size, 3, dtype=torch.uint8))
