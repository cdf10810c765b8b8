# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""DenseCLIP's post-model prompting: the "V2L" row of Table 4 of the UniDrive paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unidrive_perception.labels import LabelTable
from unidrive_training.models.language.class_maps import ReduceMaps, cosine_maps
from unidrive_training.models.language.context_decoder import ContextDecoder, ContextDecoderConfig
from unidrive_training.models.language.text_sources import LearnedText, TextConfig, build_text
from unidrive_training.models.registry import LANGUAGE
from unidrive_training.typed import Typed


class PostPromptingConfig(Typed):
    """Options.

    ``text``: DenseCLIP's own prompts are ``layout: denseclip`` with 8 contexts.
    ``temperature``: what score maps are divided by. DenseCLIP's segmentation models use the plain
    cosines (1, the default: two of our three tasks are segmentation), its detectors cosines/0.07.
    """

    text: TextConfig = LearnedText()
    context_decoder: ContextDecoderConfig = ContextDecoderConfig()
    temperature: float = 1.0


class PostModelPrompts(nn.Module):
    """Class texts changed by what the image shows, and where the image shows them.

    text' = text + γ · ContextDecoder(text, [global; dense]), score = cos(dense, text') / τ.
    """

    def __init__(self, config: PostPromptingConfig, tables: dict[str, LabelTable]) -> None:
        super().__init__()
        self.text = build_text(config.text, tables)
        self.context_decoder = ContextDecoder(config.context_decoder, self.text.embed_dim)
        self.gamma = nn.Parameter(torch.full((self.text.embed_dim,), 1e-4))
        self.temperature = config.temperature

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + N, embed_dim) of CLIP's attention pool, the global one first →
        text' (B, K, embed_dim), score maps (B, K, N).
        """
        text = self.text.raw().expand(tokens.shape[0], -1, -1)
        text = text + self.gamma * self.context_decoder(text, tokens)
        return text, cosine_maps(tokens[:, 1:], text) / self.temperature


@LANGUAGE.register('post_prompting')
class PostPrompting(nn.Module):
    """DenseCLIP's score maps beside P5, reduced to P5's channels by a 1×1 convolution.

    The maps compare texts with the dense tokens of CLIP's attention pool, as in DenseCLIP, which
    live in one space with them; DenseCLIP puts the maps beside C5, this paper beside P5.
    """

    needs_tokens = True

    Config = PostPromptingConfig

    def __init__(
        self, config: PostPromptingConfig, channels: int, tables: dict[str, LabelTable]
    ) -> None:
        super().__init__()
        self.prompting = PostModelPrompts(config, tables)
        self.reduce = ReduceMaps(channels, sum(map(len, tables.values())))

    def forward(self, pyramid: list[Tensor], c5_tokens: Tensor) -> list[Tensor]:
        """[P2, …, P5 (B, C, h, w)], tokens (B, 1 + h·w, embed_dim) → the same with another P5."""
        *finer, p5 = pyramid
        _, maps = self.prompting(c5_tokens)
        return [*finer, self.reduce(p5, maps)]

    def fold(self) -> None:
        """Make the text features constants, without encoder and prompts."""
        self.prompting.text.fold()
