# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: phases of batches, and what is to be done between them.

Whatever is random is a function of the seed, the iteration and the process, and whatever is not
is in the checkpoint: a killed run goes on exactly, on as many processes or others.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
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
from unidrive_training.engine.learner import Learner, Part
from unidrive_training.engine.monitor import Monitor, Step
from unidrive_training.engine.optimizer import idle_factors, learning_rate
from unidrive_training.engine.preview import choose_subjects, draw_subjects
from unidrive_training.engine.validation import Validation
from unidrive_training.evaluation.checkpoint_predictor import ModelPredictor
from unidrive_training.models import sync_batchnorm
from unidrive_training.models.multitask import MultiTaskModel, part_of

_PROPOSALS = 'heads.detection.proposal_boxes.weight'


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
        self._annotated = self.data.annotated()
        torch.manual_seed(config.seed)
        self.model = MultiTaskModel(config.model)
        if self.device.type == 'cpu':
            self.model = sync_batchnorm.for_cpu(self.model)
        state = open_run(folder, config, FREE)
        if state is None:
            self._initialise(init)
        self.learner = Learner(self.model, config, self.device)
        self.validation = Validation(config.validation, list(config.model.heads), config.broken)
        self.iteration = 0
        self.seconds = 0.0
        self.paused = 0.0  # of those, not spent on training
        if state is not None:
            self._restore(state)
        self._check_that_all_processes_agree()

    def _check_that_all_processes_agree(self) -> None:
        """Each has read data and checkpoint by itself, perhaps on another machine."""
        begun = distributed.gather((self.iteration, self._origin))
        others = [rank for rank, (step, _) in enumerate(begun) if step != begun[0][0]]
        if others:
            raise UserError(
                f'{self.folder}: process 0 goes on from step {begun[0][0]}, process {others[0]} '
                f'from {begun[others[0]][0]}; give a folder that all machines share'
            )
        others = [rank for rank, (_, origin) in enumerate(begun) if origin != begun[0][1]]
        if others:
            raise UserError(
                f'process {others[0]} reads other training data than process 0; give all machines '
                'the same files'
            )

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
        fresh = set(self.model.state_dict())
        if init:
            fresh = load_average(self.model, init)
            self._tell(f'{init}: {_parts_of(fresh)} from scratch')
        spec = config.model.heads.get('detection', {})
        given = 'detection' in config.pretrained.heads or _PROPOSALS not in fresh
        if spec.get('proposal_init') == 'dataset' and not given:
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
                    step.terms = self.learner.mean_terms(step.terms)
                    if monitor:
                        norm = step.gradient_norms['all']
                        step.gradient_norms |= self.learner.norms_of_parts(norm)
                        monitor.log(step, number)
                stopped = time.monotonic()
                with monitor.pause() if monitor else contextlib.nullcontext():
                    if monitor and self._due(self.config.checkpoint_every):
                        self._save()  # first: what fails in the evaluation costs no step
                        self._draw(monitor, subjects)
                    if self._due(self.config.evaluate_every):
                        self._evaluate(monitor)
                self.paused += time.monotonic() - stopped

    def _due(self, every: int | None) -> bool:
        return self.iteration == self.total or bool(every and self.iteration % every == 0)

    def _steps(self) -> Iterator[tuple[int, Step]]:
        """Make every step from the current iteration on; gives it with the number of its phase."""
        phases = zip(self.config.phases, self.streams, strict=True)
        for number, (phase, stream) in enumerate(phases):
            first, last = stream.steps
            if self.iteration >= last:
                continue
            self.learner.begin_phase(phase.tuning)
            batches = self._batches(stream)
            while self.iteration < last:
                began = time.monotonic()
                parts = next(batches)
                waited = time.monotonic() - began
                rate = learning_rate(phase, self.iteration - first, last - first)
                terms, norm = self.learner.step(parts, rate, self.iteration)
                self.iteration += 1
                norms = {'all': norm}
                yield number, Step(self.iteration, phase, terms, rate, norms, waited)

    def _batches(self, stream: TrainingStream) -> Iterator[list[Part]]:
        """Every batch, in its parts, from the current iteration on."""
        workers, on_gpu = self.config.workers, self.device.type == 'cuda'
        parts = iter(stream.loader(self.iteration, stream.steps[1], workers, pin=on_gpu))
        while batch := list(islice(parts, self.config.accumulate)):
            yield batch

    def _evaluate(self, monitor: Monitor | None) -> None:
        if not self.config.validation:
            return
        # Each process has batch-norm statistics of its own images; those of the first are saved.
        distributed.copy_from_first(self.learner.average.module.buffers())
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
        return ModelPredictor(
            self.learner.average.module, self.config.input_size, self.config.duplicate_iou
        )

    def _state(self) -> dict[str, Any]:
        return {
            'config': self.config.model_dump(mode='json'),
            **self.learner.state(),
            'validation': self.validation.state(),
            'annotated': self._annotated,
            'origin': self._origin,
            'iteration': self.iteration,
            'seconds': self.seconds,
            'paused': self.paused,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state['origin'] != self._origin:
            what = 'data' if state['origin']['data'] != self._origin['data'] else '--init'
            raise UserError(
                f'{self.folder}: its checkpoint was trained with other {what}; restore that, or '
                'give a new folder'
            )
        self.learner.restore(state)
        self.validation.restore(state['validation'])
        self.iteration, self.seconds = state['iteration'], state['seconds']
        self.paused = state.get('paused', 0.0)  # none in checkpoints of early versions


def _parts_of(names: Collection[str]) -> str:
    """Weights by the part of the model that has them: ``fpn (2), heads.detection (31)``."""
    parts = Counter(map(part_of, names))
    return ', '.join(f'{part} ({count})' for part, count in sorted(parts.items())) or 'nothing'
