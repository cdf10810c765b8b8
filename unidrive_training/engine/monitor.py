# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training run shows: a progress bar, and scalars and pictures for TensorBoard."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from unidrive_training.config import Phase


@dataclass
class Step:
    """What one step of the optimizer did; ``terms``: ``task/term`` → loss, and their ``total``,
    which is weighted by task; ``gradient_norms``: of ``all``, before clipping, and where
    they are logged of its parts; ``data_seconds``: for how long it had to wait for its images.
    """

    iteration: int
    phase: Phase
    terms: Mapping[str, float]
    learning_rate: float
    gradient_norms: Mapping[str, float]
    data_seconds: float


@dataclass
class Monitor:
    """Of the leading process; close it, or use it as a context manager."""

    folder: Path
    name: str
    total: int
    done: int
    device: torch.device
    _writer: SummaryWriter | None = None  # until there is something to write: no data, no file
    _since: float = field(default_factory=time.monotonic)
    _images: int = 0
    _waited: float = 0.0

    def __post_init__(self) -> None:
        self.bar = tqdm(total=self.total, initial=self.done, desc=self.name, dynamic_ncols=True)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self._writer:
            self._writer.close()

    @property
    def writer(self) -> SummaryWriter:
        """Made at its first use; what a killed run wrote beyond its checkpoint is taken back."""
        if self._writer is None:
            self._writer = SummaryWriter(self.folder / 'tensorboard', purge_step=self.done + 1)
        return self._writer

    def count(self, step: Step) -> None:
        """A step was made."""
        self.bar.update()
        self._images += step.phase.batch_size
        self._waited += step.data_seconds

    @contextmanager
    def pause(self) -> Iterator[None]:
        """While something else than training is done: it is not counted in the speed."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began

    def log(self, step: Step, phase_number: int) -> None:
        """Write the step's scalars, and the speed since the last call."""
        totals: dict[str, float] = defaultdict(float)
        for name, value in step.terms.items():
            totals[name.split('/')[0]] += value
        scalars = {f'loss/{name}': value for name, value in (step.terms | totals).items()}
        seconds = time.monotonic() - self._since
        steps = max(1, self._images // step.phase.batch_size)
        scalars |= {
            'learning_rate': step.learning_rate,
            'phase': phase_number,
            f'stage/{step.phase.tuning}/total': step.terms['total'],
            'speed/images_per_second': self._images / seconds,
            'speed/data_seconds': self._waited / steps,
        }
        scalars |= {f'gradient_norm/{part}': norm for part, norm in step.gradient_norms.items()}
        scalars['gradient_norm'] = scalars.pop('gradient_norm/all')
        scalars['memory/gb'] = _peak_gb(self.device)
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step.iteration)
        self._since, self._images, self._waited = time.monotonic(), 0, 0.0
        text = {name: f'{value:.2f}' for name, value in totals.items()}
        text['img/s'] = f'{scalars["speed/images_per_second"]:.1f}'
        text['GB'] = f'{scalars["memory/gb"]:.1f}'
        self.bar.set_postfix(text)

    def scores(self, iteration: int, scores: Mapping[str, Mapping[str, Mapping]]) -> None:
        """Write ``dataset → task → metric → value``; metrics per class are left out."""
        for dataset, tasks in scores.items():
            for task, metrics in tasks.items():
                for metric, value in metrics.items():
                    if isinstance(value, float):
                        tag = f'validation/{dataset}/{task}/{metric}'
                        self.writer.add_scalar(tag, value, iteration)

    def pictures(self, iteration: int, pictures: Sequence[np.ndarray]) -> None:
        """Write (H, W, 3) uint8 pictures, the same subjects every time."""
        for number, picture in enumerate(pictures):
            self.writer.add_image(f'pictures/{number}', picture, iteration, dataformats='HWC')


def _peak_gb(device: torch.device) -> float:
    """The most memory used so far: of the GPU, or of this process where it trains without."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
