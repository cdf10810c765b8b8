# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Class maps without alignment: the "Prompt" row of Table 4 of the UniDrive paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_perception.labels import LabelTable
from unidrive_training.models.language.text_sources import LearnedText, TextConfig, build_text
from unidrive_training.models.registry import LANGUAGE
from unidrive_training.typed import Typed


def cosine_maps(tokens: Tensor, text: Tensor) -> Tensor:
    """Tokens (B, N, D) of places, text (B or 1, K, D) → their cosines (B, K, N)."""
    return F.normalize(text, dim=2) @ F.normalize(tokens, dim=2).transpose(1, 2)


class ReduceMaps(nn.Conv2d):
    """1×1 convolution of P5 and the class maps beside it, back to P5's channels.

    Its start is not given in the papers; here it is the start of the pyramid's convolutions.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels + classes, channels, 1)
        nn.init.kaiming_uniform_(self.weight, a=1)
        nn.init.zeros_(self.bias)

    def forward(self, p5: Tensor, maps: Tensor) -> Tensor:
        """P5 (B, C, h, w), maps (B, K, h·w) → (B, C, h, w)."""
        return super().forward(torch.cat([p5, maps.unflatten(2, p5.shape[2:])], 1))


@LANGUAGE.register('class_maps')
class ClassMaps(nn.Module):
    """The cosine of each class text and each place of P5 is one more channel of P5.

    Text features come to P5's channels by one linear layer, as in the LV-Adapter.
    """

    needs_tokens = False

    class Config(Typed):
        """Options."""

        text: TextConfig = LearnedText()

    def __init__(self, config: Config, channels: int, tables: dict[str, LabelTable]) -> None:
        super().__init__()
        self.text = build_text(config.text, tables)
        self.project = nn.Linear(self.text.embed_dim, channels)
        self.reduce = ReduceMaps(channels, sum(map(len, tables.values())))

    def forward(self, pyramid: list[Tensor], c5_tokens: Tensor | None = None) -> list[Tensor]:
        """[P2, …, P5 (B, C, h, w)] → the same with another P5."""
        *finer, p5 = pyramid
        text = self.project(self.text())[None]  # (1, K, C)
        maps = cosine_maps(p5.flatten(2).transpose(1, 2), text)
        return [*finer, self.reduce(p5, maps)]

    def fold(self) -> None:
        """Make the text features constants, without encoder and prompts."""
        self.text.fold()
