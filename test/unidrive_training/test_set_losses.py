# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer and Sparse R-CNN where no recorded case reaches: against formulas written out, and
modules of PyTorch.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from unidrive_perception.errors import UserError
from unidrive_training.models import weights
from unidrive_training.models.box_criterion import BoxLossWeights, box_set_losses, match
from unidrive_training.models.mask_criterion import (
    FocalAndDice,
    MaskLossWeights,
    class_masks,
    mask_set_losses,
)
from unidrive_training.models.mask_criterion import match as match_masks
from unidrive_training.models.maskformer import MaskFormerHead
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


def reference(logits, masks, labels, ignored):
    """CE, focal and dice, as MaskFormer's paper and code define them (ignored pixels as asked)."""
    wanted = torch.full(logits.shape[:2], logits.shape[2] - 1)
    focal = dice = torch.zeros(())
    for b, label in enumerate(labels):
        fine = class_masks(label, SIZE, ignored)
        coarse = class_masks(label, tuple(masks.shape[-2:]), ignored, fine.class_ids)
        queries, truths = match_masks(logits[b], masks[b], coarse, MaskLossWeights())
        wanted[b, queries] = fine.class_ids[truths]
        valid = (label != 255).float() if ignored == 'excluded' else torch.ones(SIZE)
        for query, truth in zip(queries.tolist(), truths.tolist(), strict=True):
            x = F.interpolate(masks[b, query][None, None], size=SIZE, mode='bilinear')[0, 0]
            t = (label == fine.class_ids[truth]).float()
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
    losses = mask_set_losses(
        [(logits, masks)], labels, MaskLossWeights(), SIZE, count, ignored=ignored
    )
    label, focal, dice = reference(logits, masks, labels, ignored)
    torch.testing.assert_close(losses['label'], label)
    torch.testing.assert_close(losses['mask'], 20 * focal / count)
    torch.testing.assert_close(losses['dice'], dice / count)
    ours = torch.autograd.grad(sum(losses.values()), (logits, masks), materialize_grads=True)
    expected = torch.autograd.grad(
        label + (20 * focal + dice) / count, (logits, masks), materialize_grads=True
    )
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-4)


def test_gradients_of_the_mask_losses():
    torch.manual_seed(0)
    x = torch.randn(3, 20, dtype=torch.float64, requires_grad=True)
    t = (torch.rand(3, 20) > 0.5).double()
    valid = (torch.rand(3, 20) > 0.3).double()
    valid[2] = 0  # nothing to see
    assert torch.autograd.gradcheck(lambda x: FocalAndDice.apply(x, t * valid, valid), x)


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
        features = head.pixel_decoder.mask_features(head.pixel_decoder.finest(pyramid))
        expected = torch.einsum('bqc,bchw->bqhw', head.mask_embed(queries), features)
        torch.testing.assert_close(masks, expected, atol=1e-5, rtol=1e-4)


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
    whole = head.losses(pyramid, [label, label], sizes, 6.0)
    cut = head.losses(pyramid, [label[:50, :90], label[:50]], sizes, 6.0)
    torch.testing.assert_close(cut, whole)
