# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which training images keep which labels: the paper's settings, and any other shares.

A task takes the images it may keep in the order of the SHA-256 of ``SEED/TASK/NAME``: a matter of
names alone, so every machine and every version of every library gives the same lists, and a
smaller number gives a part of what a larger one gives. The validation split is never thinned.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt, model_validator

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.resources import config_path
from unidrive_training.data.bdd100k import Record
from unidrive_training.typed import Typed, parse, read_json, read_yaml

TASKS = tuple(BDD100K_LABELS)
_Count = Annotated[StrictInt, Field(ge=0)]
_Share = Annotated[StrictFloat, Field(ge=0, le=1)]


class Setting(Typed):
    """How many images keep the label of each task.

    ``labelled``: a count (``7000``), or a share (``0.1``; ``1.0`` is all) of the images that have
    the label; a task that is not named keeps none. ``disjoint``: no image keeps the labels of two
    tasks; the tasks choose in the order in which they are named, so name the scarcest first.
    ``images``: the names chosen before (:func:`freeze`); they are then taken as they are.
    """

    name: str
    seed: int = 0
    disjoint: bool = False
    labelled: dict[Literal[TASKS], _Count | _Share]
    images: dict[Literal[TASKS], tuple[str, ...]] | None = None

    @model_validator(mode='after')
    def _counts_fit_the_lists(self) -> Setting:
        if self.images is None:
            return self
        found = {task: len(set(names)) for task, names in self.images.items()}
        if found != self.labelled:
            raise ValueError(f'labelled says {self.labelled}, but images names {found}')
        uses = Counter(name for names in self.images.values() for name in names)
        twice = [name for name, count in uses.items() if count > 1]
        if self.disjoint and twice:
            raise ValueError(f'disjoint, but {len(twice)} images have two tasks, as {twice[0]}')
        return self


def load_setting(name_or_path: str | Path) -> Setting:
    """A setting of ``config/settings`` by its name, or a YAML file, or a frozen JSON file."""
    path = Path(name_or_path)
    if path.suffix == '.json':
        # YAML's reader would take it too, but needs ten seconds for 37000 names.
        values = read_json(path, 'give what `unidrive setting --out` writes')
        return parse(Setting, values, where=str(path))
    if path.suffix not in ('.yaml', '.yml'):
        path = config_path('settings', f'{name_or_path}.yaml')
        if not path.is_file():
            known = ', '.join(sorted(file.stem for file in config_path('settings').glob('*.yaml')))
            raise UserError(
                f'{name_or_path}: no such setting; give {known}, or a .yaml or .json file'
            )
    return parse(Setting, read_yaml(path), where=str(path))


def apply_setting(setting: Setting, records: Sequence[Record]) -> list[Record]:
    """The records with the labels that ``setting`` leaves them; without any, a record is dropped.

    Raises UserError with the numbers where there are too few images.
    """
    chosen = choose(setting, records)
    kept = []
    for record in records:
        record = record.only([task for task, names in chosen.items() if record.name in names])
        if record.tasks():
            kept.append(record)
    return kept


def choose(setting: Setting, records: Sequence[Record]) -> dict[str, set[str]]:
    """For each task that the setting names, the names of the images that keep its label."""
    available: dict[str, set[str]] = {task: set() for task in TASKS}
    for record in records:
        for task in record.tasks():
            available[task].add(record.name)
    if setting.images is not None:
        return _frozen(setting, available)
    taken: set[str] = set()
    chosen = {}
    for task, amount in setting.labelled.items():
        free = available[task] - taken if setting.disjoint else available[task]
        count = amount if isinstance(amount, int) else round(amount * len(available[task]))
        if count > len(free):
            raise UserError(
                f'setting {setting.name}: {task} wants {count} images, and {len(free)} of the '
                f'{len(available[task])} labelled ones are free; give a smaller number'
                + (' or, as the tasks choose in turn, name this one first' if taken else '')
            )
        ordered = sorted(free, key=lambda name: _rank(setting.seed, task, name))
        chosen[task] = set(ordered[:count])
        taken |= chosen[task]
    return chosen


def freeze(setting: Setting, records: Sequence[Record]) -> Setting:
    """The setting with the names it chooses among ``records``, to publish and to use again."""
    images = {task: tuple(sorted(names)) for task, names in choose(setting, records).items()}
    labelled = {task: len(names) for task, names in images.items()}
    return setting.model_copy(update={'labelled': labelled, 'images': images})


def fingerprint(frozen: Setting) -> str:
    """SHA-256 of the name lists: equal where two teams train on the same labels."""
    lists = ''.join(f'{task}/{name}\n' for task in TASKS for name in frozen.images.get(task, ()))
    return hashlib.sha256(lists.encode()).hexdigest()


def _rank(seed: int, task: str, name: str) -> bytes:
    return hashlib.sha256(f'{seed}/{task}/{name}'.encode()).digest()


def _frozen(setting: Setting, available: dict[str, set[str]]) -> dict[str, set[str]]:
    chosen = {task: set(names) for task, names in setting.images.items()}
    for task, names in chosen.items():
        missing = sorted(names - available[task])
        if missing:
            raise UserError(
                f'setting {setting.name}: {len(missing)} of its {len(names)} {task} images are '
                f'not labelled here, the first {missing[0]}; complete the dataset'
            )
    return chosen
