# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Published weights into the parts of a fresh model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from unidrive_perception.errors import UserError
from unidrive_training.config import ModelConfig, Pretrained
from unidrive_training.models import weights
from unidrive_training.models.language.text_encoder import TextEncoder, load_text_encoder
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.models.pretrained import load_backbone
from unidrive_training.models.state_files import read_state
from unidrive_training.models.weight_files import WeightFile, weight_path
from unidrive_training.models.weights import State

_DETECTRON2 = {'detectron2': weights.fpn}
_HEADS = {
    'sparse_rcnn': weights.sparse_rcnn,
    'maskformer': weights.maskformer,
    'semantic_fpn': weights.semantic_fpn,
    'torchvision': weights.faster_rcnn,
}


def load_pretrained(
    model: MultiTaskModel, config: ModelConfig, pretrained: Pretrained
) -> Iterator[str]:
    """Fill the parts that ``pretrained`` names; yields what became of each, for the user.

    Raises UserError where a file or format does not fit its part.
    """
    backbone = config.backbone['name']
    if pretrained.backbone:
        path = weight_path(pretrained.backbone, backbone, 'pretrained.backbone')
        yield str(load_backbone(model.backbone, path, pretrained.backbone.format))
    if pretrained.text_encoder:
        encoders = [part for part in model.modules() if isinstance(part, TextEncoder)]
        if not encoders or pretrained.text_encoder.format != 'clip':
            raise UserError(
                'pretrained.text_encoder is for a model with learned or template texts, '
                'in the format clip'
            )
        path = weight_path(pretrained.text_encoder, 'clip_rn50', 'pretrained.text_encoder')
        yield load_text_encoder(encoders[0], path)
    if pretrained.fpn:
        yield _load_part(model.fpn, pretrained.fpn, _DETECTRON2, 'pretrained.fpn')
    for task, file in pretrained.heads.items():
        if task not in model.heads:
            raise UserError(f'pretrained.heads.{task}: the model has no such head')
        yield _load_part(model.heads[task], file, _HEADS, f'pretrained.heads.{task}')


def _load_part(
    part: nn.Module, file: WeightFile, formats: dict[str, Callable[[State], State]], what: str
) -> str:
    """Every tensor of the part whose shape fits; a layer for other classes stays fresh."""
    if file.format not in formats:
        raise UserError(f'{what}: unknown format {file.format!r}; known: {", ".join(formats)}')
    path = weight_path(file, '', what)
    state = formats[file.format](read_state(path))
    own = part.state_dict()
    missing = [n for n in own if n not in state and n != 'denoising_feature']
    if missing:
        raise UserError(
            f'{path} lacks {missing[0]} of {what} ({len(missing)} of {len(own)} weights); '
            f'is it in format {file.format}, and are stages and layers those of the config?'
        )
    # Only a layer for other classes may differ, in its first side.
    fresh = sorted(n for n in state if n in own and state[n].shape != own[n].shape)
    for name in fresh:
        if state[name].shape[1:] != own[name].shape[1:]:
            raise UserError(
                f'{path}: {name} is {tuple(state[name].shape)}, {what} of the config has '
                f'{tuple(own[name].shape)}'
            )
    fitting = {n: w for n, w in state.items() if n in own and n not in fresh}
    part.load_state_dict(fitting, strict=False)
    return f'{path}: {what}, {len(fitting)} tensors; from scratch: {", ".join(fresh) or "none"}'
