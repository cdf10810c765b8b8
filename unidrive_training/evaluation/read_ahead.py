# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Images and truth masks, read by threads while the model works on those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from unidrive_perception.errors import UserError
from unidrive_training.data.bdd100k import Record, read_image, read_mask


@dataclass(frozen=True)
class Example:
    """A record with its files read: ``rgb`` (H, W, 3) uint8, ``masks`` task → (H, W) uint8."""

    record: Record
    rgb: np.ndarray
    masks: dict[str, np.ndarray]


def read_examples(
    records: Sequence[Record], mask_tasks: Sequence[str], workers: int
) -> Iterator[Example]:
    """The records in order; with ``workers`` threads, twice as many are read ahead."""
    if not workers:
        yield from (read_example(record, mask_tasks) for record in records)
        return
    pool, ahead = ThreadPoolExecutor(workers, 'read'), deque()
    try:
        for record in records:
            ahead.append(pool.submit(read_example, record, mask_tasks))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_example(record: Record, mask_tasks: Sequence[str]) -> Example:
    """UserError naming the file that cannot be read, or the mask that is not of the image."""
    rgb = read_image(record.image)
    masks = {}
    for task in mask_tasks:
        path = getattr(record, task)
        if path is None:
            continue
        masks[task] = read_mask(path)
        if masks[task].shape != rgb.shape[:2]:
            (height, width), (rows, columns) = masks[task].shape, rgb.shape[:2]
            raise UserError(
                f'{path}: the mask is {width}×{height}, its image {record.image.name} '
                f'{columns}×{rows}; give the mask of that image'
            )
    return Example(record, rgb, masks)
