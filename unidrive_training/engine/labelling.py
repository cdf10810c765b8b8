# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The pass of the teachers over the images, shared out in batches among the processes.

Which images make a batch depends neither on the number of processes nor on what an interrupted run
has done: a result is a matter of the jobs, the teacher and the batch size only, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox, Size
from unidrive_training import distributed
from unidrive_training.data.bdd100k import Record, read_image
from unidrive_training.engine.pseudo_label_files import PseudoLabelFiles
from unidrive_training.engine.teachers import PseudoLabels, Teacher, Thresholds


@dataclass(frozen=True)
class Job:
    """An image and the tasks that it has no label of."""

    record: Record
    tasks: tuple[str, ...]


@dataclass
class Batch:
    """Images that could be read: letterboxed to each input size (B, H, W, 3) uint8, and their own
    sizes; and the names of the others.
    """

    jobs: list[Job]
    sizes: list[Size]
    inputs: dict[Size, Tensor]
    unreadable: list[str]


class Batches(Dataset):
    """Item i is the i-th batch of the jobs, at every input size of the teachers."""

    def __init__(self, jobs: Sequence[Job], batch_size: int, input_sizes: set[Size]) -> None:
        self._jobs = [jobs[i : i + batch_size] for i in range(0, len(jobs), batch_size)]
        self._input_sizes = input_sizes

    def without(self, done: set[str]) -> list[int]:
        """Numbers of the batches that are not done, this process's share of them."""
        todo = [
            number
            for number, jobs in enumerate(self._jobs)
            if any(job.record.name not in done for job in jobs)
        ]
        return todo[distributed.rank() :: distributed.world_size()]

    def __getitem__(self, index: int) -> Batch:
        jobs, images, unreadable = [], [], []
        for job in self._jobs[index]:
            try:
                images.append(read_image(job.record.image))
                jobs.append(job)
            except (UserError, cv2.error):  # the latter: larger than OpenCV takes
                unreadable.append(job.record.name)
        sizes = [image.shape[:2] for image in images]
        inputs = {size: _letterboxed(images, size) for size in self._input_sizes if images}
        return Batch(jobs, sizes, inputs, unreadable)


class Labelling:
    """One process's pass over its batches. Masks are packed and written by threads meanwhile."""

    def __init__(
        self,
        jobs: Sequence[Job],
        teachers: Sequence[Teacher],
        thresholds: Thresholds,
        files: PseudoLabelFiles,
        done: set[str],
    ) -> None:
        self._jobs, self._teachers, self._thresholds = jobs, teachers, thresholds
        self._files, self._done = files, done

    def run(self, batch_size: int, workers: int) -> None:
        """Label them all."""
        batches = Batches(self._jobs, batch_size, {t.input_size for t in self._teachers})
        todo = batches.without(self._done)
        loader = DataLoader(
            batches, batch_size=None, sampler=todo, num_workers=min(workers, len(todo))
        )
        bar = tqdm(total=len(todo), unit='batch', desc='labelling', disable=distributed.rank() > 0)
        writing: list[Future] = []
        with ThreadPoolExecutor(max(1, workers)) as pool, bar:
            for batch in loader:
                seen = self._seen(batch)
                _wait_for(writing)
                writing = [
                    pool.submit(self._store, job, size, outputs)
                    for job, size, outputs in zip(batch.jobs, batch.sizes, seen, strict=True)
                    if job.record.name not in self._done
                ]
                for name in set(batch.unreadable) - self._done:
                    self._files.store_unreadable(name)
                bar.update()
            _wait_for(writing)

    def _seen(self, batch: Batch) -> list[list[tuple[Teacher, dict[str, Tensor], int]]]:
        """For each image the teachers that it needs, their outputs, and its row there."""
        seen: list[list] = [[] for _ in batch.jobs]
        for teacher in self._teachers:
            rows = [i for i, job in enumerate(batch.jobs) if set(job.tasks) & set(teacher.tasks)]
            if rows:
                outputs = teacher.predict(batch.inputs[teacher.input_size][rows])
                for place, row in enumerate(rows):
                    seen[row].append((teacher, outputs, place))
        return seen

    def _store(
        self, job: Job, size: Size, seen: list[tuple[Teacher, dict[str, Tensor], int]]
    ) -> None:
        labels = PseudoLabels()
        for teacher, outputs, row in seen:
            teacher.label(labels, job.tasks, outputs, row, size, self._thresholds)
        self._files.store(job.record, labels)


def _letterboxed(images: list[np.ndarray], size: Size) -> Tensor:
    return torch.from_numpy(
        np.stack([Letterbox(image.shape[:2], size).apply_image(image) for image in images])
    )


def _wait_for(futures: list[Future]) -> None:
    for future in futures:
        future.result()
