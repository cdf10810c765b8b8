# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of pretrained weights, as their authors publish them, into a backbone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unidrive_perception.errors import UserError
from unidrive_training.engine.checkpoint import read_checkpoint
from unidrive_training.models.backbones.base import Backbone
from unidrive_training.models.backbones.deit import resize_positions
from unidrive_training.models.state_files import read_state
from unidrive_training.models.weights import detectron2_resnet


@dataclass(frozen=True)
class Layout:
    """How the names in a checkpoint relate to those of the backbone.

    A backbone's tensor is found under ``prefix`` + its name; names that match ``others`` belong to
    parts that a backbone has no use for.
    """

    prefix: str
    others: str


_PLAIN = Layout('', r'(fc|head|head_dist|norm|fc_norm)\..+')
_OPENMMLAB = Layout(  # the wrapped parts of MoCo and BYOL hold the backbone a second time
    'backbone.',
    r'(neck|head|queue|encoder_[qk]|online_net|target_net|projector|predictor|prototypes'
    r'|img_norm|data_preprocessor)[\w.]*|(backbone\.)?fc\..+',
)
_CLIP_OTHERS = (
    r'(module\.)?(transformer\..+|token_embedding\..+|positional_embedding|ln_final\..+'
    r'|text_projection|logit_scale|input_resolution|context_length|vocab_size'
    r'|(visual\.)?attnpool\..+)'
)
_MOCO_OTHERS = r'(module\.)?(encoder_k\..+|encoder_q\.fc\..+|queue\w*)'
_SWAV_OTHERS = r'(module\.)?(projection_head\..+|prototypes\..+)'
_BYOL_OTHERS = r'(module\.)?(online_network\.(projector|predictor)\..+|target_network\..+|fc\..+)'
_PIXPRO_OTHERS = r'(module\.)?(encoder_k|projector\w*|predictor|value_transform)\..+'
_EXTRACTED = (_OPENMMLAB, _PLAIN)

