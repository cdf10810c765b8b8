# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Where training images come from: folders, which of their labels count, and pseudo-labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.data.bdd100k import Record, check_folder, read_split
from unidrive_training.data.broken import drop_broken
from unidrive_training.data.pseudo_labels import add_pseudo_labels
from unidrive_training.data.settings import apply_setting, load_setting
from unidrive_training.typed import Typed

Task = Literal[tuple(BDD100K_LABELS)]


class Source(Typed):
    """One BDD100K-layout folder and its share of every batch, relative to the other sources.

    Of its true labels those of ``tasks`` count (all, unless given), and of these the ones that
    ``setting`` leaves (:mod:`unidrive_training.data.settings`). ``pseudo``: the folder of
    `unidrive pseudo-label` for images that lack labels.
    """

    root: Path
    weight: float = Field(1.0, gt=0)
    tasks: tuple[Task, ...] | None = None
    setting: str | None = None
    pseudo: Path | None = None

    def check(self) -> None:
        """UserError unless the folders are there."""
        check_folder(self.root)
        if self.pseudo:
            check_folder(self.pseudo)

    def read(
        self, split: str, with_pseudo: bool = True, broken: Literal['stop', 'skip'] = 'stop'
    ) -> list[Record]:
        """The images of a split that have a label."""
        records = read_split(self.root, split)
        if self.tasks is not None:
            records = [_only(record, self.tasks) for record in records]
        if self.setting:
            records = apply_setting(load_setting(self.setting), records)
        if self.pseudo and with_pseudo:
            records = add_pseudo_labels(records, self.pseudo, split)
        labelled = drop_broken([r for r in records if r.tasks()], split, broken)
        if not labelled:
            raise UserError(f'{self.root}: no {split} image has a label')
        return labelled


def _only(record: Record, tasks: tuple[str, ...]) -> Record:
    """The record without the labels of other tasks."""
    fields = {'detection': 'boxes', 'semantic': 'semantic', 'drivable': 'drivable'}
    return replace(record, **{f: None for task, f in fields.items() if task not in tasks})
