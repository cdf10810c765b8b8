# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Tuning plans: what a plan says learns has gradients, and nothing else changes by a bit."""

from pathlib import Path

import pytest
import torch
from small_heads import DETECTION, SEMANTIC

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.config import load_config, with_base
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.targets import BoxTarget, Targets
from unidrive_training.models.tuning import PLANS

FOLDER = Path(__file__).parents[2] / 'config' / 'training'
CONFIGS = [path for path in sorted(FOLDER.glob('*.yaml')) if 'student' not in with_base(path)]
SIZE = (64, 96)
# Per plan: the parts that learn, by the start of their parameters' names.
NECK, HEADS = ('fpn.', 'adapter.', 'language.'), ('heads.',)
PROMPTS = ('backbone.prompts.',)
LEARNS = {
    'finetune': ('backbone.', *NECK, *HEADS),
    'scratch': ('backbone.', *NECK, *HEADS),
    'adapt': (*PROMPTS, *NECK),
    'head': (*NECK, *HEADS),
    'partial-1': (*NECK, *HEADS, 'backbone.layer4.1.'),
    'partial-2': (*NECK, *HEADS, 'backbone.layer4.0.', 'backbone.layer4.1.'),
    'prompt-blocks': (*PROMPTS, *NECK, *HEADS),
}


def learns(plan, name):
    return name.startswith(LEARNS[plan]) and '.encoder.' not in name


def batch(seed=0, images=2):
    """Images with labels of all tasks."""
    rows = range(images)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (images, *SIZE, 3), dtype=torch.uint8, generator=generator)
    everything = torch.ones(len(BDD100K_LABELS['detection']), dtype=torch.bool)
    boxes = torch.tensor([[8.0, 8, 40, 50], [50, 20, 90, 60]])
    target = BoxTarget(boxes, torch.tensor([2, 0]), everything)
    semantic = torch.randint(0, 19, SIZE, dtype=torch.uint8, generator=generator)
    drivable = torch.randint(0, 3, SIZE, dtype=torch.uint8, generator=generator)
    return images, Targets(*(dict.fromkeys(rows, x) for x in (target, semantic, drivable)))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_trains_what_its_plans_say(path):
    """Gradients where and only where, in one step of each phase of the real model."""
    config = load_config(path)
    torch.manual_seed(0)
    model = MultiTaskModel(config.model)
    images, targets = batch(images=1)
    for phase in config.phases:
        model.zero_grad(set_to_none=True)
        model.train()
        model.apply_plan(phase.tuning)
        losses = model.losses(images, targets)
        assert {name.split('/')[0] for name in losses} == set(config.model.heads)
        loss = sum(losses.values())
        assert torch.isfinite(loss)
        loss.backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == learns(phase.tuning, name), name


SMALL = {
    'backbone': {'name': 'resnet18', 'width': 8},
    'prompts': {},
    'fpn': {'channels': 16},
    'adapter': {'name': 'pre_scalar'},
    'language': {
        'name': 'l2v',
        'heads': 2,
        'feedforward': 16,
        'layers': 1,
        'text': {
            'source': 'learned',
            'encoder': {'width': 16, 'heads': 2, 'layers': 1, 'embed_dim': 12},
        },
    },
    'heads': {'detection': DETECTION, 'semantic': SEMANTIC},
}


@pytest.mark.parametrize('plan', PLANS)
def test_what_is_frozen_stays_bit_identical(plan):
    torch.manual_seed(0)
    model = MultiTaskModel(ModelConfig(**SMALL))
    model.train()
    model.apply_plan(plan)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(4):
        optimizer.zero_grad(set_to_none=True)
        sum(model.losses(*batch(step)).values()).backward()
        optimizer.step()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {name for name in before if learns(plan, name)}


def test_a_plan_can_be_left_again():
    model = MultiTaskModel(ModelConfig(**SMALL))
    model.train()
    model.apply_plan('adapt')
    assert not model.backbone.bn1.training and not model.heads['semantic'].training
    model.apply_plan('finetune')
    assert model.backbone.bn1.training and model.heads['semantic'].training
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen and all('.encoder.' in name for name in frozen)
    model.eval()
    assert not any(module.training for module in model.modules())
