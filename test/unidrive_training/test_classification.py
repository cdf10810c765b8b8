# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Image classification: what learns under each plan, and how much that is."""

import pytest
import torch
import torch.nn.functional as F
from small_classifier import SHIPPED
from torch import nn

from unidrive_training.classification import published
from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.classification.published import parameter_table, published_millions
from unidrive_training.config import load_config
from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.models.prompt_blocks import PromptConfig

SMALL = {  # options that make a backbone tiny
    'resnet18': {'width': 8},
    'resnet50': {'width': 8},
    'deit_s': {'channels': 24, 'heads': 2, 'blocks': 4, 'image_size': 64},
    'swin_s': {'channels': 16, 'heads': [1, 1, 2, 2], 'depths': [1, 1, 2, 1], 'window': 4},
}
PROMPTS = {  # those of the shipped configs
    'resnet': {},
    'regnet': {},
    'deit': {'groups': 1, 'width': 0.5},
    'swin': {'groups': 1, 'width': 0.875},
}


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize('tuning', ['prompt-blocks', 'head', 'partial-1', 'partial-2', 'finetune'])
def test_a_step_of_a_shipped_config_reaches_what_learns_and_nothing_else(path, tuning):
    settings = [f'tuning={tuning}', 'pretrained=null', 'data.image_size=64']
    if tuning != 'prompt-blocks':
        settings.append('prompts=null')
    config = load_config(path, settings, ClassificationConfig)
    config.check()
    torch.manual_seed(0)
    small = config.backbone | SMALL[config.backbone['name']]
    model = ImageClassifier(small, config.prompts, 5)
    model.apply_plan(config.tuning)
    model.train()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    F.cross_entropy(model(images), torch.tensor([1, 4])).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    parts = {
        'prompt-blocks': ('head.', 'backbone.prompts.'),
        'head': ('head.',),
        'finetune': ('head.', 'backbone.'),
    }
    if tuning in parts:
        names = [name for name, _ in model.named_parameters()]
        assert reached == {name for name in names if name.startswith(parts[tuning])}
    else:
        layers = model.backbone.last_layers(int(tuning[-1]))
        last = {id(p) for layer in layers for p in layer.parameters()}
        assert last and last < {id(p) for p in model.backbone.parameters()}
        wanted = last | {id(p) for p in model.head.parameters()}
        assert {id(p) for p in model.parameters() if p.requires_grad} == wanted


@pytest.mark.parametrize('backbone', sorted({name for name, _ in published._FIGURES}))
def test_what_learns_counts_as_much_as_published(backbone):
    prompts = PromptConfig(**PROMPTS[backbone.partition('_')[0].rstrip('x0123456789')])
    transformer = backbone.startswith(('deit', 'swin'))
    with torch.device('meta'):
        model = ImageClassifier({'name': backbone}, prompts, 1)
    blocks = model.backbone.prompts
    for (name, classes), figures in published._FIGURES.items():
        for plan, millions in zip(published._PLANS, figures, strict=True):
            if name != backbone or millions is None:
                continue
            model.head = nn.Linear(model.backbone.feature_channels, classes, device='meta')
            prompted = plan == 'prompt-blocks'
            model.backbone.prompts = blocks if prompted else None
            model.apply_plan(plan)
            count = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
            # The paper's heads are off by up to 0.005 M: ten times the rounded one of ten classes.
            nearness = 0.035 if prompted and transformer else 0.002
            assert count == pytest.approx(millions, rel=nearness, abs=0.0055), (classes, plan)
            assert published_millions(name, classes, plan, prompts if prompted else None)


def test_the_table_shows_the_paper_beside_our_count():
    with torch.device('meta'):
        model = ImageClassifier({'name': 'resnet50'}, PromptConfig(), 100)
    model.apply_plan('prompt-blocks')
    published_here = published_millions('resnet50', 100, 'prompt-blocks', PromptConfig())
    table = parameter_table(model, published_here)
    assert '3,612,164' in table and '3.817 M; the paper: 3.823 M' in table
    assert published_millions('resnet50', 7, 'head', None) is None
    assert published_millions('resnet50', 100, 'prompt-blocks', PromptConfig(blocks=2)) is None
    assert published_millions('resnet50', 100, 'finetune', PromptConfig()) is None
