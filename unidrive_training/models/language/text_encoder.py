# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""CLIP's text encoder (OpenAI's RN50 by default), frozen: prompts in, text features out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unidrive_perception.errors import UserError
from unidrive_training.models import weights
from unidrive_training.models.language.prefix_tree import PrefixTree
from unidrive_training.models.state_files import read_state
from unidrive_training.typed import Typed

# open_clip takes a second to import and every command imports this file: it comes where used.
if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer


class TextEncoderConfig(Typed):
    """Sizes of the text transformer; the defaults are those of CLIP RN50."""

    width: int = 512
    heads: int = 8
    layers: int = 12
    context_length: int = 77
    embed_dim: int = 1024


@cache
def tokenizer() -> SimpleTokenizer:
    """CLIP's byte-pair encoding (49408 tokens)."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def tokenise(text: str) -> list[int]:
    """[SOT], the tokens of ``text``, [EOT]."""
    bpe = tokenizer()
    return [bpe.sot_token_id, *bpe.encode(text), bpe.eot_token_id]


def check_length(text: str, tokens: list[int], config: TextEncoderConfig) -> None:
    """ValueError when ``text`` is longer than the encoder reads."""
    if len(tokens) > config.context_length:
        raise ValueError(
            f'prompt {text!r} has {len(tokens)} tokens and the text encoder reads '
            f'{config.context_length}; use shorter class names, templates or contexts'
        )


def padded(sequences: list[list[int]], length: int, padding: int = 0) -> Tensor:
    """Sequences of different lengths → (K, length) int64."""
    return torch.tensor([s + [padding] * (length - len(s)) for s in sequences])


class TextEncoder(nn.Module):
    """open_clip's text transformer, taking prompt embeddings.

    It has the parameter names of the text half of a CLIP checkpoint. Its weights get no gradients
    and it stays in evaluation mode ("we freeze the weights of the CLIP text encoder throughout").
    """

    always_frozen = True  # whatever the tuning plan says

    def __init__(self, config: TextEncoderConfig) -> None:
        from open_clip.transformer import QuickGELU, TextTransformer

        super().__init__()
        tower = TextTransformer(
            context_length=config.context_length,
            vocab_size=tokenizer().vocab_size,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=config.embed_dim,
            act_layer=QuickGELU,
        )
        # Not its buffer of the causal mask: the moving average of -inf would be NaN.
        self.token_embedding = tower.token_embedding
        self.positional_embedding = tower.positional_embedding
        self.transformer = tower.transformer
        self.ln_final = tower.ln_final
        self.text_projection = tower.text_projection
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> TextEncoder:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, embeddings: Tensor, ends: Tensor) -> Tensor:
        """Prompts (K, L, width), before positions are added, and the index of [EOT] in each (K,)
        → (K, embed_dim).
        """
        length = embeddings.shape[1]
        visible = torch.ones(length, length, dtype=torch.bool, device=embeddings.device).tril()
        x = embeddings + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=_additive(visible))
        return self._project(x[torch.arange(len(x), device=x.device), ends])

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Token ids (K, L) of the tokenizer → (K, embed_dim): CLIP's ``encode_text``."""
        ends = tokens.argmax(1)  # [EOT] has the largest id
        tokens = tokens[:, : int(ends.max()) + 1]  # causal: nothing after [EOT] is seen
        return self(self.token_embedding(tokens), ends)

    def encode_tree(self, embeddings: Tensor, tree: PrefixTree) -> Tensor:
        """Prompts packed as a tree, embeddings (N, width) of its nodes → (K, embed_dim)."""
        x = embeddings + self.positional_embedding[tree.depths]
        x = self.transformer(x[None], attn_mask=_additive(tree.visible))[0]
        return self._project(x[tree.ends])

    def _project(self, x: Tensor) -> Tensor:
        return self.ln_final(x) @ self.text_projection


def _additive(visible: Tensor) -> Tensor:
    """Attention mask: 0 where a token (row) sees another (column), -inf elsewhere."""
    return torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, float('-inf'))


def load_text_encoder(encoder: TextEncoder, path: str | Path) -> str:
    """Fill the encoder from a CLIP checkpoint (OpenAI's archive or open_clip's file); tell how.

    Raises UserError, and leaves the encoder as it is, when the file cannot be read or its text
    half is not of this encoder's sizes.
    """
    content = read_state(path)
    state = weights.clip_text(content)
    own = encoder.state_dict()
    missing = [name for name in own if name not in state]
    if missing:
        raise UserError(
            f'{path} lacks {len(missing)} tensors of the text encoder, such as {missing[0]}; '
            'give the checkpoint of a whole CLIP model with as many text layers'
        )
    misfits = [name for name in state if name not in own or state[name].shape != own[name].shape]
    if misfits:
        raise UserError(
            f'{path}: {misfits[0]} {tuple(state[misfits[0]].shape)} does not fit the text '
            "encoder; set the encoder's sizes to those of the checkpoint"
        )
    encoder.load_state_dict(state)
    others = len(content) - len(state)
    return f'{path}: {len(state)} tensors of the text encoder, {others} of other parts'
