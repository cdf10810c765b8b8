# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pro-tuning's prompt blocks (Nie et al., "Pro-tuning: Unified Prompt Tuning for Vision Tasks").

x + β · f(x) after the stages of a frozen backbone (Eq. 1): f is a 1×1 convolution, a 5×5 depthwise
convolution and a 1×1 convolution "along with a SE module"; β is learnable.

The paper fixes no more than that; its parameter counts narrow the rest. This is our inference from
its published tables, not from its code, and not the only possible one:

- The kernel size costs 16 to 25 parameters per channel of the *whole* stage (Table 12), so the
  depthwise convolution is as wide as the stage (``width`` 1).
- A ResNet-50 (C = 256, 512, 1024, 2048) gets 3.613 M parameters (Tables 4, 9). Two 1×1
  convolutions with 4 groups (C² / 4 each), a squeeze-and-excitation of reduction 16 without biases
  (C² / 8), biases in all three convolutions and batch norm after each (34 C with the depthwise
  kernel) have 3.612 M. The same rule gives RegNetX-32 5.61 M, the paper's figure.
- SE sits after the depthwise convolution, as in MobileNetV3, which has the same sequence of
  convolutions; ReLU follows the first two batch norms.
- No channel shuffle between the grouped convolutions: it has no parameters, so the tables cannot
  tell, and channels already meet in the SE and in the next stage of the backbone.

The published counts of transformers follow another rule, nearest to dense 1×1 convolutions to half
the width (``groups`` 1, ``width`` 0.5): DeiT-S +3.5 %, DeiT-B +1.0 %. They also meet Swin-S and -B
within 0.4 % if a stage ends, as in the official code, with the merging of its patches (C = 192,
384, 768, 768 for Swin-S). Our places are before it, where C2..C5 are taken; there ``width`` 0.875
comes to +3 %.

The last batch norm starts as zero, so the untrained model computes what the backbone alone does,
which is where decreasing a constant β leads too (Table 11: 0.1 is the best of the constants, a
learnable β is better still).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from unidrive_perception.errors import UserError
from unidrive_training.typed import Typed


class PromptConfig(Typed):
    """Options of the prompt blocks.

    ``blocks``: how many in sequence at a place, each its own x + β f(x) (Table 9). ``places``: the
    places of the backbone that get them, all when absent (Table 10). ``kernel``: side of the
    depthwise convolution (Table 12). ``width``: its channels as a fraction of the place's.
    ``groups``: of the 1×1 convolutions. ``reduction``: of the SE. ``beta``: β at the start, and
    for good unless ``learn_beta`` (Table 11).
    """

    blocks: PositiveInt = 1
    places: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    kernel: PositiveInt = 5
    width: PositiveFloat = 1.0
    groups: PositiveInt = 4
    reduction: PositiveInt = 16
    beta: float = 0.1
    learn_beta: bool = True


class PromptBlocks(nn.Module):
    """The blocks of every place; the identity at places that have none.

    ``channels``: of the map at each place. Raises UserError where the config does not fit them.
    """

    def __init__(self, config: PromptConfig, channels: list[int]) -> None:
        super().__init__()
        _check(config, channels)
        self.places = nn.ModuleList(
            nn.Sequential(*(PromptBlock(config, count) for _ in range(config.blocks)))
            if config.places is None or place in config.places
            else nn.Sequential()
            for place, count in enumerate(channels)
        )

    def forward(self, place: int, x: Tensor) -> Tensor:
        """The (B, C, H, W) map at a place → the same shape, blended with its prompts."""
        return self.places[place](x)


class PromptBlock(nn.Module):
    """x + β · f(x) (Eq. 1)."""

    def __init__(self, config: PromptConfig, channels: int) -> None:
        super().__init__()
        from timm.layers import SEModule  # here, because every command imports this file

        width = _width(config, channels)
        beta = torch.tensor(config.beta)
        if config.learn_beta:
            self.beta = nn.Parameter(beta)
        else:
            self.register_buffer('beta', beta)
        self.prompt = nn.Sequential(
            *_convolution(channels, width, 1, config.groups),
            nn.ReLU(inplace=True),
            *_convolution(width, width, config.kernel, width),
            nn.ReLU(inplace=True),
            SEModule(width, rd_channels=max(1, width // config.reduction), bias=False),
            *_convolution(width, channels, 1, config.groups),
        )
        nn.init.zeros_(self.prompt[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        return x + self.beta * self.prompt(x)


def _convolution(in_channels: int, channels: int, kernel: int, groups: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, groups=groups)
    nn.init.kaiming_normal_(convolution.weight, mode='fan_in', nonlinearity='relu')
    nn.init.zeros_(convolution.bias)
    return [convolution, nn.BatchNorm2d(channels)]


def _width(config: PromptConfig, channels: int) -> int:
    return max(1, round(config.width * channels))


def _check(config: PromptConfig, channels: list[int]) -> None:
    if config.kernel % 2 == 0:
        raise UserError(f'prompts: kernel {config.kernel} must be odd')
    for place in config.places or ():
        if place >= len(channels):
            raise UserError(
                f'prompts: places holds {place}, but this backbone has the places '
                f'0 to {len(channels) - 1}'
            )
    for count in channels:
        if count % config.groups or _width(config, count) % config.groups:
            raise UserError(
                f'prompts: groups {config.groups} must divide the {count} channels of a place '
                f'and the {_width(config, count)} of its depthwise convolution (width)'
            )
