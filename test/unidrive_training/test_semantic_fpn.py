# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Semantic FPN: against detectron2's, and what is not labelled."""

import pytest
import torch
from safetensors.torch import load_file
from small_heads import CHANNELS, small_pyramid, whole

from unidrive_training.models import weights
from unidrive_training.models.semantic_fpn import SemanticFPNHead


def semantic_head(classes=5, **options):
    torch.manual_seed(0)
    config = SemanticFPNHead.Config(**({'channels': 16, 'groups': 4} | options))
    return SemanticFPNHead(config, CHANNELS, classes)


def test_semantic_fpn_equals_detectron2(oracles):
    folder = oracles / 'semantic_fpn_detectron2'
    official = load_file(folder / 'weights.safetensors')
    io = load_file(folder / 'io.safetensors')
    head = SemanticFPNHead(SemanticFPNHead.Config(channels=32), 64, 19)
    for prefix in ('', 'sem_seg_head.'):
        prefixed = {prefix + name: value for name, value in official.items()}
        head.load_state_dict(weights.semantic_fpn(prefixed))
    pyramid = [io[f'in.p{level}'].requires_grad_() for level in (2, 3, 4, 5)]
    labels = list(io['label_map'].to(torch.uint8))
    sizes = whole(2, 96, 160)

    close = {'rtol': 1e-4, 'atol': 1e-5}
    torch.testing.assert_close(head(pyramid), io['layers_logits_stride4'], **close)
    full = io['logits_full_x4']
    assert (head.predict(pyramid, sizes) != full.argmax(1)).float().mean() < 1e-4

    loss = head.losses(pyramid, labels, sizes)['label']
    torch.testing.assert_close(loss, io['loss'], **close)
    loss.backward()
    for level, features in zip((2, 3, 4, 5), pyramid, strict=True):
        torch.testing.assert_close(features.grad, io[f'grad_in.p{level}'], **close)
    ours = dict(head.named_parameters())
    for name in official:
        (mapped,) = weights.semantic_fpn({name: official[name]})
        norm = ours.pop(mapped).grad.norm()
        torch.testing.assert_close(norm, io[f'grad_norm.{name}'], **close)
    assert not ours


def test_semantic_fpn_ignores_what_is_not_labelled():
    head, pyramid = semantic_head(), small_pyramid()
    pyramid[0].requires_grad_()
    nothing = [torch.full((64, 96), 255, dtype=torch.uint8)] * 2
    assert head.divisors(nothing) == {'pixels': 0}
    loss = head.losses(pyramid, nothing, whole(2), {'pixels': 1.0})['label']
    loss.backward()
    assert loss == 0 and pyramid[0].grad.abs().max() == 0

    half = torch.full((64, 96), 255, dtype=torch.uint8)
    half[:, :48] = 3
    pyramid[0].grad = None
    head.losses(pyramid, [half, nothing[0]], whole(2), head.divisors([half]))['label'].backward()
    assert pyramid[0].grad[0].abs().max() > 0 and pyramid[0].grad[1].abs().max() == 0
    assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())


@pytest.mark.parametrize(('stride', 'shape'), [(1, (64, 96)), (2, (32, 48)), (4, (16, 24))])
def test_semantic_fpn_class_map(stride, shape):
    head, pyramid = semantic_head(output_stride=stride), small_pyramid()
    together = head.predict(pyramid, whole(2))
    assert together.shape == (2, *shape) and together.dtype == torch.uint8
    for row in range(2):
        alone = head.predict([level[row : row + 1] for level in pyramid], whole(1))
        assert (alone[0] != together[row]).float().mean() < 1e-3


def test_semantic_fpn_under_bfloat16():
    head, pyramid = semantic_head(), small_pyramid()
    labels = [torch.randint(0, 5, (64, 96), dtype=torch.uint8)] * 2
    exact = head.losses(pyramid, labels, whole(2))['label']
    with torch.autocast('cpu', torch.bfloat16):
        rough = head.losses(pyramid, labels, whole(2))['label']
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0)
