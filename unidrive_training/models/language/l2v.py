# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""LV-Adapter: language-aware contexts for P5 (section 4.2, Eq. 5 of the UniDrive paper)."""

from __future__ import annotations

from torch import Tensor, nn

from unidrive_perception.labels import LabelTable
from unidrive_training.models.language.text_sources import LearnedText, TextConfig, build_text
from unidrive_training.models.registry import LANGUAGE
from unidrive_training.models.transformer import DecoderLayer
from unidrive_training.typed import Typed


@LANGUAGE.register('l2v')
class LanguageToVision(nn.Module):
    """P5 ← TransDecoder(q = P5, k = v = text features after one linear layer).

    The tokens of P5 (H5·W5 of them) attend to each other, then to the class texts. What the paper
    leaves open is decided as follows. The decoder layer is MaskFormer's (post-norm, ReLU), with a
    LayerNorm after the last. The texts of all tasks are the keys of one pass, since Eq. 5 has one
    set of texts and all heads share the one P5 that comes out. No positions are added.
    """

    needs_tokens = False

    class Config(Typed):
        """Options; the defaults are the paper's and MaskFormer's."""

        text: TextConfig = LearnedText()
        layers: int = 3
        heads: int = 8
        feedforward: int = 2048
        dropout: float = 0.1

    def __init__(self, config: Config, channels: int, tables: dict[str, LabelTable]) -> None:
        super().__init__()
        self.text = build_text(config.text, tables)
        self.project = nn.Linear(self.text.embed_dim, channels)
        self.layers = nn.ModuleList(
            DecoderLayer(channels, config.heads, config.feedforward, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(channels)
        for parameter in [*self.project.parameters(), *self.layers.parameters()]:
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, pyramid: list[Tensor], c5_tokens: Tensor | None = None) -> list[Tensor]:
        """[P2, …, P5 (B, C, h, w)] → the same with another P5."""
        *finer, p5 = pyramid
        text = self.project(self.text())[None]  # (1, K, C)
        x = p5.flatten(2).transpose(1, 2)  # (B, h·w, C)
        for layer in self.layers:
            x = layer(x, text, text, None)
        return [*finer, self.norm(x).transpose(1, 2).unflatten(2, p5.shape[2:])]

    def fold(self) -> None:
        """Make the text features constants, without encoder and prompts."""
        self.text.fold()
