# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Learned prompts: context vectors of each task around the tokens of its class names (CoOp)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unidrive_perception.labels import LabelTable
from unidrive_training.models.language.prefix_tree import PrefixTree
from unidrive_training.models.language.text_encoder import (
    TextEncoderConfig,
    check_length,
    padded,
    tokenise,
    tokenizer,
)
from unidrive_training.typed import Typed


class PromptLayout(Typed):
    """What a prompt looks like.

    ``coop``: [SOT] contexts, name, period, [EOT]; contexts start from N(0, 0.02).
    ``denseclip``: without the period; contexts start from a normal of deviation 1 cut at ±2.
    """

    layout: Literal['coop', 'denseclip'] = 'coop'
    contexts: int = Field(16, ge=1)
    position: Literal['end', 'middle', 'front'] = 'end'  # of the class name
    class_specific: bool = False  # contexts of each class, instead of each task


def spoken(name: str) -> str:
    """A class name as it stands in a prompt."""
    return name.replace('_', ' ')


class Prompts(nn.Module):
    """Eq. 4's [v^t, n_i]: prompt embeddings of the classes of all tasks, in the order of tables.

    ``contexts[task]``: (contexts, width), or (classes, contexts, width) when class-specific.
    ``sequences``: per class the rows of :meth:`rows` that make its prompt, [SOT] … [EOT].
    """

    used_tokens: Tensor

    def __init__(
        self, config: PromptLayout, encoder: TextEncoderConfig, tables: dict[str, LabelTable]
    ) -> None:
        super().__init__()
        self.contexts = nn.ParameterDict()
        symbols = []  # per class: token ids, and beyond them the contexts of all tasks, counted on
        first = tokenizer().vocab_size
        for task, table in tables.items():
            sets = len(table) if config.class_specific else 1
            self.contexts[task] = _new_contexts(config, sets, encoder.width)
            for index, name in enumerate(table.names):
                start = first + (index % sets) * config.contexts
                own = list(range(start, start + config.contexts))
                symbols.append(_arrange(spoken(name), own, config))
                check_length(spoken(name), symbols[-1], encoder)
            first += sets * config.contexts

        vocabulary = tokenizer().vocab_size
        # Token 0 pads.
        used = sorted({0} | {s for prompt in symbols for s in prompt if s < vocabulary})
        row_of = {token: row for row, token in enumerate(used)}
        self.sequences = [
            [row_of[s] if s < vocabulary else len(used) + s - vocabulary for s in prompt]
            for prompt in symbols
        ]
        self.tree = PrefixTree(self.sequences)
        self.register_buffer('used_tokens', torch.tensor(used), persistent=False)

    def rows(self, token_embedding: Tensor) -> Tensor:
        """(R, width): the embeddings of the tokens that occur, then the contexts of every task.

        ``token_embedding``: (49408, width), the table of the text encoder.
        """
        contexts = [context.flatten(0, -2) for context in self.contexts.values()]
        return torch.cat([token_embedding[self.used_tokens], *contexts])

    def nodes(self, token_embedding: Tensor) -> Tensor:
        """(N, width): the embeddings of the nodes of ``tree``."""
        return self.rows(token_embedding)[self.tree.symbols]

    def embeddings(self, token_embedding: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(K, length, width) prompts padded with token 0, as CoOp's prompt learner gives them, and
        the index of [EOT] in each (K,).
        """
        rows = padded(self.sequences, length).to(token_embedding.device)
        ends = torch.tensor([len(s) - 1 for s in self.sequences], device=rows.device)
        return self.rows(token_embedding)[rows], ends


def _new_contexts(config: PromptLayout, sets: int, width: int) -> nn.Parameter:
    shape = (sets, config.contexts, width) if config.class_specific else (config.contexts, width)
    contexts = nn.Parameter(torch.empty(shape))
    if config.layout == 'coop':
        nn.init.normal_(contexts, std=0.02)
    else:
        nn.init.trunc_normal_(contexts)
    return contexts


def _arrange(name: str, contexts: list[int], config: PromptLayout) -> list[int]:
    """Token ids and contexts of one prompt.

    The rest after the name is [.][EOT] or [EOT]; a half of the contexts is before a name in the
    middle.
    """
    start, *text = tokenise(f'{name}.' if config.layout == 'coop' else name)
    named = len(tokenizer().encode(name))
    before = {'end': len(contexts), 'middle': len(contexts) // 2, 'front': 0}[config.position]
    return [start, *contexts[:before], *text[:named], *contexts[before:], *text[named:]]
