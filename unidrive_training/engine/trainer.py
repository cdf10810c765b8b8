# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: phases of batches through one optimizer, with a moving average of the
weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.config import Phase, TrainingConfig
from unidrive_training.data.stream import TrainingStream
from unidrive_training.engine.checkpoint import load_average, open_run, save_checkpoint
from unidrive_training.engine.initialise import load_pretrained
from unidrive_training.engine.preview import draw_predictions
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.targets import Targets

_PICTURES = 3


class Trainer:
    """Trains one model into one run folder."""

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        device: str,
        resume: bool = False,
        init: Path | None = None,
    ) -> None:
        self.config, self.folder = config, folder
        self.device = torch.device(distributed.start(device))
        if config.model.sync_batchnorm and distributed.world_size() > 1 and device == 'cpu':
            raise UserError('sync_batchnorm needs CUDA; add --set model.sync_batchnorm=false')
        torch.manual_seed(config.seed)
        self.model = MultiTaskModel(config.model)
        self._init = init
        if not resume:
            self._initialise()
        self.model = self.model.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.model, multi_avg_fn=_moving_average(config.ema_decay), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, config), lr=0.0, fused=True
        )
        self.iteration = 0
        self.seconds = 0.0
        if state := open_run(folder, config, resume):
            self._restore(state)

    def _initialise(self) -> None:
        config = self.config
        for line in load_pretrained(self.model, config.model, config.pretrained):
            tqdm.write(line)
        if self._init:
            scratch = load_average(self.model, self._init)
            tqdm.write(
                f'{len(scratch)} weights start from scratch: {", ".join(scratch) or "none"}'
            )

    def run(self) -> None:
        """Train every phase to its end."""
        started = time.monotonic() - self.seconds
        total = sum(phase.iterations for phase in self.config.phases)
        leads = distributed.rank() == 0
        writer = None  # until there is something to write: no data, no file
        with tqdm(
            total=total, initial=self.iteration, desc=self.config.name, disable=not leads
        ) as bar:
            for phase, learning_rate, images, targets in self._batches():
                if leads and writer is None:
                    log = self.folder / 'tensorboard'
                    writer = SummaryWriter(log, purge_step=self.iteration + 1)
                terms = self._step(images, targets, learning_rate)
                self.iteration += 1
                self.seconds = time.monotonic() - started
                bar.update()
                last = self.iteration == total
                if leads and (last or self.iteration % self.config.log_every == 0):
                    self._log(writer, bar, terms, learning_rate, phase)
                if leads and (last or self.iteration % self.config.checkpoint_every == 0):
                    save_checkpoint(self.folder, self._state())
                    self._draw(writer, images)
        if writer:
            writer.close()

    def _batches(self) -> Iterator[tuple[Phase, float, Tensor, Targets]]:
        """Batches from the current iteration on, with the phase and learning rate of each."""
        first = 0
        for phase in self.config.phases:
            last = first + phase.iterations
            if self.iteration < last:
                stream = self._stream(phase)
                self.model.apply_plan(phase.tuning)
                start = max(first, self.iteration)
                loader = stream.loader(start, last, self.config.workers)
                for index, (images, targets) in enumerate(loader, start):
                    yield phase, _learning_rate(phase, index - first), images, targets
            first = last

    def _stream(self, phase: Phase) -> TrainingStream:
        config = self.config
        stream = TrainingStream(
            config.data,
            phase.batch_size,
            phase.input_size,
            config.augmentation,
            config.seed,
            distributed.rank(),
            distributed.world_size(),
            config.cache_gb,
        )
        if distributed.rank() == 0:
            tqdm.write(stream.summary())
        if self.iteration == 0 and not self._init and 'detection' not in config.pretrained.heads:
            self._fit_proposals(stream)
        return stream

    def _fit_proposals(self, stream: TrainingStream) -> None:
        spec = self.config.model.heads.get('detection', {})
        if spec.get('proposal_init') == 'dataset':
            detection = self.model.heads['detection']
            detection.fit_proposals(stream.labelled_boxes(), self.config.seed)

    def _step(self, images: Tensor, targets: Targets, learning_rate: float) -> dict[str, Tensor]:
        """One optimizer step; the unweighted-by-task loss terms."""
        self._seed_noise()
        self.model.train()
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate * group['factor']
        images, targets = images.to(self.device), targets.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            terms = self.model.losses(images, targets)
        loss = sum(
            getattr(self.config.loss_weights, name.split('/')[0]) * value
            for name, value in terms.items()
        )
        if not math.isfinite(loss.item()):
            values = {name: value.item() for name, value in terms.items()}
            raise UserError(
                f'loss is not finite at iteration {self.iteration} ({values}); '
                'lower the learning rate or --set bfloat16=false, and --resume'
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return terms

    def _seed_noise(self) -> None:
        """Dropout and denoising: other in every iteration and process, the same after a resume."""
        key = (self.config.seed, self.iteration, distributed.rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    def _log(
        self,
        writer: SummaryWriter,
        bar: tqdm,
        terms: dict[str, Tensor],
        learning_rate: float,
        phase: Phase,
    ) -> None:
        for name, value in terms.items():
            writer.add_scalar(f'loss/{name}', value.item(), self.iteration)
        writer.add_scalar('learning_rate', learning_rate, self.iteration)
        size = 'x'.join(map(str, phase.input_size[::-1]))
        brief = {name: f'{value.item():.2f}' for name, value in terms.items()}
        bar.set_postfix({'size': size, **brief})

    def _draw(self, writer: SummaryWriter, images: Tensor) -> None:
        """What the averaged model sees in some images of the last batch."""
        threshold = self.config.score_threshold
        pictures = draw_predictions(self.average.module, images[:_PICTURES], threshold)
        for number, picture in enumerate(pictures):
            writer.add_image(f'predictions/{number}', picture, self.iteration, dataformats='HWC')

    def _state(self) -> dict[str, Any]:
        return {
            'config': self.config.model_dump(mode='json'),
            'model': self.model.state_dict(),
            'average': self.average.module.state_dict(),
            'averaged': int(self.average.n_averaged),
            'optimizer': self.optimizer.state_dict(),
            'iteration': self.iteration,
            'seconds': self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state['model'])
        self.average.module.load_state_dict(state['average'])
        self.average.n_averaged.fill_(state['averaged'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.iteration, self.seconds = state['iteration'], state['seconds']


def _learning_rate(phase: Phase, step: int) -> float:
    """Linear warm-up, then cosine decay to 2 % of the peak at the end of the phase."""
    if step < phase.warmup:
        return phase.learning_rate * (step + 1) / phase.warmup
    progress = (step - phase.warmup) / max(1, phase.iterations - phase.warmup)
    return phase.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def _moving_average(decay: float):
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


def _parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict]:
    """Weight decay on matrices and kernels only, not on norms, biases and learned boxes.

    ``factor``: the group's learning rate relative to the phase's, from ``rate_factors``.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decayed = parameter.dim() > 1 and 'proposal_boxes' not in name
        factors = [f for part, f in config.rate_factors.items() if part in name]
        key = (config.weight_decay if decayed else 0.0, math.prod(factors))
        groups.setdefault(key, []).append(parameter)
    return [
        {'params': parameters, 'weight_decay': decay, 'factor': factor}
        for (decay, factor), parameters in groups.items()
    ]