# Each format: its layouts, the authors' own first.
FORMATS: dict[str, tuple[Layout, ...]] = {
    # ResNet, RegNet and Swin of torchvision; also what is left when a backbone was cut out.
    'torchvision': (_PLAIN,),
    # detectron2's ResNet with torchvision's weights, as official Sparse R-CNN and MaskFormer have
    'detectron2': (_PLAIN,),
    # facebookresearch/deit ({'model': …}) and timm
    'deit': (Layout('', r'(head|head_dist|norm|fc_norm)\..+|dist_token'),),
    # OpenAI's RN50.pt and open_clip
    'clip': (
        Layout('visual.', _CLIP_OTHERS),
        Layout('module.visual.', _CLIP_OTHERS),
        Layout('', _CLIP_OTHERS),
    ),
    # mmselfsup and OpenSelfSup, any method
    'mmselfsup': (_OPENMMLAB,),
    # facebookresearch/moco, v1 and v2 ({'state_dict': …})
    'moco': (
        Layout('module.encoder_q.', _MOCO_OTHERS),
        Layout('encoder_q.', _MOCO_OTHERS),
        *_EXTRACTED,
    ),
    # tonylins/simclr-converter ({'state_dict': …} with torchvision's names)
    'simclr': (_PLAIN, _OPENMMLAB, Layout('encoder.', r'(projection|encoder\.fc)\..+')),
    # facebookresearch/swav (no nesting, or {'state_dict': …})
    'swav': (Layout('module.', _SWAV_OTHERS), Layout('', _SWAV_OTHERS), *_EXTRACTED),
    # DeepMind's converted to PyTorch ({'online_backbone': …}), and Lightning's
    'byol': (
        Layout('module.', _BYOL_OTHERS),
        Layout('online_network.encoder.', _BYOL_OTHERS),
        *_EXTRACTED,
    ),
    # xieenze/DetCo, which is built on OpenSelfSup and MoCo
    'detco': (
        Layout('module.encoder_q.', _MOCO_OTHERS),
        Layout('encoder_q.', _MOCO_OTHERS),
        *_EXTRACTED,
    ),
    # WXinlong/DenseCL ({'state_dict': …} of the backbone alone, or OpenSelfSup's)
    'densecl': _EXTRACTED,
    # zdaxie/PixPro ({'model': …})
    'pixpro': (
        Layout('module.encoder.', _PIXPRO_OTHERS),
        Layout('encoder.', _PIXPRO_OTHERS),
        *_EXTRACTED,
    ),
    # a run folder of `unidrive train`, or a checkpoint in it: the averaged weights
    'unidrive': (Layout('backbone.', r'(?!backbone\.).+|backbone\.prompts\..+'),),
}
_NAMED_ONLY = {'detectron2', 'unidrive'}  # files that are read in another way: not for `auto`


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a checkpoint; names as in the backbone (``matched``,
    ``missing``, ``resized``) and as in the file (``others``, ``unexpected``).
    """

    path: Path
    format: str
    prefix: str
    matched: list[str]
    missing: list[str]  # counters of batch norms that old files lack; nothing else may
    resized: list[str]  # positional embeddings of another grid, among the matched
    others: list[str]  # of parts that the format is known to have beside the backbone
    unexpected: list[str]

    def __str__(self) -> str:
        names = f'{self.prefix}*' if self.prefix else 'plain names'
        lines = [f'{self.path}: format {self.format} ({names})']
        lines.append(f'  matched: {len(self.matched)} tensors of the backbone')
        for label, found in (
            ('missing, harmless', self.missing),
            ('resized', self.resized),
            ('of other parts', self.others),
            ('unexpected', self.unexpected),
        ):
            if found:
                lines.append(f'  {label}: {len(found)} ({_few(found)})')
        return '\n'.join(lines)


def load_backbone(backbone: Backbone, path: str | Path, format: str = 'auto') -> LoadReport:
    """Load the weights in a file into a backbone (in place) and tell what was found.

    ``format``: a key of FORMATS, or ``auto`` for the first that has every tensor of the backbone.
    Raises UserError when the file cannot be read, when a tensor of the backbone is missing or has
    another shape, or when the file's backbone has more layers; the backbone is unchanged then.
    """
    if format != 'auto' and format not in FORMATS:
        raise UserError(f'format {format!r} of {path}: give auto or one of {", ".join(FORMATS)}')
    state = _read(path, format)
    own = {n: v for n, v in backbone.state_dict().items() if not n.startswith('prompts.')}
    name, layout = _best_layout(own, state, format)
    found = {n: state[layout.prefix + n] for n in own if layout.prefix + n in state}
    resized = [n for n, v in found.items() if n == 'pos_embed' and _resizable(v, own[n])]
    for key in resized:
        side = math.isqrt(own[key].shape[1] - 1)
        found[key] = resize_positions(found[key].float(), (side, side))
    missing = [n for n in own if n not in found]
    _check(path, name, layout, own, found, missing, list(state))
    used = {layout.prefix + n for n in found}
    others, unexpected = [], []
    for n in state:
        if n not in used:
            (others if re.fullmatch(layout.others, n) else unexpected).append(n)
    layers = {layout.prefix + n.partition('.')[0] + '.' for n in own if '.' in n}
    deeper = [n for n in unexpected if n.startswith(tuple(layers))]
    if deeper:
        raise UserError(
            f'{path} holds a larger backbone (format {name}): this one has no {_few(deeper)}; '
            'give the file of this backbone'
        )
    backbone.load_state_dict(found, strict=False)
    return LoadReport(
        Path(path), name, layout.prefix, list(found), missing, resized, others, unexpected
    )


def _read(path: str | Path, format: str) -> dict[str, Tensor]:
    """The tensors in a file of a format."""
    if format == 'unidrive':
        state = read_checkpoint(Path(path))
        if 'average' not in state:
            raise UserError(f'{path} is a run of another kind; give one of `unidrive train`')
        return state['average']
    state = read_state(path)
    return detectron2_resnet(state) if format == 'detectron2' else state


def _best_layout(own: dict, state: dict, format: str) -> tuple[str, Layout]:
    """The layout under which most tensors of the backbone are found, then the one that explains
    most of the others; the first of equals.
    """

    def explained(candidate: tuple[str, Layout]) -> tuple[int, int]:
        layout = candidate[1]
        names = {layout.prefix + name for name in own} & set(state)
        return len(names), sum(bool(re.fullmatch(layout.others, n)) for n in set(state) - names)

    names = [n for n in FORMATS if n not in _NAMED_ONLY] if format == 'auto' else [format]
    return max(((n, layout) for n in names for layout in FORMATS[n]), key=explained)


def _resizable(value: Tensor, own: Tensor) -> bool:
    """Whether both are (1, 1 + side², C) positional embeddings, of different sides."""
    if value.dim() != 3:
        return False
    squares = all(math.isqrt(n - 1) ** 2 == n - 1 for n in (value.shape[1], own.shape[1]))
    return squares and value.shape[1] != own.shape[1] and value.shape[2] == own.shape[2]


def _check(
    path: str | Path,
    name: str,
    layout: Layout,
    own: dict[str, Tensor],
    found: dict[str, Tensor],
    missing: list[str],
    names: list[str],
) -> None:
    lacking = [n for n in missing if not n.endswith('num_batches_tracked')]
    if lacking:
        expected = f'{layout.prefix}{lacking[0]}'
        raise UserError(
            f'{path}: read as format {name}, {len(lacking)} of {len(own)} tensors of the backbone '
            f'are not in it, such as {expected}; it has {_few(names)}; give the backbone that it '
            f'was trained for, or its format ({", ".join(FORMATS)})'
        )
    other = [n for n in found if found[n].shape != own[n].shape]
    if other:
        examples = _few([f'{n} {tuple(found[n].shape)} → {tuple(own[n].shape)}' for n in other])
        raise UserError(
            f'{path}: {len(other)} tensors have another shape than the backbone ({examples}); '
            'give the backbone that it was trained for'
        )


def _few(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', …' if len(names) > 3 else '')
