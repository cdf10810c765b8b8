# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer and Sparse R-CNN where no recorded case reaches: against formulas written out, and
modules of PyTorch.
"""

import pytest
import torch
import torch.nn.functional as F
from small_heads import divisors_of
from torch import nn
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from unidrive_perception.errors import UserError
from unidrive_training.models import weights
from unidrive_training.models.box_criterion import BoxLossWeights, box_set_losses, match
from unidrive_training.models.mask_criterion import (
    FocalAndDice,
    MaskLossWeights,
    mask_set_losses,
    mask_target,
    match_layers,
)
from unidrive_training.models.mask_criterion import match as match_masks
from unidrive_training.models.maskformer import MaskFormerHead
from unidrive_training.models.registry import HEADS
from unidrive_training.models.targets import BoxTarget
from unidrive_training.models.transformer import DecoderLayer

SIZE = (32, 48)


def label_maps(*numbers):
    """Label maps with so many classes each, in columns, and a corner that is ignored."""
    maps = []
    for number in numbers:
        label = (torch.arange(SIZE[1]) * number // SIZE[1]).to(torch.uint8).expand(SIZE).clone()
        label[:8, :8] = 255
        maps.append(label if number else torch.full(SIZE, 255, dtype=torch.uint8))
    return maps


def losses_of(logits, masks, labels, size, count, ignored='excluded', matching='bipartite'):
    """Losses of one decoder layer: class logits (B, Q, K + 1) and mask logits (B, Q, h, w)."""
    targets = [mask_target(label, size, tuple(masks.shape[-2:]), ignored) for label in labels]
    layer, weights = logits[None], MaskLossWeights()
    matches = match_layers(layer, masks[None], targets, weights, matching)
    matched = [masks[i, queries] for i, (_, queries, _) in enumerate(matches)]
    return mask_set_losses(layer, matched, targets, matches, weights, count)


def reference(logits, masks, labels, ignored):
    """CE, focal and dice, as MaskFormer's paper and code define them (ignored pixels as asked)."""
    wanted = torch.full(logits.shape[:2], logits.shape[2] - 1)
    focal = dice = torch.zeros(())
    for b, label in enumerate(labels):
        target = mask_target(label, SIZE, tuple(masks.shape[-2:]), ignored)
        queries, truths = match_masks(logits[b], masks[b], target, MaskLossWeights())
        wanted[b, queries] = target.class_ids[truths]
        valid = (label != 255).float() if ignored == 'excluded' else torch.ones(SIZE)
        for query, truth in zip(queries.tolist(), truths.tolist(), strict=True):
            x = F.interpolate(masks[b, query][None, None], size=SIZE, mode='bilinear')[0, 0]
            t = (label == target.class_ids[truth]).float()
            focal = focal + (sigmoid_focal_loss(x, t) * valid).sum() / valid.sum()
            p = x.sigmoid() * valid
            dice = dice + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    weight = torch.ones(logits.shape[2])
    weight[-1] = 0.1
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight), focal, dice


@pytest.mark.parametrize('ignored', ['excluded', 'negative'])
@pytest.mark.parametrize('classes', [(3, 2), (0, 3), (0, 0), (7, 6)], ids=str)
def test_mask_losses_with_few_many_and_no_classes(classes, ignored):
    """(7, 6) are more than the four queries: the best are matched, all count in the divisor."""
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 9, requires_grad=True)
    masks = torch.randn(2, 4, 8, 12, requires_grad=True)
    labels = label_maps(*classes)
    count = max(1, sum(classes))
    losses = losses_of(logits, masks, labels, SIZE, count, ignored)
    label, focal, dice = reference(logits, masks, labels, ignored)
    torch.testing.assert_close(losses['label'], label)
    torch.testing.assert_close(losses['mask'], 20 * focal / count)
    torch.testing.assert_close(losses['dice'], dice / count)
    ours = torch.autograd.grad(sum(losses.values()), (logits, masks), materialize_grads=True)
    expected = torch.autograd.grad(
        label + (20 * focal + dice) / count, (logits, masks), materialize_grads=True
    )
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-4)


def mask_layers(queries=6, classes=3, batch=1, requires_grad=False):
    torch.manual_seed(3)
    logits = torch.randn(batch, queries, classes + 1, requires_grad=requires_grad)
    masks = torch.randn(batch, queries, 8, 12, requires_grad=requires_grad)
    return logits, masks


