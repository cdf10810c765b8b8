# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What learns in a classifier, counted, beside the numbers of the Pro-tuning paper."""

from __future__ import annotations

from torch import nn

from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.models.prompt_blocks import PromptConfig

_PLANS = ('scratch', 'head', 'partial-1', 'partial-2', 'finetune', 'prompt-blocks')
_FIGURES = {  # trained parameters in millions: (backbone, classes) → one per plan
    # Table 2
    ('resnet50', 120): (23.75, 0.25, 4.71, 9.17, 23.75, 3.86),
    ('resnet101', 120): (42.75, 0.25, 4.71, 9.17, 42.75, 3.86),
    ('regnet_x_32gf', 120): (105.59, 0.30, 3.69, 10.05, 105.59, 5.91),
    # Table 3
    ('deit_s', 120): (21.71, 0.05, 1.23, 1.82, 21.71, 0.85),
    ('swin_s', 120): (48.93, 0.09, 2.45, 4.82, 48.93, 1.54),
    ('deit_b', 120): (85.89, 0.09, 4.82, 7.18, 85.89, 3.17),
    ('swin_b', 120): (86.87, 0.12, 4.32, 8.52, 86.87, 2.67),
    # Table 4
    ('resnet50', 10): (23.532, 0.021, None, None, 23.532, 3.634),
    ('resnet50', 100): (23.714, 0.210, None, None, 23.714, 3.823),
    ('deit_s', 10): (21.670, 0.004, None, None, 21.670, 0.773),
    ('deit_s', 100): (21.704, 0.040, None, None, 21.704, 0.808),
    ('swin_s', 10): (48.845, 0.008, None, None, 48.845, 1.458),
    ('swin_s', 100): (48.914, 0.080, None, None, 48.914, 1.527),
    # Table 5
    ('deit_s', 200): (21.743, 0.081, None, None, 21.743, 0.846),
    ('swin_s', 200): (48.991, 0.154, None, None, 48.991, 1.604),
    ('deit_b', 200): (85.952, 0.154, None, None, 85.952, 3.236),
    ('swin_b', 200): (86.948, 0.205, None, None, 86.948, 2.749),
}


def published_millions(
    backbone: str, classes: int, plan: str, prompts: PromptConfig | None
) -> float | None:
    """The paper's number of trained parameters in millions, where it has one for this.

    ``prompts`` count where they are the paper's: one per stage, of kernel size 5, trained alone.
    """
    one_set = prompts is None or (
        plan == 'prompt-blocks'
        and (prompts.blocks, prompts.places, prompts.kernel) == (1, None, 5)
    )
    figures = _FIGURES.get((backbone, classes))
    if figures is None or plan not in _PLANS or not one_set:
        return None
    return figures[_PLANS.index(plan)]


def parameter_table(model: ImageClassifier, published: float | None) -> str:
    """Parameters of each part, and how many of them learn."""
    prompts = model.backbone.prompts or nn.Module()
    inside = _counts(prompts)
    whole = _counts(model.backbone)
    rows = {
        'backbone': (whole[0] - inside[0], whole[1] - inside[1]),
        'prompt blocks': inside,
        'head': _counts(model.head),
    }
    rows['together'] = tuple(map(sum, zip(*rows.values(), strict=True)))
    lines = [f'{"":14}{"parameters":>13}{"trained":>13}']
    lines += [f'{name:14}{count:13,}{trained:13,}' for name, (count, trained) in rows.items()]
    if published is not None:
        lines.append(f'trained: {rows["together"][1] / 1e6:.3f} M; the paper: {published:g} M')
    return '\n'.join(lines)


def _counts(module: nn.Module) -> tuple[int, int]:
    """All parameters, and those that learn."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters), sum(
        p.numel() for p in parameters if p.requires_grad
    )
