# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The endless stream of training batches; a sample is a function of (seed, step, place in the
batch), so training resumes exactly, and the batch is the same however many processes share it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS, DETECTION
from unidrive_training.data.augment import Augmentation, augment
from unidrive_training.data.bdd100k import Record, read_image
from unidrive_training.data.resized import ResizedCopies
from unidrive_training.data.sample import Sample, load_sample
from unidrive_training.data.schedules import Schedule, task_of_each_step
from unidrive_training.data.sources import Source
from unidrive_training.models.targets import BoxTarget, Targets


class TrainingData:
    """The labelled images of all sources, read once."""

    def __init__(
        self,
        sources: Sequence[Source],
        tasks: Collection[str],
        schedule: Schedule = 'joint',
        broken: Literal['stop', 'skip'] = 'stop',
    ) -> None:
        """``tasks``: those to be learned."""
        self.sources, self.schedule = sources, schedule
        self.records = [s.read(tasks, schedule == 'joint', broken) for s in sources]
        known = {task for records in self.records for r in records for task in r.tasks()}
        for task in tasks:
            if task not in known:
                raise UserError(
                    f'no training image has a label of {task}; add data that has, or '
                    f'--set model.heads.{task}=null'
                )

    def __len__(self) -> int:
        """Images with a label: an epoch."""
        return sum(map(len, self.records))

    def digest(self) -> str:
        """SHA-256 of which images there are, with labels of which tasks."""
        lines = (
            f'{source}/{r.name}/{r.tasks()}/{sorted(r.pseudo)}\n'
            for source, records in enumerate(self.records)
            for r in records
        )
        return hashlib.sha256(''.join(lines).encode()).hexdigest()

    def labelled(self) -> dict[str, int]:
        """Images with a true label, by task."""
        counts = Counter(t for rs in self.records for r in rs for t in set(r.tasks()) - r.pseudo)
        return {task: counts[task] for task in BDD100K_LABELS if counts[task]}

    def annotated(self) -> list[str]:
        """Names of the detection classes that some image has true labels of."""
        known = np.zeros(len(DETECTION), bool)
        for record in (record for records in self.records for record in records):
            if record.boxes is not None and 'detection' not in record.pseudo:
                known |= record.boxes.annotated
        return [name for name, is_known in zip(DETECTION.names, known, strict=True) if is_known]

    def summary(self) -> str:
        """A line per source: how many images are labelled for each task."""
        lines = []
        for source, records in zip(self.sources, self.records, strict=True):
            counts = Counter(task for record in records for task in record.tasks())
            made = Counter(task for record in records for task in record.pseudo)
            tasks = ', '.join(
                f'{task} {count}' + (f' ({made[task]} pseudo)' if made[task] else '')
                for task, count in sorted(counts.items())
            )
            lines.append(f'{source.root}: {len(records)} training images; labelled: {tasks}')
        return '\n'.join(lines)

    def labelled_boxes(self, input_size: tuple[int, int]) -> np.ndarray:
        """Training boxes as (N, 4) cxcywh fractions of the letterboxed input; of at most some 300
        images per source.
        """
        found = []
        for records in self.records:
            labelled = [r for r in records if r.boxes is not None and not r.boxes.crowd.all()]
            for record in labelled[:: max(1, len(labelled) // 300)]:
                found.append(_fractions(record, input_size))
        return np.concatenate(found) if found else np.zeros((0, 4))


@dataclass
class _Pool:
    """Images from which the batches of one task (or of all) are drawn: for every place in the
    batch its source, and by source the numbers of its images.
    """

    places: np.ndarray
    images: dict[int, np.ndarray]


class TrainingStream(Dataset):
    """Item i is batch i of this process: (images (B, H, W, 3) uint8, Targets).

    Of ``parts`` parts of a global batch, of which this process makes every ``ranks``-th.
    """

    def __init__(
        self,
        data: TrainingData,
        batch_size: int,
        input_size: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
        steps: tuple[int, int],
        *,
        task_epochs: dict[str, float] | None = None,
        rank: int = 0,
        ranks: int = 1,
        parts: int = 1,
        cache_gb: float = 4.0,
        copies: Path | None = None,
    ) -> None:
        """``steps``: the first step of the phase and the one after its last."""
        if batch_size < ranks * parts:
            raise UserError(
                f'batch_size {batch_size} is too small for {ranks} processes with {parts} '
                'parts each; give every part an image'
            )
        self.data = data
        self._input_size, self._augmentation, self._seed = input_size, augmentation, seed
        self.steps = steps
        self._first, self._rank, self._ranks, self._parts = steps[0], rank, ranks, parts
        self._tasks = task_of_each_step(
            data.schedule,
            data.labelled(),
            task_epochs or {},
            steps[1] - steps[0],
            (seed, steps[0]),
        )
        self._turns = _turns(self._tasks)
        self._pools = {task: self._pool(task, batch_size) for task in set(self._tasks)}
        self._orders: dict[tuple, np.ndarray] = {}
        self._cache: dict[tuple, Sample] = {}
        self._cache_room = round(cache_gb * 1e9)
        longest = round(max(input_size) * max(1.0, augmentation.scale[1]))
        self._longest, self._copies = longest, copies and ResizedCopies(copies, longest)

    def _pool(self, task: str | None, batch_size: int) -> _Pool:
        images = {}
        for source, records in enumerate(self.data.records):
            chosen = [i for i, r in enumerate(records) if task is None or task in r.tasks()]
            if chosen:
                images[source] = np.array(chosen)
        counts = quotas([self.data.sources[s].weight for s in images], batch_size)
        return _Pool(np.repeat(list(images), counts), images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Targets]:
        step, part = divmod(index, self._parts)
        task = self._tasks[step - self._first]
        places = self._pools[task].places
        # A part has the same images on however many processes: batch norm sees no difference.
        mine = range(part + self._parts * self._rank, len(places), self._ranks * self._parts)
        return collate([self._draw(step, place, task) for place in mine])

    def loader(self, start: int, stop: int, workers: int, pin: bool = False) -> DataLoader:
        """The parts of the batches of steps start..stop-1 in order, made by worker processes."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start * self._parts, stop * self._parts),
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=_one_thread,
        )

    def _draw(self, step: int, place: int, task: str | None) -> Sample:
        """Each image of a source once in an epoch, in an order of its own in every epoch."""
        pool = self._pools[task]
        source = pool.places[place]
        quota = np.count_nonzero(pool.places == source)
        turn = self._turns[step - self._first] * quota
        turn += np.count_nonzero(pool.places[:place] == source)
        epoch, number = divmod(turn, len(pool.images[source]))
        image = pool.images[source][self._order(task, source, epoch)[number]]
        sample = self._load(source, int(image), task)
        rng = np.random.default_rng((self._seed, step, place))
        return augment(sample, self._input_size, self._augmentation, rng)

    def _order(self, task: str | None, source: int, epoch: int) -> np.ndarray:
        key = (task, source, epoch)
        if key not in self._orders:
            # Of each source at most this epoch and the one before are in use.
            self._orders.pop((task, source, epoch - 2), None)
            number = 0 if task is None else 1 + list(BDD100K_LABELS).index(task)
            rng = np.random.default_rng((self._seed, self._first, number, source, epoch))
            self._orders[key] = rng.permutation(len(self._pools[task].images[source]))
        return self._orders[key]

    def _load(self, source: int, index: int, task: str | None) -> Sample:
        """Decoded samples stay in memory while there is room, shrunk to what a view can show."""
        key = (source, index, task)
        if key in self._cache:
            return self._cache[key]
        record = self.data.records[source][index]
        if task is not None:
            record = record.only([task])
        sample = load_sample(record, self._longest, self._copies)
        if sample.nbytes <= self._cache_room:
            self._cache_room -= sample.nbytes
            self._cache[key] = sample
        return sample


def _turns(tasks: list[str | None]) -> list[int]:
    """For every step, how many steps before it were of its task."""
    seen: Counter = Counter()
    turns = []
    for task in tasks:
        turns.append(seen[task])
        seen[task] += 1
    return turns


def _fractions(record: Record, input_size: tuple[int, int]) -> np.ndarray:
    height, width = read_image(record.image).shape[:2]
    fit = min(input_size[0] / height, input_size[1] / width)
    boxes = record.boxes.boxes[~record.boxes.crowd] * fit / np.tile(input_size[::-1], 2)
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def _one_thread(worker: int) -> None:
    """The workers are the threads; OpenCV's own would only get in their way."""
    cv2.setNumThreads(0)


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