def test_ignored_pixels_have_no_gradient_and_no_influence():
    label = torch.zeros(32, 48, dtype=torch.uint8)
    label[:, 24:] = 1
    label[:, 40:] = 255
    logits, masks = mask_layers(requires_grad=True)
    losses = losses_of(logits, masks, [label], (8, 12), 2.0)
    sum(losses.values()).backward()
    assert masks.grad[..., 10:].abs().max() == 0
    assert masks.grad[..., :10].abs().max() > 0
    changed = masks.detach().clone()
    changed[..., 10:] = 50
    again = losses_of(logits, changed, [label], (8, 12), 2.0)
    for name, value in losses.items():
        torch.testing.assert_close(again[name], value)


def test_a_perfect_prediction_is_matched_and_costs_almost_nothing():
    label = torch.zeros(32, 48, dtype=torch.uint8)
    label[16:] = 2
    target = mask_target(label, (8, 12), (8, 12))
    assert target.class_ids.tolist() == [0, 2]
    logits = torch.full((1, 5, 4), -10.0)
    masks = torch.full((1, 5, 8, 12), -10.0)
    logits[0, :, 3] = 10  # no object
    for query, (class_id, mask) in {3: (0, target.masks[0]), 1: (2, target.masks[1])}.items():
        logits[0, query] = -10
        logits[0, query, class_id] = 10
        masks[0, query] = mask * 20.0 - 10
    queries, indices = match_masks(logits[0], masks[0], target, MaskLossWeights())
    assert dict(zip(queries.tolist(), indices.tolist(), strict=True)) == {1: 1, 3: 0}
    losses = losses_of(logits, masks, [label], (8, 12), 2.0)
    assert sum(losses.values()) < 1e-3


def test_fixed_matching_gives_each_class_its_own_query():
    label = torch.zeros(32, 48, dtype=torch.uint8)
    label[:, 24:] = 2
    logits, masks = mask_layers(queries=3, requires_grad=True)
    losses = losses_of(logits, masks, [label], (8, 12), 2.0, matching='fixed')
    (losses['mask'] + losses['dice']).backward()
    touched = masks.grad.abs().sum((0, 2, 3)) > 0
    assert touched.tolist() == [True, False, True]
    head = {'name': 'maskformer', 'queries': 2, 'matching': 'fixed'}
    with pytest.raises(UserError, match='queries >= 3'):
        HEADS.build(head, in_channels=256, classes=3)


@pytest.mark.parametrize('small', [(2, 3), (8, 12)], ids=str)
def test_gradients_of_the_mask_losses(small):
    torch.manual_seed(0)
    x = torch.randn(3, *small, dtype=torch.float64, requires_grad=True)
    masks, indices = torch.rand(2, 8, 12) > 0.4, torch.tensor([1, 0, 1])
    for valid in (torch.rand(8, 12) > 0.3, torch.zeros(8, 12, dtype=torch.bool)):
        assert torch.autograd.gradcheck(lambda x: FocalAndDice.apply(x, indices, masks, valid), x)  # noqa: B023


@pytest.mark.parametrize('truths', [(0, 3), (0, 0), (40, 1)], ids=str)
def test_box_losses_with_few_many_and_no_truths(truths):
    """(40, 1): more than the 12 proposals, where the official code stops with an error."""
    torch.manual_seed(0)
    logits = torch.randn(2, 12, 5, requires_grad=True)
    corner = torch.rand(2, 12, 2) * 40
    boxes = torch.cat((corner, corner + 5 + torch.rand(2, 12, 2) * 20), 2).requires_grad_()
    scale = torch.tensor([[96.0, 64, 96, 64], [80.0, 60, 80, 60]])
    targets = []
    for number in truths:
        low = torch.rand(number, 2) * 40
        found = torch.cat((low, low + 5 + torch.rand(number, 2) * 20), 1)
        ids = torch.randint(0, 5, (number,))
        targets.append(BoxTarget(found, ids, torch.ones(5, dtype=torch.bool)))
    count = max(1, sum(truths))
    losses = box_set_losses([(logits, boxes)], targets, scale, BoxLossWeights(), count)
    wanted, l1, giou = torch.zeros_like(logits), torch.zeros(()), torch.zeros(())
    for b, target in enumerate(targets):
        rows, columns = match(logits[b], boxes[b], target, scale[b], BoxLossWeights())
        assert len(rows) == min(12, truths[b])
        wanted[b, rows, target.class_ids[columns]] = 1
        found, true = boxes[b, rows], target.boxes[columns]
        l1 = l1 + (found / scale[b] - true / scale[b]).abs().sum()
        giou = giou + (1 - generalized_box_iou(found, true).diag()).sum()
    label = sigmoid_focal_loss(logits, wanted, reduction='sum')
    torch.testing.assert_close(losses['label'], 2 * label / count)
    torch.testing.assert_close(losses['l1'], 5 * l1 / count)
    torch.testing.assert_close(losses['giou'], 2 * giou / count)
    sum(losses.values()).backward()
    assert torch.isfinite(logits.grad).all() and torch.isfinite(boxes.grad).all()


