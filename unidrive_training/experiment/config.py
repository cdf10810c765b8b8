# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The run file: one YAML file that describes a whole experiment, typed.

Folders in it are relative to where the command is started, as in every command; a ``base`` is
beside the file that names it. ``${NAME}`` stands for an environment variable.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    field_serializer,
    field_validator,
    model_validator,
)

from unidrive_perception.errors import UserError
from unidrive_training.config import check_kind, merged, override, with_base
from unidrive_training.models.multitask import TASKS
from unidrive_training.typed import Typed, parse, read_yaml

Name = Annotated[str, Field(pattern=r'^[A-Za-z0-9_-]+$')]
"""Of a data entry; its folder is called so too."""
_KINDS = ('root', 'convert', 'scenes', 'frames')


class Dataset(Typed):
    """Where images and labels come from: exactly one of ``root`` (a BDD100K-layout folder that
    is there already), ``convert`` with ``source``, ``scenes`` and ``frames``.

    ``scenes`` holds the options of `unidrive scenes`; other keys beside ``convert`` or ``frames``
    are options of those commands. ``weight``, ``tasks`` and ``setting``: as in the ``data`` of a
    training config.
    """

    model_config = ConfigDict(extra='allow', frozen=True)

    root: Path | None = None
    convert: str | None = None
    source: Path | None = None
    scenes: dict[str, Any] | None = None
    frames: Annotated[list[Path], Field(min_length=1)] | None = None
    weight: PositiveFloat = 1.0
    tasks: tuple[Literal[TASKS], ...] | None = None
    setting: str | None = None

    @model_validator(mode='after')
    def _has_one_kind(self) -> Dataset:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f'give exactly one of {", ".join(_KINDS)}, not {", ".join(given) or "none"}'
            )
        if (self.convert is None) != (self.source is None):
            raise ValueError('convert and source go together')
        if self.model_extra and given[0] in ('root', 'scenes'):
            raise ValueError(f'no such setting: {", ".join(self.model_extra)}')
        return self

    @property
    def command(self) -> str | None:
        """The command that makes the folder; None where it is there already."""
        return next((kind for kind in _KINDS[1:] if getattr(self, kind) is not None), None)

    @property
    def options(self) -> dict[str, Any]:
        """Those of the command."""
        return self.scenes or self.model_extra or {}

    @property
    def labelled(self) -> bool:
        """Whether its images have labels of their own at all."""
        return self.frames is None


