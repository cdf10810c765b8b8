# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameter names of the official implementations → ours, one function per part.

Each takes a state dict with the names of the official code and gives one that
``load_state_dict(strict=True)`` of our part takes. Entries of other parts of an official
checkpoint are left out. Values are the same tensors, renamed only.
"""

from __future__ import annotations

import re

from torch import Tensor

from unidrive_perception.errors import UserError

State = dict[str, Tensor]
Rules = list[tuple[str, str]]


def rename(state: State, rules: Rules, part: str = '') -> State:
    """Entries whose whole name matches a rule (the first that does), under the name it gives.

    ``rules``: (regular expression, replacement with ``\\1``…). ``part``: an expression for the
    beginnings of the part's names; UserError when one of them matches no rule, which means
    another variant of the model than ours.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            match = re.fullmatch(pattern, name)
            if match:
                renamed[match.expand(replacement)] = value
                break
        else:
            if part and re.match(part, name):
                raise UserError(f'{name}: our model has no place for this weight')
    return renamed


def fpn(state: State) -> State:
    """detectron2's FPN (``fpn_lateral2.weight``, with or without ``backbone.``) → :class:`FPN`."""
    found = {}
    for name, value in state.items():
        match = re.fullmatch(r'(?:backbone\.)?fpn_(lateral|output)([2-5])\.(weight|bias)', name)
        if match:
            kind, level, tensor = match.groups()
            found[f'{kind}.{int(level) - 2}.{tensor}'] = value
    return found


def sparse_rcnn(state: State) -> State:
    """PeizeSun/SparseR-CNN (``init_proposal_*``, ``head.head_series.*``) → SparseRCNNHead."""
    stage = r'head\.head_series\.(\d+)\.'
    ours = r'stages.\1.'
    return rename(
        state,
        [
            (r'init_proposal_(boxes|features)\.weight', r'proposal_\1.weight'),
            (stage + r'self_attn\.in_proj_(weight|bias)', ours + r'self_attn.in_proj.\2'),
            (
                stage + r'inst_interact\.dynamic_layer\.(.+)',
                ours + r'dynamic_conv.parameters_layer.\2',
            ),
            (stage + r'inst_interact\.(.+)', ours + r'dynamic_conv.\2'),
            (stage + r'cls_module\.(.+)', ours + r'class_branch.\2'),
            (stage + r'reg_module\.(.+)', ours + r'box_branch.\2'),
            (stage + r'bboxes_delta\.(.+)', ours + r'box_deltas.\2'),
            (stage + r'(.+)', ours + r'\2'),
        ],
        part=r'init_proposal_|head\.',
    )


def maskformer(state: State) -> State:
    """facebookresearch/MaskFormer (``pixel_decoder.*``, ``predictor.*``, with or without
    ``sem_seg_head.``) → MaskFormerHead.
    """
    prefix = r'(?:sem_seg_head\.)?'
    pixel, predictor = prefix + r'pixel_decoder\.', prefix + r'predictor\.'
    layer, ours = predictor + r'transformer\.decoder\.layers\.(\d+)\.', r'decoder.layers.\1.'
    renamed = rename(
        state,
        [
            (pixel + r'adapter_(\d)\.weight', r'pixel_decoder.lateral.\1.0.weight'),
            (pixel + r'adapter_(\d)\.norm\.(.+)', r'pixel_decoder.lateral.\1.1.\2'),
            (pixel + r'layer_(\d)\.weight', r'pixel_decoder.output.\1.0.weight'),
            (pixel + r'layer_(\d)\.norm\.(.+)', r'pixel_decoder.output.\1.1.\2'),
            (pixel + r'(mask_features\..+)', r'pixel_decoder.\1'),
            (layer + r'self_attn\.in_proj_(.+)', ours + r'self_attn.in_proj.\2'),
            (layer + r'multihead_attn\.in_proj_(.+)', ours + r'cross_attn.in_proj.\2'),
            (layer + r'multihead_attn\.(.+)', ours + r'cross_attn.\2'),
            (layer + r'(.+)', ours + r'\2'),
            (predictor + r'transformer\.decoder\.(norm\..+)', r'decoder.\1'),
            (predictor + r'transformer\.encoder\.norm\.(.+)', r'memory_norm.\1'),
            (predictor + r'((?:query_embed|class_embed|mask_embed|input_proj)\..+)', r'\1'),
        ],
        part=prefix + r'(?:pixel_decoder|predictor)\.',
    )
    # The official levels count from 1.
    return {
        re.sub(
            r'^(pixel_decoder\.(?:lateral|output))\.(\d)',
            lambda m: f'{m[1]}.{int(m[2]) - 1}',
            name,
        ): value
        for name, value in renamed.items()
    }


