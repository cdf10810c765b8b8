# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The endless stream of training batches; batch i is a function of (seed, i, process), so training
resumes exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from unidrive_perception.errors import UserError
from unidrive_training.data.augment import Augmentation, augment
from unidrive_training.data.bdd100k import Record, read_image, read_split
from unidrive_training.data.sample import Sample, load_sample
from unidrive_training.models.targets import BoxTarget, Targets
from unidrive_training.typed import Typed


class Source(Typed):
    """One BDD100K-layout folder and its share of every batch, relative to the other sources."""

    root: Path
    weight: float = Field(1.0, gt=0)


class TrainingStream(Dataset):
    """Item i is batch i: (images (B, H, W, 3) uint8, Targets)."""

    def __init__(
        self,
        sources: Sequence[Source],
        batch_size: int,
        input_size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        cache_gb: float = 4.0,
    ) -> None:
        self.records = [read_split(source.root, 'train') for source in sources]
        for source, records in zip(sources, self.records, strict=True):
            if not any(record.tasks() for record in records):
                raise UserError(f'{source.root}: no training image has a label')
        counts = quotas([source.weight for source in sources], batch_size)
        # Of N processes, process r makes every N-th sample of the batch, beginning with the r-th.
        self._sources = np.repeat(np.arange(len(counts)), counts)[rank::ranks]
        self._rank = rank
        self._names = [str(source.root) for source in sources]
        self._input_size = input_size
        self._augmentation, self._seed = augmentation, seed
        self._cache: dict[tuple[int, int], Sample] = {}
        self._cache_room = round(cache_gb * 1e9)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Targets]:
        rng = np.random.default_rng((self._seed, index, self._rank))
        return collate([self._draw(source, rng) for source in self._sources])

    def loader(self, start: int, stop: int, workers: int) -> DataLoader:
        """Batches start..stop-1 in order, made by worker processes."""
        return DataLoader(self, batch_size=None, sampler=range(start, stop), num_workers=workers)

    def summary(self) -> str:
        """A line per source: how many images are labelled for each task."""
        lines = []
        for source, records in zip(self._names, self.records, strict=True):
            counts = Counter(task for record in records for task in record.tasks())
            tasks = ', '.join(f'{task} {count}' for task, count in sorted(counts.items()))
            lines.append(f'{source}: {len(records)} training images; labelled: {tasks}')
        return '\n'.join(lines)

    def labelled_boxes(self) -> np.ndarray:
        """All training boxes as (N, 4) cxcywh fractions of the letterboxed input."""
        found = []
        for records in self.records:
            labelled = [r for r in records if r.boxes is not None and not r.boxes.crowd.all()]
            for record in labelled[:: max(1, len(labelled) // 300)]:
                found.append(self._fractions(record))
        return np.concatenate(found) if found else np.zeros((0, 4))

    def _fractions(self, record: Record) -> np.ndarray:
        height, width = read_image(record.image).shape[:2]
        fit = min(self._input_size[0] / height, self._input_size[1] / width)
        boxes = record.boxes.boxes[~record.boxes.crowd] * fit / np.tile(self._input_size[::-1], 2)
        return np.concatenate(
            ((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1
        )

    def _draw(self, source: int, rng: np.random.Generator) -> Sample:
        sample = self._load(source, int(rng.integers(len(self.records[source]))))
        return augment(sample, self._input_size, self._augmentation, rng)

    def _load(self, source: int, index: int) -> Sample:
        """Decoded samples stay in memory while there is room, shrunk to what a view can show."""
        key = (source, index)
        if key in self._cache:
            return self._cache[key]
        longest = round(max(self._input_size) * self._augmentation.scale[1])
        sample = load_sample(self.records[source][index], longest)
        self._cache_room -= sample.nbytes
        if self._cache_room > 0:
            self._cache[key] = sample
        return sample


def quotas(weights: list[float], batch_size: int) -> list[int]:
    """How many samples of a batch each source gives (largest remainders, at least one each).

    Fixed shares keep the number of images per task, so tensor shapes, the same from batch to
    batch; a changing shape makes the CPU's convolution library compile its kernels anew (measured:
    ten times slower). Raises UserError when there are more sources than samples.
    """
    if len(weights) > batch_size:
        raise UserError(f'batch_size {batch_size} is smaller than the {len(weights)} data folders')
    exact = np.array(weights) / sum(weights) * batch_size
    counts = np.maximum(np.floor(exact), 1).astype(int)
    while counts.sum() != batch_size:
        step = 1 if counts.sum() < batch_size else -1
        gap = np.where((counts > 1) | (step > 0), step * (exact - counts), -np.inf)
        counts[np.argmax(gap)] += step
    return counts.tolist()


def collate(samples: list[Sample]) -> tuple[torch.Tensor, Targets]:
    """Samples of one size → images (B, H, W, 3) uint8 and their targets. Crowd boxes are
    ignored.
    """
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    targets = Targets({}, {}, {})
    for row, sample in enumerate(samples):
        if sample.boxes is not None:
            learned = ~sample.boxes.crowd
            targets.detection[row] = BoxTarget(
                torch.from_numpy(sample.boxes.boxes[learned]),
                torch.from_numpy(sample.boxes.class_ids[learned]),
                torch.from_numpy(sample.boxes.annotated),
                torch.from_numpy(sample.boxes.boxes[sample.boxes.crowd]),
            )
        if sample.semantic is not None:
            targets.semantic[row] = torch.from_numpy(sample.semantic)
        if sample.drivable is not None:
            targets.drivable[row] = torch.from_numpy(sample.drivable)
    return images, targets
