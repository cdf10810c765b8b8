# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Tuning plans: which parts of a model learn in a stage of training.

The multi-task stages are those of the LV-Adapter paper (section 4.1), the others the protocols
that the Pro-tuning paper compares (section 4.1, Tables 2 and 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

PlanName = Literal[
    'finetune', 'scratch', 'adapt', 'head', 'partial-1', 'partial-2', 'prompt-blocks'
]


@dataclass(frozen=True)
class Plan:
    """Which parts learn. ``backbone``: all of it, or so many of its last layers (0: none).

    ``neck``: FPN, adapters and the language adapter with its learned prompts. CLIP's text encoder
    never learns.
    """

    backbone: Literal['all', 0, 1, 2]
    prompt_blocks: bool
    neck: bool
    heads: bool


PLANS: dict[PlanName, Plan] = {
    'finetune': Plan(backbone='all', prompt_blocks=True, neck=True, heads=True),
    'scratch': Plan(backbone='all', prompt_blocks=True, neck=True, heads=True),  # nothing loaded
    'adapt': Plan(backbone=0, prompt_blocks=True, neck=True, heads=False),
    'head': Plan(backbone=0, prompt_blocks=False, neck=True, heads=True),
    'partial-1': Plan(backbone=1, prompt_blocks=False, neck=True, heads=True),
    'partial-2': Plan(backbone=2, prompt_blocks=False, neck=True, heads=True),
    'prompt-blocks': Plan(backbone=0, prompt_blocks=True, neck=True, heads=True),
}


class TunableModel(nn.Module):
    """A model with a ``backbone`` and other parts, of which a plan makes some learn.

    What does not learn has no gradient and stays in evaluation mode: batch-norm statistics do not
    move, nothing is dropped out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._plan = PLANS['finetune']

    def necks(self) -> list[nn.Module]:
        """Parts between backbone and heads."""
        return []

    def task_heads(self) -> list[nn.Module]:
        """The parts that give the tasks' results."""
        raise NotImplementedError

    def apply_plan(self, name: PlanName) -> None:
        """Choose what learns from now on."""
        self._plan = PLANS[name]
        for part, learns in self._parts():
            part.requires_grad_(learns)
            for module in part.modules():
                if getattr(module, 'always_frozen', False):
                    module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> TunableModel:
        """Training mode for what learns, evaluation mode for the rest."""
        super().train(mode)
        for part, learns in self._parts():
            part.train(mode and learns)
        return self

    def _parts(self) -> list[tuple[nn.Module, bool]]:
        """Each part with whether it learns; a part inside another comes after it."""
        plan, backbone = self._plan, self.backbone
        parts = [(backbone, plan.backbone == 'all')]
        if plan.backbone in (1, 2):
            parts += [(layer, True) for layer in backbone.last_layers(plan.backbone)]
        if backbone.prompts is not None:
            parts.append((backbone.prompts, plan.prompt_blocks))
        parts += [(part, plan.neck) for part in self.necks()]
        return parts + [(part, plan.heads) for part in self.task_heads()]
