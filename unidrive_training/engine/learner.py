# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A model that learns from one batch after another, with its optimizer and moving average.

A batch may come in parts, and each process has its own; losses and gradients are those of the
whole.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.config import TrainingConfig
from unidrive_training.engine.optimizer import moving_average, parameter_groups
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.targets import Targets

Part = tuple[Tensor, Targets]


class Learner:
    """``model`` on the device, ``average`` of its weights, ``optimizer`` and ``scaler``."""

    def __init__(
        self, model: MultiTaskModel, config: TrainingConfig, device: torch.device
    ) -> None:
        self.config, self.device = config, device
        self.model = model.to(device, memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.model, multi_avg_fn=moving_average(config.ema_decay), use_buffers=True
        )
        groups = parameter_groups(self.model, config.weight_decay, config.rate_factors)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == 'float16')
        self._losses: nn.Module = _Losses(self.model)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            'model': self.model.state_dict(),
            'average': self.average.module.state_dict(),
            'averaged': int(self.average.n_averaged),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(state['model'])
        self.average.module.load_state_dict(state['average'])
        self.average.n_averaged.fill_(state['averaged'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.scaler.load_state_dict(state['scaler'])

    def begin_phase(self, tuning: str) -> None:
        """Choose what is trained; several processes take the mean of their gradients, which
        starts while they are still computed.
        """
        self.model.apply_plan(tuning)
        if self.config.compile:
            self.model.backbone.compile()
            self.model.fpn.compile()
        self._losses = _Losses(self.model)
        if distributed.world_size() > 1:
            # Of a partly labelled batch not every head has a loss in every process.
            self._losses = DistributedDataParallel(
                self._losses, find_unused_parameters=True, gradient_as_bucket_view=True
            )

    def step(
        self, parts: list[Part], rate: float, iteration: int
    ) -> tuple[dict[str, float], float]:
        """One optimizer step; this process's loss terms, and the norm of the gradient.

        Raises UserError, before the weights are spoilt, when these are not finite.
        """
        self._seed_noise(iteration)
        self.model.train()
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        self.optimizer.zero_grad(set_to_none=True)
        divisors = self._divisors([targets for _, targets in parts])
        found: list[dict[str, Tensor]] = []
        for number, part in enumerate(parts):
            with self._exchange(number == len(parts) - 1):
                found.append(self._backward(part, divisors))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm).item()
        terms = _sums(found)
        self._check(terms, norm, iteration)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.model)
        return terms, norm

    def _seed_noise(self, iteration: int) -> None:
        """Dropout and denoising: other in every iteration and process, the same after a resume."""
        key = (self.config.seed, iteration, distributed.rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def _divisors(self, targets: list[Targets]) -> dict[str, dict[str, float]]:
        """What the losses are divided by: the numbers of the whole batch, all parts and processes
        together, per process, since the gradient is a mean over these.
        """
        own = [self.model.divisors(part) for part in targets]
        keys = [(task, name) for task, numbers in own[0].items() for name in numbers]
        sums = [sum(part[task][name] for part in own) for task, name in keys]
        ranks = distributed.world_size()
        divisors: dict[str, dict[str, float]] = {task: {} for task in own[0]}
        for (task, name), total in zip(
            keys, distributed.sum_over_ranks(sums, self.device), strict=True
        ):
            divisors[task][name] = max(1.0, total) / ranks
        return divisors

    def _exchange(self, now: bool) -> contextlib.AbstractContextManager:
        """Gradients of several parts are exchanged once."""
        if now or not isinstance(self._losses, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._losses.no_sync()

    def _backward(self, part: Part, divisors: dict[str, dict[str, float]]) -> dict[str, Tensor]:
        """Add a part's gradients; its loss terms and their weighted total."""
        images, targets = part
        images = images.to(self.device, non_blocking=True)
        precision = self.config.precision
        with torch.autocast(
            self.device.type,
            torch.float16 if precision == 'float16' else torch.bfloat16,
            enabled=precision != 'float32',
        ):
            terms = self._losses(images, targets.to(self.device), divisors)
        loss = sum(
            getattr(self.config.loss_weights, name.split('/')[0]) * value
            for name, value in terms.items()
        )
        self.scaler.scale(loss).backward()
        return {name: value.detach() for name, value in (terms | {'total': loss}).items()}

    def _check(self, terms: dict[str, float], norm: float, iteration: int) -> None:
        """In float16 the scaler passes over gradients that do not fit, and tries a smaller
        scale.
        """
        if not math.isfinite(terms['total']) or not (
            math.isfinite(norm) or self.scaler.is_enabled()
        ):
            raise UserError(
                f'loss is not finite at iteration {iteration} ({terms}, gradient {norm}); '
                'lower the learning rate or --set precision=float32, and give a new run folder'
            )

    def mean_terms(self, terms: dict[str, float]) -> dict[str, float]:
        """Over the processes; one without a label of a task adds nothing to its terms."""
        names = sorted(set().union(*distributed.gather(list(terms))))
        sums = distributed.sum_over_ranks([terms.get(n, 0.0) for n in names], self.device)
        return {n: s / distributed.world_size() for n, s in zip(names, sums, strict=True)}

    def norms_of_parts(self, whole: float) -> dict[str, float]:
        """Of the last step's gradient, before clipping, by backbone, necks and heads."""
        norms = {}
        for name, part in self.model.named_children():
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            if gradients:
                norms[name] = torch.nn.utils.get_total_norm(gradients).item()
        clipped = max(1.0, whole / self.config.clip_norm)
        return {name: norm * clipped for name, norm in norms.items()}


def _sums(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """The terms of all parts, fetched at once: every fetch waits for the GPU."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    sums = [sum(part[name] for part in parts if name in part).float() for name in names]
    return dict(zip(names, torch.stack(sums).tolist(), strict=True))


class _Losses(nn.Module):
    """A model whose ``forward`` gives its losses."""

    def __init__(self, model: MultiTaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, images: Tensor, targets: Targets, divisors: dict[str, dict[str, float]]
    ) -> dict[str, Tensor]:
        return self.model.losses(images, targets, divisors=divisors)
