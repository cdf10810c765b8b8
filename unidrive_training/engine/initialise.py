# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Published weights into the parts of a fresh model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from unidrive_perception.errors import UserError
from unidrive_training.config import Pretrained
from unidrive_training.models import weights
from unidrive_training.models.language.text_encoder import TextEncoder, load_text_encoder
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.pretrained import load_backbone, read_state
from unidrive_training.models.weights import State

_HEADS = {
    'sparse_rcnn': weights.sparse_rcnn,
    'maskformer': weights.maskformer,
    'semantic_fpn': weights.semantic_fpn,
}


def load_pretrained(model: MultiTaskModel, pretrained: Pretrained) -> Iterator[str]:
    """Fill the parts that ``pretrained`` names; yields what became of each, for the user.

    Raises UserError where a file or format does not fit its part.
    """
    if pretrained.backbone:
        file = pretrained.backbone
        yield str(load_backbone(model.backbone, file.file, file.format))
    if pretrained.text_encoder:
        encoders = [part for part in model.modules() if isinstance(part, TextEncoder)]
        if not encoders:
            raise UserError('pretrained.text_encoder: the model has no text encoder')
        load_text_encoder(encoders[0], pretrained.text_encoder)
        yield f'{pretrained.text_encoder}: text encoder'
    if pretrained.fpn:
        state = weights.fpn(read_state(pretrained.fpn))
        yield _load(model.fpn, state, pretrained.fpn, 'FPN')
    for task, file in pretrained.heads.items():
        if task not in model.heads:
            raise UserError(f'pretrained.heads.{task}: the model has no such head')
        if file.format not in _HEADS:
            raise UserError(
                f'pretrained.heads.{task}: unknown format {file.format!r}; '
                f'known formats: {", ".join(_HEADS)}'
            )
        state = _HEADS[file.format](read_state(file.file))
        yield _load(model.heads[task], state, file.file, f'{task} head')


def _load(part: nn.Module, state: State, path: Path, what: str) -> str:
    """Every tensor of the part whose shape fits; a class layer of other classes stays fresh."""
    own = part.state_dict()
    fitting = {n: w for n, w in state.items() if n in own and own[n].shape == w.shape}
    if not fitting:
        raise UserError(f'{path} holds nothing for the {what}; is it of the right format?')
    part.load_state_dict(fitting, strict=False)
    fresh = sorted(own.keys() - fitting.keys())
    return f'{path}: {what}, {len(fitting)} tensors; from scratch: {", ".join(fresh) or "none"}'
