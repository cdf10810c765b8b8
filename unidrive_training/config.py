# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training config: one YAML file, typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from unidrive_perception.errors import UserError
from unidrive_training.data.augment import Augmentation
from unidrive_training.data.stream import Source
from unidrive_training.models.multitask import TASKS, ModelConfig
from unidrive_training.models.tuning import PlanName
from unidrive_training.models.weight_files import WeightFile
from unidrive_training.typed import T, Typed, parse, read_yaml

InputSide = Annotated[int, Field(gt=0, multiple_of=32)]
"""Pixels; the coarsest level of the pyramid has stride 32."""


class Phase(Typed):
    """A stretch of training at one input size (height, width); its learning rate warms up, then
    decays. ``tuning`` says which parts of the model learn.
    """

    tuning: PlanName = 'finetune'
    input_size: tuple[InputSide, InputSide]
    iterations: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup: NonNegativeInt = 200


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

    detection: float = 1.0
    semantic: float = 0.7
    drivable: float = 0.7


class TrainingConfig(Typed):
    """Everything that determines a training run, beside the data itself.

    ``rate_factors``: a part of parameter names → factor on their learning rate.
    """

    name: str
    seed: int = 0
    model: ModelConfig
    pretrained: Pretrained = Pretrained()
    data: tuple[Source, ...] = ()
    augmentation: Augmentation = Augmentation()
    phases: Annotated[list[Phase], Field(min_length=1)]
    loss_weights: TaskWeights = TaskWeights()
    rate_factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    bfloat16: bool = True
    workers: NonNegativeInt = 1
    cache_gb: Annotated[float, Field(ge=0)] = 4.0  # of decoded images, per worker
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt = 500

    @field_validator('pretrained', mode='before')
    @classmethod
    def _null_is_nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode='after')
    def _plans_have_their_parts(self) -> TrainingConfig:
        plans = [phase.tuning for phase in self.phases]
        if plans[0] == 'scratch' and self.pretrained != Pretrained():
            raise ValueError('tuning scratch loads nothing; set pretrained to null')
        if 'prompt-blocks' in plans and self.model.prompts is None:
            raise ValueError('tuning prompt-blocks needs prompt blocks; set model.prompts to {}')
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the finished model's input: that of the last phase."""
        return self.phases[-1].input_size


def load_config(
    path: str | Path, overrides: list[str] | None = None, cls: type[T] = TrainingConfig
) -> T:
    """Read a config; ``overrides`` are ``dotted.key=value`` with YAML values.

    ``base: FILE`` in a config (beside it) gives the settings that it does not set itself; mappings
    are merged, anything else is replaced, and ``null`` takes away. A part of the model with
    another ``name`` than the base's replaces it as a whole.

    Raises UserError naming the file and every key that is unknown or of the wrong type.
    """
    values = with_base(Path(path))
    for setting in overrides or []:
        override(values, setting, f'--set {setting}', path)
    return parse(cls, values, where=str(path))


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