class Training(Typed):
    """A training config (other keys are its settings, or those of its ``base``) with the data by
    their names.

    ``data``: names, or name → share of a batch (default: the entry's ``weight``).
    ``validation``: names of data that are scored during training. ``backbone_from: pretrain``
    starts from the backbone that the step ``pretrain`` trains, ``weights_from: pretrain`` from
    all of its weights that fit.
    """

    model_config = ConfigDict(extra='allow', frozen=True)

    data: Annotated[dict[Name, PositiveFloat | None], Field(min_length=1)]
    validation: list[Name] = Field(default_factory=list)
    backbone_from: Literal['pretrain'] | None = None
    weights_from: Literal['pretrain'] | None = None

    @field_validator('data', mode='before')
    @classmethod
    def _names_alone_will_do(cls, value: Any) -> Any:
        return dict.fromkeys(value) if isinstance(value, list) else value

    @field_serializer('data')
    def _as_it_was_given(self, value: dict[str, float | None]) -> list[str] | dict[str, float]:
        return list(value) if None in value.values() else value

    @property
    def starts_from(self) -> str | None:
        """The step whose weights it starts from."""
        return self.weights_from or self.backbone_from

    @property
    def start_key(self) -> str:
        """The key that says so."""
        return 'weights_from' if self.weights_from else 'backbone_from'

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the training config."""
        return self.model_extra or {}


class PseudoLabels(Typed):
    """What the teachers label, and how sure they must be."""

    data: Annotated[list[Name], Field(min_length=1)]
    box_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    mask_confidence: Annotated[float, Field(ge=0, le=1)] = 0.3


class Scoring(Typed):
    """On which data the student is scored."""

    data: Annotated[list[Name], Field(min_length=1)]
    split: str = 'val'


class Experiment(Typed):
    """Data, and the steps from it to a scored student; what is not given is left out.

    ``seed``: of every training that does not set its own (one in its ``base`` does not count).
    """

    name: str
    seed: int = 0
    data: dict[Name, Dataset]
    pretrain: Training | None = None
    teachers: dict[Literal[TASKS], Training] = Field(default_factory=dict)
    pseudo_labels: PseudoLabels | None = None
    student: Training
    evaluation: Scoring | None = None
    export: bool = True

    @model_validator(mode='after')
    def _parts_are_there(self) -> Experiment:
        if self.pseudo_labels and not self.teachers:
            raise ValueError('pseudo_labels needs teachers')
        for step, section in self.trainings().items():
            if section.starts_from and (step == 'pretrain' or not self.pretrain):
                raise ValueError(f'{step}.{section.start_key}: there is no pretrain before it')
            if section.weights_from and section.backbone_from:
                raise ValueError(f'{step}: give weights_from or backbone_from, not both')
        return self

    @model_validator(mode='after')
    def _data_are_there(self) -> Experiment:
        for key, names in self.uses().items():
            for name in names:
                if name not in self.data:
                    raise ValueError(f'{key}: no {name} in data, which has {", ".join(self.data)}')
        with_labels = {n for n, entry in self.data.items() if entry.labelled}
        students = with_labels | set(self.pseudo_labels.data if self.pseudo_labels else ())
        for key, names in self.uses().items():
            known = students if key == 'student.data' else with_labels
            for name in names:
                if name not in known and key != 'pseudo_labels.data':
                    raise ValueError(f'{key}: {name} has no labels, as frames have none')
        for task, section in self.teachers.items():
            for name in section.data:
                if task not in (self.data[name].tasks or TASKS):
                    raise ValueError(f'teachers.{task}.data: {name} has no labels of {task}')
        return self

    def trainings(self) -> dict[str, Training]:
        """The models to train by step, in order."""
        sections = {'pretrain': self.pretrain} if self.pretrain else {}
        sections |= {f'teachers/{task}': teacher for task, teacher in self.teachers.items()}
        return sections | {'student': self.student}

    def uses(self) -> dict[str, list[str]]:
        """Names of data, by the key of the run file that names them."""
        uses = {}
        for step, section in self.trainings().items():
            uses[f'{step.replace("/", ".")}.data'] = list(section.data)
            uses[f'{step.replace("/", ".")}.validation'] = section.validation
        for step in ('pseudo_labels', 'evaluation'):
            if section := getattr(self, step):
                uses[f'{step}.data'] = section.data
        return uses

    def pseudo_labelled(self) -> list[str]:
        """Names of the data whose pseudo-labels the student learns from; only the joint schedule
        uses such (:mod:`unidrive_training.data.schedules`).
        """
        if not self.pseudo_labels or self.student.settings.get('schedule', 'joint') != 'joint':
            return []
        return [name for name in self.pseudo_labels.data if name in self.student.data]


def load_experiment(path: Path, overrides: list[str]) -> Experiment:
    """Read a run file; ``overrides`` are ``dotted.key=value`` with YAML values.

    The file may have a ``base`` (another run file), and so may each training in it.

    Raises UserError naming every key that is unknown or of the wrong type, and every variable
    that is not set.
    """
    values = with_base(path, _read)
    check_kind(values, path, Experiment)
    # Another base first: the other settings may be about what it holds.
    bases = [setting for setting in overrides if '.base=' in setting]
    for setting in bases:
        override(values, setting, setting, path)
    _fill_bases(values, path)
    for setting in overrides:
        if setting not in bases:
            override(values, setting, setting, path)
    return parse(Experiment, _expanded(values, path), where=str(path))


def _read(path: Path) -> dict[str, Any]:
    """A run file's settings, with the bases of its trainings relative to where we are."""
    values = read_yaml(path)
    for section in _trainings(values):
        if 'base' in section:
            section['base'] = str(path.parent / str(section['base']))
    return values


def _trainings(values: dict[str, Any]) -> list[dict[str, Any]]:
    teachers = values.get('teachers')
    sections = [values.get('pretrain'), values.get('student')]
    sections += teachers.values() if isinstance(teachers, dict) else []
    return [section for section in sections if isinstance(section, dict)]


def _fill_bases(values: dict[str, Any], path: Path) -> None:
    """Every training with the settings of its base; of a base, data, name and seed are not."""
    for section in _trainings(values):
        if 'base' in section:
            file = Path(section.pop('base'))
            if not file.is_file():
                raise UserError(f'{path}: there is no base {file}')
            base = with_base(file)
            for key in ('data', 'seed'):
                base.pop(key, None)
            whole = merged(base | {'name': section.get('name')}, section)
            section.clear()
            section.update(whole)


def _expanded(value: Any, path: Path) -> Any:
    """Without nulls, which take a setting away, and with the values of variables."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None}
        return {key: _expanded(item, path) for key, item in kept.items()}
    if isinstance(value, list):
        return [_expanded(item, path) for item in value]
    return re.sub(r'\$\{(\w+)\}', _variable(path), value) if isinstance(value, str) else value


def _variable(path: Path):
    def of(match: re.Match[str]) -> str:
        if not os.environ.get(match[1]):
            raise UserError(f'{path} needs the environment variable {match[1]}, which is not set')
        return os.environ[match[1]]

    return of
