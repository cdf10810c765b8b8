# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Text features of the classes: from learned prompts, from templates or from a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from unidrive_perception.labels import LabelTable
from unidrive_training.models.language.feature_files import read_text_features
from unidrive_training.models.language.prompts import PromptLayout, Prompts, spoken
from unidrive_training.models.language.text_encoder import (
    TextEncoder,
    TextEncoderConfig,
    check_length,
    padded,
    tokenise,
)
from unidrive_training.typed import Typed

SCENE_TEMPLATE = 'there is a {} in the scene.'
"""The hand-crafted prompt of the paper's Table 6."""


class LearnedText(PromptLayout):
    """Prompts learned for each task (Eq. 4)."""

    source: Literal['learned'] = 'learned'
    encoder: TextEncoderConfig = TextEncoderConfig()


class TemplateText(Typed):
    """Hand-crafted prompts: one template or the average of several.

    ``clip`` stands for the 80 templates with which CLIP's authors classify ImageNet; the paper
    follows them without giving its own list.
    """

    source: Literal['template'] = 'template'
    templates: tuple[str, ...] | Literal['clip'] = (SCENE_TEMPLATE,)
    encoder: TextEncoderConfig = TextEncoderConfig()

    @field_validator('templates')
    @classmethod
    def _name_once(cls, templates: tuple[str, ...] | str) -> tuple[str, ...]:
        if templates == 'clip':
            from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

            return tuple(template('{}') for template in OPENAI_IMAGENET_TEMPLATES)
        if not templates or any(template.count('{}') != 1 for template in templates):
            raise ValueError('give templates that have {} once, in the place of the class name')
        return templates


class FileText(Typed):
    """Features computed elsewhere: see :func:`read_text_features` for the formats."""

    source: Literal['file'] = 'file'
    path: str


TextConfig = Annotated[LearnedText | TemplateText | FileText, Field(discriminator='source')]


class TextSource(nn.Module):
    """Text features of the classes of all tasks, (K, embed_dim), in the order of the tables.

    They are computed once and kept until a parameter changes, unless one of them learns.
    """

    embed_dim: int
    features: Tensor | None  # when they are constant

    def __init__(self, embed_dim: int, features: Tensor | None = None) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.register_buffer('features', features)
        self._kept: tuple[Any, Tensor] | None = None  # state of the parameters, features

    def forward(self) -> Tensor:
        """(K, embed_dim), L2-normalised: Eq. 3 and 4."""
        return F.normalize(self.raw(), dim=1)

    def raw(self) -> Tensor:
        """(K, embed_dim) as the encoder gives them."""
        if self.features is not None:
            return self.features
        parameters = list(self.parameters())
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            self._kept = None  # a step follows, and fused optimizers leave no trace in versions
            return self.encode()
        # Versions count the changes in place; addresses tell a copy or another device.
        state = [(p._version, p.data_ptr()) for p in parameters]
        if self._kept is None or self._kept[0] != state:
            self._kept = (state, self._constant())
        return self._kept[1]

    def _constant(self) -> Tensor:
        """Features for any later use: of full precision, whatever mode is on now."""
        device = next(self.parameters()).device.type
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
            return self.encode()

    def encode(self) -> Tensor:
        """Compute :meth:`raw`."""
        raise NotImplementedError

    def fold(self) -> None:
        """Make the features a constant; drop the encoder and the prompts, for good."""
        if self.features is None:
            self.features = self._constant()
            self._modules.clear()
            self._kept = None


class LearnedFeatures(TextSource):
    """From learned prompts. All prompts of all tasks go through the encoder together."""

    def __init__(self, config: LearnedText, tables: dict[str, LabelTable]) -> None:
        super().__init__(config.encoder.embed_dim)
        self.prompts = Prompts(config, config.encoder, tables)
        self.encoder = TextEncoder(config.encoder)

    def encode(self) -> Tensor:
        """(K, embed_dim), with gradients to the contexts."""
        nodes = self.prompts.nodes(self.encoder.token_embedding.weight)
        return self.encoder.encode_tree(nodes, self.prompts.tree)


class TemplateFeatures(TextSource):
    """From templates; several are averaged as CLIP does: normalise, average, normalise."""

    def __init__(self, config: TemplateText, tables: dict[str, LabelTable]) -> None:
        super().__init__(config.encoder.embed_dim)
        names = [spoken(name) for table in tables.values() for name in table.names]
        texts = [template.format(name) for template in config.templates for name in names]
        tokens = [tokenise(text) for text in texts]
        for text, sequence in zip(texts, tokens, strict=True):
            check_length(text, sequence, config.encoder)
        prompts = padded(tokens, max(map(len, tokens))).unflatten(0, (-1, len(names)))
        self.register_buffer('tokens', prompts, persistent=False)  # (templates, K, L)
        self.encoder = TextEncoder(config.encoder)

    def encode(self) -> Tensor:
        """(K, embed_dim): with one template what the encoder gives, else of unit length."""
        features = [self.encoder.encode_tokens(tokens) for tokens in self.tokens]
        if len(features) == 1:
            return features[0]
        mean = torch.stack([F.normalize(f, dim=1) for f in features]).mean(0)
        return F.normalize(mean, dim=1)


def build_text(config: TextConfig, tables: dict[str, LabelTable]) -> TextSource:
    """The text source that a language adapter's ``text`` setting names."""
    if isinstance(config, LearnedText):
        return LearnedFeatures(config, tables)
    if isinstance(config, TemplateText):
        return TemplateFeatures(config, tables)
    names = [name for table in tables.values() for name in table.names]
    features = read_text_features(config.path, names)
    return TextSource(features.shape[1], features)
