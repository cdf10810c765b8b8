# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training config: one YAML file, typed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from unidrive_perception.errors import UserError
from unidrive_training.data.augment import Augmentation
from unidrive_training.data.schedules import Schedule
from unidrive_training.data.sources import Source
from unidrive_training.models.multitask import TASKS, ModelConfig
from unidrive_training.models.tuning import PlanName
from unidrive_training.models.weight_files import WeightFile
from unidrive_training.typed import T, Typed, parse, read_yaml

Share = Annotated[float, Field(ge=0, le=1)]
InputSide = Annotated[int, Field(gt=0, multiple_of=32)]
"""Pixels; the coarsest level of the pyramid has stride 32."""


class Phase(Typed):
    """A stretch of training at one input size (height, width). ``tuning`` says which parts of the
    model learn.

    It lasts so many ``iterations``, or ``epochs`` of the labelled images. ``batch_size`` images
    make one step of the optimizer, over all processes. The learning rate starts at
    ``warmup_factor`` of its value, grows linearly for ``warmup`` iterations, and decays: by steps
    (×0.1 at each of ``milestones``, shares of the phase), a cosine to 2 %, or a polynomial of
    power 0.9. The defaults are those of the paper's finetuning.
    """

    tuning: PlanName = 'finetune'
    input_size: tuple[InputSide, InputSide] = (736, 1280)
    iterations: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 2.5e-5
    warmup: NonNegativeInt = 1000
    warmup_factor: Share = 0.01
    decay: Literal['steps', 'cosine', 'constant', 'poly'] = 'steps'
    milestones: tuple[Share, ...] = (7 / 9, 25 / 27)  # of Sparse R-CNN: 210k and 250k of 270k

    @model_validator(mode='after')
    def _has_one_length(self) -> Phase:
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError('give either iterations or epochs')
        return self

    def length(self, images: int) -> int:
        """Iterations of this phase on so many labelled images."""
        return self.iterations or max(1, math.ceil(self.epochs * images / self.batch_size))


_PAPERS_PHASES = (
    Phase(tuning='adapt', epochs=1, learning_rate=2.5e-4, decay='constant'),
    Phase(tuning='finetune', epochs=35),
)


class Pretrained(Typed):
    """Weights to start from, by part; the rest starts from scratch.

    ``backbone``: see :mod:`unidrive_training.models.pretrained` for the formats; ``torchvision``,
    ``deit`` and ``clip`` have an official site. ``text_encoder``: of the format ``clip``. ``fpn``
    and ``heads``: files of the official code, format ``detectron2``; ``sparse_rcnn``,
    ``maskformer``, ``semantic_fpn`` or ``torchvision`` (Faster R-CNN).
    """

    backbone: WeightFile | None = None
    text_encoder: WeightFile | None = None
    fpn: WeightFile | None = None
    heads: dict[Literal[TASKS], WeightFile] = Field(default_factory=dict)


class TaskWeights(Typed):
    """Weights of the tasks in the total loss (the paper's)."""

    detection: NonNegativeFloat = 1.0
    semantic: NonNegativeFloat = 0.7
    drivable: NonNegativeFloat = 0.7


class TrainingConfig(Typed):
    """Everything that determines a training run, beside the data itself.

    ``schedule``: which samples make a batch, see :mod:`unidrive_training.data.schedules`;
    ``task_epochs`` are for the weighted one. ``rate_factors``: a part of parameter names → factor
    on their learning rate. ``accumulate``: so many parts of a batch go through the model one after
    the other. ``validation``: folders whose ``val`` split is scored every ``evaluate_every``
    iterations and at the end. ``broken``: what to do with images and labels that cannot be used.
    ``resized_copies``: a folder for images shrunk to the size that training needs.
    """

    name: str
    seed: int = 0
    model: ModelConfig
    pretrained: Pretrained = Pretrained()
    data: tuple[Source, ...] = ()
    schedule: Schedule = 'joint'
    task_epochs: dict[Literal[TASKS], PositiveFloat] = Field(default_factory=dict)
    broken: Literal['stop', 'skip'] = 'stop'
    augmentation: Augmentation = Augmentation()
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = _PAPERS_PHASES
    loss_weights: TaskWeights = TaskWeights()
    rate_factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    weight_decay: NonNegativeFloat = 1e-4
    clip_norm: PositiveFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    score_threshold: Share = 0.3
    duplicate_iou: Share | None = None  # boxes that overlap a better one of their class more: out
    precision: Literal['float32', 'bfloat16', 'float16'] = 'bfloat16'
    accumulate: PositiveInt = 1
    compile: bool = False
    workers: NonNegativeInt = 1
    cache_gb: Annotated[float, Field(ge=0)] = 4.0  # of decoded images, per worker
    resized_copies: Path | None = None
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500
    keep_checkpoints: PositiveInt = 2
    validation: tuple[Path, ...] = ()
    evaluate_every: PositiveInt | None = None

    @field_validator('pretrained', mode='before')
    @classmethod
    def _null_is_nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode='after')
    def _plans_have_their_parts(self) -> TrainingConfig:
        plans = [phase.tuning for phase in self.phases]
        if plans[0] == 'scratch' and self.pretrained != Pretrained():
            raise ValueError('tuning scratch loads nothing; set pretrained to null')
        if self.evaluate_every and not self.validation:
            raise ValueError('evaluate_every needs validation: give folders to score')
        if self.schedule != 'joint' and any(source.pseudo for source in self.data):
            raise ValueError(f'schedule {self.schedule} uses true labels only; leave pseudo out')
        if self.task_epochs and self.schedule != 'weighted':
            raise ValueError('task_epochs is for schedule weighted; leave it out')
        if 'prompt-blocks' in plans and self.model.prompts is None:
            raise ValueError('tuning prompt-blocks needs prompt blocks; set model.prompts to {}')
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the finished model's input: that of the last phase."""
        return self.phases[-1].input_size