@pytest.mark.parametrize('pre_norm', [False, True])
def test_the_decoder_layer_is_pytorchs(pre_norm):
    """Without query positions the official layer is nn.TransformerDecoderLayer."""
    torch.manual_seed(0)
    theirs = nn.TransformerDecoderLayer(16, 4, 32, 0.0, batch_first=True, norm_first=pre_norm)
    ours = DecoderLayer(16, 4, 32, 0.0, pre_norm)
    names = {'self_attn.in_proj_': 'self_attn.in_proj.', 'multihead_attn': 'cross_attn'}
    names['cross_attn.in_proj_'] = 'cross_attn.in_proj.'
    state = {}
    for name, value in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = value + 0.1 * torch.randn_like(value)
        value.copy_(state[name])
    ours.load_state_dict(state)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(x, memory, memory, None), theirs(x, memory))


def small_head(**options):
    torch.manual_seed(0)
    config = {'queries': 5, 'channels': 16, 'mask_channels': 32, 'pixel_channels': 16, 'groups': 4}
    config |= {'layers': 2, 'attention_heads': 2, 'feedforward': 32, 'dropout': 0.0}
    return MaskFormerHead(MaskFormerHead.Config(**(config | options)), 16, 3)


def small_pyramid():
    return [torch.randn(2, 16, 16 // 2**i, 24 // 2**i) for i in range(4)]


def test_pre_norm_normalises_the_memory_as_the_official_encoder_of_no_layers_does():
    head, pyramid = small_head(pre_norm=True), small_pyramid()
    official = {
        f'predictor.transformer.encoder.norm.{n}': torch.randn(16) for n in ('weight', 'bias')
    }
    mapped = weights.maskformer(official)
    assert set(mapped) == {'memory_norm.weight', 'memory_norm.bias'}
    before = head(pyramid, False)[-1][0]
    head.load_state_dict(mapped, strict=False)
    assert not torch.allclose(head(pyramid, False)[-1][0], before, atol=1e-3)
    normalised = F.layer_norm(pyramid[-1].permute(0, 2, 3, 1), (16,), *mapped.values())
    head.memory_norm = nn.Identity()
    memory = [*pyramid[:3], normalised.permute(0, 3, 1, 2)]
    expected = head._decode(memory)[-1]
    head.memory_norm = nn.LayerNorm(16)
    head.load_state_dict(mapped, strict=False)
    torch.testing.assert_close(head._decode(pyramid)[-1], expected)
    assert 'memory_norm.weight' not in small_head().state_dict()


@pytest.mark.parametrize(
    ('convert', 'name'),
    [
        (weights.maskformer, 'sem_seg_head.predictor.transformer.encoder.layers.0.norm1.weight'),
        (weights.sparse_rcnn, 'head.head_series.bias'),
    ],
)
def test_an_official_weight_without_a_place_is_an_error(convert, name):
    with pytest.raises(UserError, match='no place for this weight'):
        convert({name: torch.zeros(1)})
    assert convert({'backbone.bottom_up.stem.conv1.weight': torch.zeros(1)}) == {}


def test_masks_are_the_same_with_multiplied_kernels():
    """All layers (2 × 20 queries, over 32 channels) take the other way than the last alone."""
    head, pyramid = small_head(queries=20), small_pyramid()
    both, last = head(pyramid, all_layers=True), head(pyramid, all_layers=False)
    torch.testing.assert_close(last[0], both[-1], atol=1e-5, rtol=1e-4)
    for queries, masks in zip(head._decode(pyramid), [m for _, m in both], strict=True):
        features = head.pixel_decoder.mask_features(head.pixel_decoder(pyramid))
        expected = torch.einsum('bqc,bchw->bqhw', head.mask_embed(queries), features)
        torch.testing.assert_close(masks, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('classes', [(3, 0), (0, 0)], ids=str)
def test_gradients_through_matched_queries_are_those_through_all(classes, autocast):
    head, pyramid = small_head(queries=20, mask_channels=8), small_pyramid()
    for level in pyramid:
        level.requires_grad_()
    labels = [F.interpolate(x[None, None], scale_factor=2)[0, 0] for x in label_maps(*classes)]
    inputs = [*pyramid, *head.parameters()]
    weights, sizes = MaskLossWeights(), torch.tensor([[64.0, 96.0]] * 2)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = head.losses(pyramid, labels, sizes, divisors_of(head, labels, 3.0))
        logits, masks = (torch.stack(x) for x in zip(*head(pyramid, True), strict=True))
        targets = [mask_target(label, (64, 96), (16, 24)) for label in labels]
        matches = match_layers(logits, masks, targets, weights)
        matched = [masks[layers, i, q] for i, (layers, q, _) in enumerate(matches)]
        expected = mask_set_losses(logits, matched, targets, matches, weights, 3.0)
    tolerance = {'atol': 5e-2, 'rtol': 5e-2} if autocast else {'atol': 1e-5, 'rtol': 1e-4}
    torch.testing.assert_close(losses, expected, **tolerance)
    ours, theirs = (
        torch.cat([g.flatten() for g in torch.autograd.grad(sum(x.values()), inputs)])
        for x in (losses, expected)
    )
    assert (ours - theirs).norm() <= (0.05 if autocast else 1e-5) * theirs.norm()


@pytest.mark.parametrize('matching', ['bipartite', 'fixed'])
def test_the_loss_of_every_pixel_and_the_matching_of_a_head(matching):
    """Mask-ID cross-entropy: at a pixel of a truth, its query against all others."""
    head, pyramid = small_head(matching=matching, loss_weights={'pixel': 2.0}), small_pyramid()
    for level in pyramid:
        level.requires_grad_()
    labels = [F.interpolate(x[None, None], scale_factor=2)[0, 0] for x in label_maps(3, 2)]
    sizes = torch.tensor([[64.0, 96.0]] * 2)
    losses = head.losses(pyramid, labels, sizes, divisors_of(head, labels, 5.0))
    expected = {'label': 0.0, 'pixel': 0.0}
    for logits, masks in head(pyramid, True):
        wanted = torch.full(logits.shape[:2], 3)
        summed = number = 0
        for b, label in enumerate(labels):
            target = mask_target(label, (64, 96), (16, 24))
            queries, truths = match_masks(logits[b], masks[b], target, MaskLossWeights())
            if matching == 'fixed':
                queries, truths = target.class_ids, torch.arange(len(target.class_ids))
            wanted[b, queries] = target.class_ids[truths]
            shares = masks[b].log_softmax(0)
            for query, truth in zip(queries.tolist(), truths.tolist(), strict=True):
                inside = target.small_masks[truth]
                summed, number = summed - shares[query][inside].sum(), number + inside.sum()
        expected['pixel'] += 2 * summed / number
        weights = torch.tensor([1, 1, 1, 0.1])
        expected['label'] += F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weights)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
        ours, theirs = (
            torch.autograd.grad(x, pyramid, retain_graph=True, materialize_grads=True)
            for x in (losses[name], value)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_strips_of_class_scores_are_the_whole(stride):
    head, pyramid = small_head(), [torch.randn(2, 16, 40 // 2**i, 24 // 2**i) for i in range(4)]
    logits, masks = head(pyramid, all_layers=False)[-1]
    size = (160 // stride, 96 // stride)
    masks = F.interpolate(masks, size=size, mode='bilinear', align_corners=False).sigmoid()
    expected = torch.einsum('bqk,bqhw->bkhw', logits.softmax(-1)[..., :-1], masks)
    torch.testing.assert_close(head.scores(pyramid, stride), expected)


def test_labels_may_end_where_the_padding_begins():
    head, pyramid = small_head(), small_pyramid()
    label = torch.randint(0, 3, (64, 96), dtype=torch.uint8)
    label[50:], label[:, 90:] = 255, 255
    sizes = torch.tensor([[50.0, 90.0]] * 2)
    divisors = divisors_of(head, [label, label], 6.0)
    whole = head.losses(pyramid, [label, label], sizes, divisors)
    cut = head.losses(pyramid, [label[:50, :90], label[:50]], sizes, divisors)
    torch.testing.assert_close(cut, whole)
