# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels that teachers made (``unidrive pseudo-label``), added to the images that lack them.

::

    FOLDER/labels/det_20/det_SPLIT.json              as real ones; each box's attributes say
                                                     {pseudo: true, score, teacher}
    FOLDER/labels/sem_seg/masks/SPLIT/NAME.png       as real ones, 255 where the teacher was unsure
    FOLDER/labels/drivable/masks/SPLIT/NAME.png
    FOLDER/pseudo_labels.json                        teachers, thresholds, confidence per image
    FOLDER/.work/                                    only until all images are done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.data.bdd100k import Record, read_boxes
from unidrive_training.typed import read_json

INDEX = 'pseudo_labels.json'
WORK = '.work'
_MASK_FOLDERS = {'semantic': 'sem_seg', 'drivable': 'drivable'}


def boxes_file(folder: Path, split: str) -> Path:
    """Where the boxes of all images are."""
    return folder / 'labels' / 'det_20' / f'det_{split}.json'


def mask_file(folder: Path, task: str, split: str, name: str) -> Path:
    """Where the mask of an image is."""
    return folder / 'labels' / _MASK_FOLDERS[task] / 'masks' / split / f'{name}.png'


def read_index(folder: Path) -> dict[str, Any]:
    """What ``pseudo_labels.json`` says; UserError without one."""
    path = folder / INDEX
    if (folder / WORK).exists():
        raise UserError(
            f'{folder}: its pseudo-labels are unfinished; run the same `unidrive pseudo-label` '
            'again, which goes on where it stopped'
        )
    if not path.is_file():
        raise UserError(f'{folder}: no pseudo-labels; make them with `unidrive pseudo-label`')
    return read_json(path, 'make the labels anew')


def add_pseudo_labels(
    records: Sequence[Record], folder: str | Path, split: str = 'train'
) -> list[Record]:
    """The records with what ``folder`` has for the tasks that they lack; a true label stays.

    Raises UserError when the folder is unfinished, holds another split or no pseudo-labels, and
    when records that its teachers could read still lack a label of their tasks.
    """
    folder = Path(folder)
    index = read_index(folder)
    made_for = index['split']
    if made_for != split:
        raise UserError(f'{folder}: pseudo-labels of {made_for}, not of {split}; give others')
    boxes = read_boxes(boxes_file(folder, split))
    added = []
    for record in records:
        missing: dict[str, Any] = {}
        if record.boxes is None and record.name in boxes:
            missing['detection'] = boxes[record.name]
        for task in _MASK_FOLDERS:
            path = mask_file(folder, task, split, record.name)
            if getattr(record, task) is None and path.is_file():
                missing[task] = path
        pseudo = record.pseudo | set(missing)
        if 'detection' in missing:
            missing['boxes'] = missing.pop('detection')
        added.append(replace(record, pseudo=pseudo, **missing))
    _check_all_labelled(added, folder, index)
    return added


def _check_all_labelled(records: Sequence[Record], folder: Path, index: dict[str, Any]) -> None:
    """The data may have grown since, or be others, or have other true labels."""
    unreadable, teachers = set(index['unreadable']), set(index['teachers'])
    lacking = {
        record.name: teachers.difference(record.tasks())
        for record in records
        if record.name not in unreadable and not teachers.issubset(record.tasks())
    }
    if lacking:
        name, tasks = next(iter(lacking.items()))
        raise UserError(
            f'{folder}: {len(lacking)} of {len(records)} images have neither a label nor a '
            f'pseudo-label, the first {name} ({", ".join(sorted(tasks))}); run the same '
            '`unidrive pseudo-label` again, which labels what is new, or give the folder that '
            'was made for these data, setting and tasks'
        )
