# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: phases of batches through one optimizer, with a moving average of the
weights.

Whatever is random is a function of the seed, the iteration and the process, and whatever is not
is in the checkpoint: a killed run goes on exactly, on as many processes or others.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.config import FREE, TrainingConfig
from unidrive_training.data.stream import TrainingData, TrainingStream
from unidrive_training.engine.checkpoint import (
    load_average,
    open_run,
    save_best,
    save_checkpoint,
)
from unidrive_training.engine.initialise import load_pretrained
from unidrive_training.engine.monitor import Monitor, Step
from unidrive_training.engine.optimizer import (
    idle_factors,
    learning_rate,
    moving_average,
    parameter_groups,
)
from unidrive_training.engine.preview import choose_subjects, draw_subjects
from unidrive_training.engine.validation import Validation
from unidrive_training.evaluation.checkpoint_predictor import ModelPredictor
from unidrive_training.models import sync_batchnorm
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.targets import Targets

Part = tuple[Tensor, Targets]


class Trainer:
    """Trains one model into one run folder; goes on from the checkpoint that is there."""

    def __init__(
        self, config: TrainingConfig, folder: Path, device: str, init: Path | None = None
    ) -> None:
        self.config, self.folder = config, folder
        self.device = torch.device(distributed.start(device))
        self.data = TrainingData(
            config.data, list(config.model.heads), config.schedule, config.broken
        )
        self.lengths = [phase.length(len(self.data)) for phase in config.phases]
        self.streams = self._streams()
        self._origin = {'data': self.data.digest(), 'init': str(init) if init else None}
        torch.manual_seed(config.seed)
        self.model = MultiTaskModel(config.model)
        if self.device.type == 'cpu':
            self.model = sync_batchnorm.for_cpu(self.model)
        state = open_run(folder, config, FREE)
        if state is None:
            self._initialise(init)
        self.model = self.model.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.model, multi_avg_fn=moving_average(config.ema_decay), use_buffers=True
        )
        groups = parameter_groups(self.model, config.weight_decay, config.rate_factors)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == 'float16')
        self.validation = Validation(config.validation, list(config.model.heads), config.broken)
        self.iteration = 0
        self.seconds = 0.0
        if state is not None:
            self._restore(state)

    def _streams(self) -> list[TrainingStream]:
        """One for each phase, all at the beginning: what cannot work is to be said now."""
        config, streams, first = self.config, [], 0
        for phase, length in zip(config.phases, self.lengths, strict=True):
            stream = TrainingStream(
                self.data,
                phase.batch_size,
                phase.input_size,
                config.augmentation,
                config.seed,
                (first, first + length),
                task_epochs=config.task_epochs,
                rank=distributed.rank(),
                ranks=distributed.world_size(),
                parts=config.accumulate,
                cache_gb=config.cache_gb,
                copies=config.resized_copies,
            )
            streams.append(stream)
            first += length
        return streams

    @property
    def total(self) -> int:
        """Iterations of all phases."""
        return sum(self.lengths)

    def _initialise(self, init: Path | None) -> None:
        config = self.config
        for part in idle_factors(self.model, config.rate_factors):
            self._tell(f'warning: rate_factors: no parameter has {part!r} in its name')
        for line in load_pretrained(self.model, config.model, config.pretrained):
            self._tell(line)
        if init:
            scratch = load_average(self.model, init)
            listed = ', '.join(scratch) or 'none'
            self._tell(f'{len(scratch)} weights start from scratch: {listed}')
        elif 'detection' not in config.pretrained.heads:
            spec = config.model.heads.get('detection', {})
            if spec.get('proposal_init') == 'dataset':
                boxes = self.data.labelled_boxes(config.phases[0].input_size)
                self.model.heads['detection'].fit_proposals(boxes, config.seed)

    def _tell(self, text: str) -> None:
        if distributed.rank() == 0:
            tqdm.write(text)

    def run(self) -> None:
        """Train every phase to its end; where nothing is left to train, only score the model."""
        if self.iteration == self.total:
            self._evaluate(None)
            return
        started = time.monotonic() - self.seconds
        leads = distributed.rank() == 0
        self._tell(self.data.summary())
        held_out = self.validation.records.values()
        subjects = choose_subjects(self.data.records, held_out, self.model.tasks)
        with contextlib.ExitStack() as stack:
            monitor = None
            if leads:
                name = self.config.name
                monitor = stack.enter_context(
                    Monitor(self.folder, name, self.total, self.iteration, self.device)
                )
            if self.iteration and self._due(self.config.evaluate_every):
                with monitor.pause() if monitor else contextlib.nullcontext():
                    self._evaluate(monitor)  # the checkpoint was saved before
            for number, step in self._steps():
                self.seconds = time.monotonic() - started
                if monitor:
                    monitor.count(step)
                if self._due(self.config.log_every):
                    step.terms = self._mean_terms(step.terms)
                    if monitor:
                        step.gradient_norms |= self._norms_of_parts(step.gradient_norms['all'])
                        monitor.log(step, number)
                with monitor.pause() if monitor else contextlib.nullcontext():
                    if monitor and self._due(self.config.checkpoint_every):
                        self._save()  # first: what fails in the evaluation costs no step
                        self._draw(monitor, subjects)
                    if self._due(self.config.evaluate_every):
                        self._evaluate(monitor)

    def _due(self, every: int | None) -> bool:
        return self.iteration == self.total or bool(every and self.iteration % every == 0)

    def _steps(self) -> Iterator[tuple[int, Step]]:
        """Make every step from the current iteration on; gives it with the number of its phase."""
        phases = zip(self.config.phases, self.streams, strict=True)
        for number, (phase, stream) in enumerate(phases):
            first, last = stream.steps
            if self.iteration >= last:
                continue
            self.model.apply_plan(phase.tuning)
            losses = self._losses_of_all_processes()
            batches = self._batches(stream)
            while self.iteration < last:
                began = time.monotonic()
                parts = next(batches)
                waited = time.monotonic() - began
                rate = learning_rate(phase, self.iteration - first, last - first)
                terms, norm = self._step(losses, parts, rate)
                self.iteration += 1
                norms = {'all': norm}
                yield number, Step(self.iteration, phase, terms, rate, norms, waited)

    def _batches(self, stream: TrainingStream) -> Iterator[list[Part]]:
        """Every batch, in its parts, from the current iteration on."""
        workers, on_gpu = self.config.workers, self.device.type == 'cuda'
        parts = iter(stream.loader(self.iteration, stream.steps[1], workers, pin=on_gpu))
        while batch := list(islice(parts, self.config.accumulate)):
            yield batch

    def _losses_of_all_processes(self) -> nn.Module:
        """The model as a module whose output are its losses; its gradients become the mean of
        all processes, which starts while they are still computed.
        """
        if self.config.compile:
            self.model.backbone.compile()
            self.model.fpn.compile()
        losses = _Losses(self.model)
        if distributed.world_size() == 1:
            return losses
        # Of a partly labelled batch not every head has a loss in every process.
        return DistributedDataParallel(
            losses, find_unused_parameters=True, gradient_as_bucket_view=True
        )

    def _step(
        self, losses: nn.Module, parts: list[Part], rate: float
    ) -> tuple[dict[str, float], float]:
        """One optimizer step; this process's loss terms, and the norm of the gradient."""
        self._seed_noise()
        self.model.train()
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        self.optimizer.zero_grad(set_to_none=True)
        divisors = self._divisors([targets for _, targets in parts])
        found: list[dict[str, Tensor]] = []
        for number, part in enumerate(parts):
            with self._exchange(losses, number == len(parts) - 1):
                found.append(self._backward(losses, part, divisors))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm).item()
        terms = _sums(found)
        self._check(terms, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update_parameters(self.model)
        return terms, norm

    def _check(self, terms: dict[str, float], norm: float) -> None:
        """Before the weights are spoilt. In float16 the scaler passes over gradients that do not
        fit, and tries a smaller scale.
        """
        if not math.isfinite(terms['total']) or not (
            math.isfinite(norm) or self.scaler.is_enabled()
        ):
            raise UserError(
                f'loss is not finite at iteration {self.iteration} ({terms}, gradient {norm}); '
                'lower the learning rate or --set precision=float32, and give a new run folder'
            )

    def _backward(
        self, losses: nn.Module, part: Part, divisors: dict[str, dict[str, float]]
    ) -> dict[str, Tensor]:
        """Add a part's gradients; its loss terms and their weighted total."""
        images, targets = part
        images = images.to(self.device, non_blocking=True)
        precision = self.config.precision
        with torch.autocast(
            self.device.type,
            torch.float16 if precision == 'float16' else torch.bfloat16,
            enabled=precision != 'float32',
        ):
            terms = losses(images, targets.to(self.device), divisors)
        loss = sum(
            getattr(self.config.loss_weights, name.split('/')[0]) * value
            for name, value in terms.items()
        )
        self.scaler.scale(loss).backward()
        return {name: value.detach() for name, value in (terms | {'total': loss}).items()}

    @staticmethod
    def _exchange(losses: nn.Module, now: bool) -> contextlib.AbstractContextManager:
        """Gradients of several parts are exchanged once."""
        if now or not isinstance(losses, DistributedDataParallel):
            return contextlib.nullcontext()
        return losses.no_sync()

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

    def _mean_terms(self, terms: dict[str, float]) -> dict[str, float]:
        """Over the processes; one without a label of a task adds nothing to its terms."""
        names = sorted(set().union(*distributed.gather(list(terms))))
        sums = distributed.sum_over_ranks([terms.get(n, 0.0) for n in names], self.device)
        return {n: s / distributed.world_size() for n, s in zip(names, sums, strict=True)}

    def _norms_of_parts(self, whole: float) -> dict[str, float]:
        """Of the last step's gradient, before clipping, by backbone, necks and heads."""
        norms = {}
        for name, part in self.model.named_children():
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            if gradients:
                norms[name] = torch.nn.utils.get_total_norm(gradients).item()
        clipped = max(1.0, whole / self.config.clip_norm)
        return {name: norm * clipped for name, norm in norms.items()}

    def _seed_noise(self) -> None:
        """Dropout and denoising: other in every iteration and process, the same after a resume."""
        key = (self.config.seed, self.iteration, distributed.rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def _evaluate(self, monitor: Monitor | None) -> None:
        if not self.config.validation:
            return
        # Each process has batch-norm statistics of its own images; those of the first are saved.
        distributed.copy_from_first(self.average.module.buffers())
        improved = self.validation.run(self.predictor(), self.iteration)
        if monitor:
            monitor.scores(self.iteration, self.validation.scores)
        if improved and distributed.rank() == 0:
            save_best(self.folder, self._state())

    def _save(self) -> None:
        save_checkpoint(self.folder, self._state(), self.iteration, self.config.keep_checkpoints)

    def _draw(self, monitor: Monitor, subjects: list) -> None:
        threshold = self.config.score_threshold
        pictures = draw_subjects(self.predictor(), subjects, threshold)
        monitor.pictures(self.iteration, pictures)

    def predictor(self) -> ModelPredictor:
        """The averaged model, as it is now."""
        return ModelPredictor(self.average.module, self.config.input_size)

    def _state(self) -> dict[str, Any]:
        return {
            'config': self.config.model_dump(mode='json'),
            'model': self.model.state_dict(),
            'average': self.average.module.state_dict(),
            'averaged': int(self.average.n_averaged),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.scaler.state_dict(),
            'validation': self.validation.state(),
            'annotated': self.data.annotated(),
            'origin': self._origin,
            'iteration': self.iteration,
            'seconds': self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state['origin'] != self._origin:
            what = 'data' if state['origin']['data'] != self._origin['data'] else '--init'
            raise UserError(
                f'{self.folder}: its checkpoint was trained with other {what}; restore that, or '
                'give a new folder'
            )
        self.model.load_state_dict(state['model'])
        self.average.module.load_state_dict(state['average'])
        self.average.n_averaged.fill_(state['averaged'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.scaler.load_state_dict(state['scaler'])
        self.validation.restore(state['validation'])
        self.iteration, self.seconds = state['iteration'], state['seconds']


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