def detectron2_resnet(state: State) -> State:
    """detectron2's ResNet (``res2.0.conv1.norm.weight``, any prefix) → torchvision's names."""
    found = {}
    for name, value in state.items():
        match = re.search(r'(?:^|\.)(stem|res[2-5])\.(.+)$', name)
        if not match:
            continue
        stage, rest = match.groups()
        rest = re.sub(r'conv(\d)\.norm', r'bn\1', rest)
        rest = re.sub(r'shortcut\.norm', 'downsample.1', rest)
        rest = re.sub(r'shortcut\.weight', 'downsample.0.weight', rest)
        found[rest if stage == 'stem' else f'layer{int(stage[3]) - 1}.{rest}'] = value
    return found


def clip_text(state: State) -> State:
    """The text half of a CLIP checkpoint (OpenAI, open_clip; any prefix) → TextEncoder."""
    # Only the text half has an ln_final; what is before it in its name is the prefix.
    last = 'ln_final.weight'
    prefix = next((re.escape(n[: -len(last)]) for n in state if n.endswith(last)), '')
    names = r'token_embedding\.weight|positional_embedding|transformer\..+|ln_final\..+'
    return rename(state, [(rf'{prefix}({names}|text_projection)', r'\1')])


def coop_prompts(state: State, task: str) -> State:
    """KaiyangZhou/CoOp's prompt learner (``ctx``, any prefix) → Prompts, as those of ``task``."""
    return rename(state, [(r'(?:.+\.)?ctx', f'contexts.{task}')])


def denseclip(state: State, task: str = 'semantic') -> State:
    """raoyongming/DenseCLIP (``text_encoder.*``, ``contexts``, ``gamma``, ``context_decoder.*``) →
    PostModelPrompts with learned prompts of one task.
    """
    found = rename(state, [(r'(gamma|context_decoder\..+)', r'\1')])
    found |= {f'text.encoder.{name}': value for name, value in clip_text(state).items()}
    if 'contexts' in state:
        found[f'text.prompts.contexts.{task}'] = state['contexts'].squeeze(0)
    return found


def semantic_fpn(state: State) -> State:
    """detectron2's SemSegFPNHead (``p4.2.norm.weight``, ``predictor.*``, with or without
    ``sem_seg_head.``) → SemanticFPNHead.
    """
    scale = r'(?:sem_seg_head\.)?(p[2-5])\.(\d)\.'
    return rename(
        state,
        [
            (scale + r'norm\.(weight|bias)', r'scales.\1.\2.1.\3'),
            (scale + r'weight', r'scales.\1.\2.0.weight'),
            (r'(?:sem_seg_head\.)?(predictor\.(?:weight|bias))', r'\1'),
        ],
    )


def clip_resnet(state: State) -> State:
    """OpenAI's or open_clip's RN50 (``visual.*``, or its names without that) → ClipResNet with
    its attention pool (``add_pooling``).
    """
    names = r'(?:conv|bn)[1-3]\..+|layer[1-4]\..+|attnpool\..+'
    return rename(state, [(rf'(?:module\.)?(?:visual\.)?({names})', r'\1')])


def faster_rcnn(state: State) -> State:
    """torchvision's Faster R-CNN (``rpn.*``, ``roi_heads.*``, our names too) → FasterRCNNHead."""
    return rename(state, [(r'((?:rpn|roi_heads)\..+)', r'\1')])
