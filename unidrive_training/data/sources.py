# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Where training images come from: folders, which of their labels count, and pseudo-labels."""

from __future__ import annotations

from collections.abc import Collection
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

    Of its true labels those count that ``setting`` leaves, see
    :mod:`unidrive_training.data.settings`, and of these the ones of ``tasks`` (all, unless given).
    ``pseudo``: the folder of `unidrive pseudo-label` for what is then missing.
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
        self,
        wanted: Collection[str],
        with_pseudo: bool = True,
        broken: Literal['stop', 'skip'] = 'stop',
    ) -> list[Record]:
        """The training images that have a label of the ``wanted`` tasks, without other labels."""
        records = read_split(self.root, 'train')
        if self.setting:
            records = apply_setting(load_setting(self.setting), records)
        if self.tasks is not None:
            records = [record.only(self.tasks) for record in records]
        if self.pseudo and with_pseudo:
            records = add_pseudo_labels(records, self.pseudo, 'train')
        return _usable(self.root, records, 'train', wanted, broken)


def read_held_out(
    root: Path, wanted: Collection[str], broken: Literal['stop', 'skip'] = 'stop'
) -> list[Record]:
    """The images of ``val`` that have a label of the ``wanted`` tasks and can be scored."""
    return _usable(root, read_split(root, 'val'), 'val', wanted, broken)


def _usable(
    root: Path,
    records: list[Record],
    split: str,
    wanted: Collection[str],
    broken: Literal['stop', 'skip'],
) -> list[Record]:
    """The records that have a sound label of the ``wanted`` tasks, without other labels."""
    labelled = _labelled([record.only(wanted) for record in records])
    labelled = _labelled(drop_broken(labelled, split, broken))
    if not labelled:
        raise UserError(
            f'{root}: no image of {split} has a label of {", ".join(wanted)}; '
            'leave this folder out'
        )
    return labelled


def _labelled(records: list[Record]) -> list[Record]:
    return [record for record in records if record.tasks()]