# What a run may be told anew when it goes on: how it is computed, not what.
FREE = (
    'workers',
    'cache_gb',
    'log_every',
    'checkpoint_every',
    'keep_checkpoints',
    'validation',
    'evaluate_every',
)

# By what a file holds: what it is, and which command takes it.
_KINDS = {
    'student': ('a run file', 'run'),
    'model': ('a training config', 'train'),
    'backbone': ('the config of an image classifier', 'classify'),
}


def load_config(
    path: str | Path, overrides: list[str] | None = None, cls: type[T] = TrainingConfig
) -> T:
    """Read a config; ``overrides`` are ``dotted.key=value`` with YAML values.

    ``base: FILE`` in a config (beside it) gives the settings that it does not set itself; mappings
    are merged, anything else is replaced, and ``null`` takes away, in an override too. A part of
    the model with another ``name`` than the base's replaces it as a whole.

    Raises UserError naming the file and every key that is unknown or of the wrong type.
    """
    values = with_base(Path(path))
    check_kind(values, path, cls)
    for setting in overrides or []:
        override(values, setting, f'--set {setting}', path)
    return parse(cls, values, where=str(path))


def check_kind(values: dict[str, Any], path: str | Path, cls: type[Typed]) -> None:
    """UserError naming the command that a file is for, unless it is for ``cls``."""
    for key, (kind, command) in _KINDS.items():
        if key in values and key not in cls.model_fields:
            raise UserError(f'{path} is {kind}; give it to `unidrive {command}`')


def override(values: dict[str, Any], setting: str, what: str, path: str | Path) -> None:
    """Set ``dotted.key=value`` (a YAML value) in the settings of the file at ``path``.

    ``what``: the argument, for the sentence of the UserError.
    """
    key, separator, text = setting.partition('=')
    if not separator:
        raise UserError(f'{what}: give KEY=VALUE')
    try:
        _assign(values, key.split('.'), yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UserError(f'{what}: {text} is not valid YAML') from error
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f'{what}: {key} is no setting of {path}') from error


def with_base(
    path: Path,
    read: Callable[[Path], dict[str, Any]] = read_yaml,
    above: tuple[Path, ...] = (),
) -> dict[str, Any]:
    """The settings in a file, over those of its ``base`` (see :func:`load_config`)."""
    if path in above:
        raise UserError(f'{above[0]}: base leads back to {path}')
    if above and not path.is_file():
        raise UserError(f'{above[-1]}: there is no base {path}')
    values = read(path)
    if 'base' not in values:
        return values
    base = with_base(path.parent / str(values.pop('base')), read, (*above, path))
    return merged(base | {'name': values.get('name')}, values)


def merged(base: Any, values: Any) -> Any:
    """``values`` over ``base`` (see :func:`load_config`)."""
    if not isinstance(base, dict) or not isinstance(values, dict):
        return values
    if values.get('name', base.get('name')) != base.get('name'):
        return values
    both = base | {key: merged(base.get(key), value) for key, value in values.items()}
    return {key: value for key, value in both.items() if value is not None}


def _assign(values: Any, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values[int(key)] if isinstance(values, list) else values.setdefault(key, {})
    if isinstance(values, list):
        values[int(keys[-1])] = value
    else:
        values[keys[-1]] = value
