# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters and operations of every part and config, beside published numbers.

``python3 benchmarks/model_sizes.py`` prints the tables of ``docs/models.md`` (two minutes: each
config's model runs once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn
from torchvision.models import get_model_weights

from unidrive_training.classification.published import published_millions
from unidrive_training.config import load_config, with_base
from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.models.language.context_decoder import ContextDecoder, ContextDecoderConfig
from unidrive_training.models.language.text_encoder import TextEncoder, TextEncoderConfig
from unidrive_training.models.maskformer import MaskFormerHead
from unidrive_training.models.prompt_blocks import PromptBlocks, PromptConfig
from unidrive_training.models.registry import BACKBONES
from unidrive_training.models.sparse_rcnn import SparseRCNNHead
from unidrive_training.models.summary import operations, operations_of, parts_of

CONFIGS = Path(__file__).resolve().parents[1] / 'config' / 'training'
INPUT_SIZE = (384, 640)
C2_TO_C5 = [256, 512, 1024, 2048]
TORCHVISION = ('resnet18', 'resnet50', 'resnet101', 'regnet_x_32gf', 'swin_s', 'swin_b')
DEIT = {'deit_s': (22, 4.6), 'deit_b': (86, 17.5)}  # parameters, operations: Swin's Table 1
# Config → parameters of the published model of the same task (benchmarks/model_speed.py).
_MASKFORMER = 'MaskFormer, Hugging Face: 41.27 M'
PUBLISHED = {
    'teacher_detection': 'Sparse R-CNN, PeizeSun: 106.18 M',
    'teacher_semantic': _MASKFORMER,
    'teacher_drivable': _MASKFORMER,
}


def clip_resnet() -> nn.Module:
    """CLIP's image encoder with its attention pool."""
    backbone = BACKBONES.build({'name': 'clip_rn50'})
    backbone.add_pooling()
    return backbone


def maskformer(channels: int | list[int], classes: int) -> nn.Module:
    """The official head."""
    return MaskFormerHead(MaskFormerHead.Config(), channels, classes)


# What → how to build it, the number of parameters of the official implementation (counted there).
PARTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    'Sparse R-CNN head, 300 proposals, 6 stages, 10 classes': (
        lambda: SparseRCNNHead(SparseRCNNHead.Config(), 256, 10),
        79_382_532,
    ),
    'MaskFormer head on P2..P5, 19 classes': (lambda: maskformer(256, 19), 12_850_708),
    'MaskFormer head on P2..P5, 3 classes': (lambda: maskformer(256, 3), 12_846_596),
    'MaskFormer head on C2..C5, 19 classes': (lambda: maskformer(C2_TO_C5, 19), 17_766_164),
    'CLIP RN50, image encoder': (clip_resnet, 38_316_896),
    'CLIP RN50, text encoder without logit_scale': (
        lambda: TextEncoder(TextEncoderConfig()),
        63_690_240,
    ),
    'DenseCLIP, context decoder': (
        lambda: ContextDecoder(ContextDecoderConfig(), 1024),
        3_948_800,
    ),
}


def part_rows() -> list[str]:
    """Parameters of the parts, exactly."""
    rows = []
    for name, (build, official) in PARTS.items():
        with torch.device('meta'):
            ours = _count(build())
        rows.append(f'| {name} | {ours:,} | {official:,} |')
    return rows


def prompt_rows() -> list[str]:
    """Pro-tuning: trained parameters in millions, ours and the paper's."""
    rows = []
    with torch.device('meta'):
        set_of_blocks = _count(PromptBlocks(PromptConfig(), C2_TO_C5)) / 1e6
    rows.append(f'| resnet50 | one set of blocks, no head | {set_of_blocks:.3f} | 3.61 |')
    for backbone in (*TORCHVISION[1:], *DEIT):
        for plan in ('head', 'partial-1', 'partial-2', 'prompt-blocks', 'finetune'):
            prompts = prompts_of(backbone) if plan == 'prompt-blocks' else None
            with torch.device('meta'):
                model = ImageClassifier({'name': backbone}, prompts, classes=120)
            model.apply_plan(plan)
            ours = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
            theirs = published_millions(backbone, 120, plan, prompts)
            rows.append(f'| {backbone} | {plan} | {ours:.2f} | {theirs:.2f} |')
    return rows


def prompts_of(backbone: str) -> PromptConfig:
    """The options nearest to the paper's counts."""
    if backbone in DEIT:
        return PromptConfig(groups=1, width=0.5)
    return PromptConfig(groups=1, width=0.875) if 'swin' in backbone else PromptConfig()


def classifier_rows(names: Iterable[str] = (*TORCHVISION, *DEIT)) -> list[str]:
    """Backbones with a head for ImageNet at 224×224, beside what their authors publish."""
    rows = []
    for name in names:
        model = ImageClassifier({'name': name}, None, classes=1000).eval()
        giga = operations(model, torch.zeros(1, 3, 224, 224, dtype=torch.uint8)) / 1e9
        if name in DEIT:
            millions, published = DEIT[name]
        else:
            facts = get_model_weights(name).IMAGENET1K_V1.meta
            millions, published = facts['num_params'] / 1e6, facts['_ops']
        rows.append(
            f'| {name} | {_count(model) / 1e6:.2f} | {millions:.2f} | {giga:.1f} '
            f'| {published:.1f} |'
        )
    return rows


def config_row(path: Path) -> str:
    """Millions of parameters of a config, all and learning per phase, without its operations."""
    config = load_config(path)
    total = parts_of(config)[-1]
    learning = ', '.join(
        f'{phase.tuning} {count / 1e6:.2f}'
        for phase, count in zip(config.phases, total.learning, strict=True)
    )
    return f'| {path.stem} | {total.parameters / 1e6:.2f} | {learning} |'


def training_configs() -> list[Path]:
    """Those of one model; the run files beside them have a student."""
    return [path for path in sorted(CONFIGS.glob('*.yaml')) if 'student' not in with_base(path)]


def full_config_row(path: Path) -> str:
    """:func:`config_row` with the operations of one image, and the published model's size."""
    giga = operations_of(load_config(path), INPUT_SIZE) / 1e9
    return f'{config_row(path)} {giga:.1f} | {PUBLISHED.get(path.stem, "–")} |'


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> None:
    """Print the tables."""
    height, width = INPUT_SIZE
    print('| part | parameters | official |\n| --- | --- | --- |')
    print('\n'.join(part_rows()), end='\n\n')
    print('| ImageNet classifier | M parameters | published | G operations | published |')
    print('| --- | --- | --- | --- | --- |')
    print('\n'.join(classifier_rows()), end='\n\n')
    print('| backbone | plan | M trained, 120 classes | the paper |\n| --- | --- | --- | --- |')
    print('\n'.join(prompt_rows()), end='\n\n')
    print(
        f'| config | M parameters | M learning in each phase | G operations, {width}×{height} '
        '| published |'
    )
    print('| --- | --- | --- | --- | --- |')
    for path in training_configs():
        print(full_config_row(path), flush=True)


if __name__ == '__main__':
    main()
