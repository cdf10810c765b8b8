# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The config of a classification run: one YAML file, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from unidrive_perception.errors import UserError
from unidrive_training.config import InputSide
from unidrive_training.models.prompt_blocks import PromptConfig
from unidrive_training.models.tuning import PLANS, PlanName
from unidrive_training.models.weight_files import WeightFile
from unidrive_training.typed import Typed


class DataConfig(Typed):
    """What to classify.

    ``folder``: ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``; ``crops``: the same of small images
    as `unidrive crops` writes them, learned in the views of CIFAR. ``imbalance``: images of the
    largest class per image of the smallest in a long-tailed choice of the training images.
    """

    dataset: Literal['cifar10', 'cifar100', 'crops', 'folder']
    imbalance: Annotated[float, Field(ge=1)] = 1.0
    image_size: InputSide = 224


class ClassificationConfig(Typed):
    """Everything that determines a run, beside the images.

    ``pretrained``: weights of the backbone, formats as in ``models/pretrained.py``. ``tuning``:
    what learns (``models/tuning.py``). ``warmup``: iterations in which the learning
    rate rises; it falls to zero as a cosine after that.
    """

    name: str
    seed: NonNegativeInt = 0
    backbone: dict[str, Any]
    pretrained: WeightFile | None = None
    prompts: PromptConfig | None = None
    tuning: PlanName
    data: DataConfig
    epochs: PositiveInt
    batch_size: PositiveInt = 64
    optimizer: Literal['adamw', 'sgd'] = 'adamw'
    learning_rate: PositiveFloat
    warmup: NonNegativeInt = 0
    weight_decay: NonNegativeFloat = 1e-4
    bfloat16: bool = True
    workers: NonNegativeInt = 2

    def check(self) -> None:
        """UserError where settings contradict each other."""
        plan = PLANS[self.tuning]
        if not plan.heads:
            raise UserError(f'tuning {self.tuning} trains no classifier; give tuning=head')
        if self.tuning == 'prompt-blocks' and self.prompts is None:
            raise UserError('tuning prompt-blocks needs prompt blocks; give prompts={}')
        if self.prompts is not None and not plan.prompt_blocks:
            raise UserError(
                f'tuning {self.tuning} does not train the prompt blocks; add --set prompts=null'
            )
        if self.tuning == 'scratch' and self.pretrained is not None:
            raise UserError('tuning scratch loads nothing; add --set pretrained=null')
