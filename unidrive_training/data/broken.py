# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Sorts out broken images and labels before training, from headers alone.

``unidrive check-data`` looks deeper: here no pixel is decoded, so that a run over BDD100K starts
within a minute.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.data.bdd100k import Record
from unidrive_training.data.box_labels import BoxLabels
from unidrive_training.data.headers import check_end, image_size, mask_header

_THREADS = 8  # waiting for a disk or a network, not computing
_CHUNK = 256  # records; a task of a pool each would cost more than the reading
_MASKS = ('semantic', 'drivable')


def drop_broken(
    records: list[Record], split: str, broken: Literal['stop', 'skip'] = 'stop'
) -> list[Record]:
    """The records whose files can be trained on, judged by their headers.

    Broken are: an image that is none or cut off; a mask that is no one-channel 8-bit PNG, cut off
    or not of its image's size; a box that is reversed or has no finite numbers. ``stop``:
    UserError naming the first and how many there are. ``skip``: a broken image is left out, a
    broken label or box is taken off its record, and a line says how many.
    """
    chunks = [records[i : i + _CHUNK] for i in range(0, len(records), _CHUNK)]
    results: list[tuple[Record | None, list[str]]] = []
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=len(records),
            desc=f'headers of {split}',
            unit='image',
            leave=False,
            disable=distributed.rank() > 0,
        ) as bar,
    ):
        for chunk in pool.map(lambda chunk: [_mended(record) for record in chunk], chunks):
            results += chunk
            bar.update(len(chunk))
    mended, faults = zip(*results, strict=True) if records else ((), ())
    faults = [fault for of_record in faults for fault in of_record]
    if not faults:
        return records
    counted = f'{len(faults)} broken images, masks and boxes in {len(records)} images of {split}'
    if broken == 'stop':
        raise UserError(
            f'{faults[0]}. That is the first of {counted}: `unidrive check-data` lists them; '
            'mend them, or train with broken: skip'
        )
    kept = [record for record in mended if record is not None]
    lost = len(records) - len(kept)
    if distributed.rank() == 0:
        tqdm.write(f'skipped {counted} ({lost} images left out), the first {faults[0]}')
    return kept


def _mended(record: Record) -> tuple[Record | None, list[str]]:
    """The record without what is broken, ``None`` without its image; and what was."""
    try:
        size = image_size(record.image)
        check_end(record.image)
    except UserError as error:
        return None, [str(error)]
    changes, faults = {}, []
    for task in _MASKS:
        mask = getattr(record, task)
        fault = _mask_fault(mask, size) if mask else None
        if fault:
            changes[task] = None
            faults.append(fault)
    if record.boxes is not None:
        good = _are_boxes(record.boxes.boxes)
        if not good.all():
            changes['boxes'] = _chosen(record.boxes, good)
            first = record.boxes.boxes[~good][0].tolist()
            faults += [f'{record.image}: box {first}'] * (~good).sum()
    return (replace(record, **changes) if changes else record), faults


def _mask_fault(path: Path, image: tuple[int, int]) -> str | None:
    """What is wrong with the mask of an image of (height, width) pixels, as a sentence."""
    try:
        header = mask_header(path)
        check_end(path)
    except UserError as error:
        return str(error)
    if not header.one_channel or header.bits != 8:
        return f'{path}: no one-channel 8-bit mask'
    if header.size != image:
        (height, width), (rows, columns) = header.size, image
        return f'{path}: {width}×{height} pixels, but its image has {columns}×{rows}'
    return None


def _are_boxes(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: finite and not reversed; an empty box does no harm, every view drops it."""
    return np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)


def _chosen(labels: BoxLabels, rows: np.ndarray) -> BoxLabels:
    return replace(
        labels,
        boxes=labels.boxes[rows],
        class_ids=labels.class_ids[rows],
        crowd=labels.crowd[rows],
    )
