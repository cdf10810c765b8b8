# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads and pyramid against numbers of the official implementations (forward, losses, matching,
gradients), through the name mapping that users load official checkpoints with.
"""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from unidrive_training.models import weights
from unidrive_training.models.box_criterion import match as match_boxes
from unidrive_training.models.fpn import FPN
from unidrive_training.models.mask_criterion import (
    MaskLossWeights,
    mask_target,
    pairwise_costs,
)
from unidrive_training.models.mask_criterion import match as match_masks
from unidrive_training.models.maskformer import MaskFormerHead
from unidrive_training.models.position import sine_position
from unidrive_training.models.roi_pool import PyramidTable
from unidrive_training.models.sparse_rcnn import SparseRCNNHead, whwh
from unidrive_training.models.targets import BoxTarget


def read_case(folder):
    config = folder / 'config.json'
    settings = json.loads(config.read_text()) if config.exists() else {}
    return (
        settings,
        load_file(folder / 'weights.safetensors'),
        load_file(folder / 'io.safetensors'),
    )


def pyramid_of(io):
    return [io[f'in.p{level}'].clone().requires_grad_() for level in (2, 3, 4, 5)]


def check(actual, expected, rtol=1e-4, atol=2e-5):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def check_gradients(io, pyramid, official, ours, part, compare=None):
    """Every gradient that the case holds: of the inputs, and of the parameters or their norms."""

    def elementwise(actual, expected):
        check(actual, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))

    compare = compare or elementwise
    for level, feature in zip((2, 3, 4, 5), pyramid, strict=True):
        compare(feature.grad, io[f'grad_in.p{level}'])
    mapped = {value.data_ptr(): name for name, value in ours.items()}
    names = {name: mapped[value.data_ptr()] for name, value in official.items()}
    gradients = {name: parameter.grad for name, parameter in part.named_parameters()}
    checked = 0
    for key, expected in io.items():
        kind, _, name = key.partition('.')
        if kind == 'grad_norm':
            check(gradients[names[name]].norm(), expected, rtol=1e-3, atol=1e-6)
            checked += 1
        elif kind == 'grad':
            compare(gradients[names[name]], expected)
    assert checked == len(official)


def check_losses(io, losses, weights, official_names):
    """Every term, weighted, and the total against the recorded sums over layers; backward."""
    for name, official_name in official_names.items():
        terms = [v for k, v in io.items() if k.startswith(f'loss_unweighted.loss_{official_name}')]
        check(losses[name], getattr(weights, name) * sum(terms), rtol=1e-5, atol=0)
    total = sum(losses.values())
    check(total, io['loss_total_weighted'], rtol=1e-5, atol=0)
    total.backward()


def nearly(actual, expected):
    """Where a sample of RoIAlign lies on the edge of a cell, rounding decides which cells get its
    gradient (in double precision ours does not change, and the recorded one is off at two cells).
    """
    assert (actual - expected).norm() <= 2e-3 * expected.norm()


def test_fpn(oracles):
    _, official, io = read_case(oracles / 'fpn_detectron2')
    part = FPN([32, 64, 96, 128], 64)
    part.load_state_dict(weights.fpn(official))
    features = [io[f'in.C{level}'].clone().requires_grad_() for level in (2, 3, 4, 5)]
    pyramid = part(features)
    for level, feature in zip((2, 3, 4, 5), pyramid, strict=True):
        check(feature, io[f'out.p{level}'], atol=1e-5)
    loss = sum((io[f'probe.p{n}'] * p).sum() for n, p in zip((2, 3, 4, 5), pyramid, strict=True))
    check(loss, io['probe_loss'], atol=1e-5)
    loss.backward()
    for level, feature in zip((2, 3, 4, 5), features, strict=True):
        check(feature.grad, io[f'grad_in.C{level}'], atol=1e-5)
    for name, parameter in part.named_parameters():
        kind, level, tensor = name.split('.')
        expected = io[f'grad_norm.fpn_{kind}{int(level) + 2}.{tensor}']
        check(parameter.grad.norm(), expected, rtol=1e-3)


def sparse_rcnn_of(settings, official):
    config = SparseRCNNHead.Config(
        proposals=settings['proposals'],
        stages=settings['stages'],
        dynamic_channels=settings['dim_dynamic'],
        attention_heads=settings['nhead'],
        feedforward=settings['ffn'],
    )
    head = SparseRCNNHead(config, settings['hidden'], settings['num_classes'])
    ours = weights.sparse_rcnn(official)
    head.load_state_dict(ours)
    return head, ours


def box_targets(io, classes):
    return [
        BoxTarget(
            io[f'target.{b}.boxes_xyxy_abs'],
            io[f'target.{b}.labels'],
            torch.ones(classes, dtype=torch.bool),
        )
        for b in range(len(io['in.images_whwh']))
    ]


@pytest.fixture(scope='module')
def sparse_rcnn(oracles):
    return read_case(oracles / 'sparse_rcnn_official' / 'small_3stage')


def test_sparse_rcnn_forward(sparse_rcnn):
    settings, official, io = sparse_rcnn
    head, _ = sparse_rcnn_of(settings, official)
    pyramid, sizes = pyramid_of(io), io['in.images_whwh'][:, :2].flip(1)
    assert torch.equal(whwh(sizes), io['in.images_whwh'])
    boxes = io['proposal_boxes_xyxy_abs']
    assert torch.equal(head.pooler._levels(boxes) + 2, io['stage0.level_assignment'])
    table = PyramidTable.of(pyramid)
    pooled = head.pooler(table, boxes)
    check(pooled, io['stage0.roi_features'].flatten(0, 1), atol=1e-5)
    # Stage after stage rounding grows: the recorded numbers are 7e-3 px from double precision.
    for number, (logits, boxes) in enumerate(head(pyramid, sizes)):
        last = number == settings['stages'] - 1
        check(logits, io[f'stage{number}.class_logits'], atol=5e-4 if last else 5e-5)
        check(boxes, io[f'stage{number}.boxes_xyxy_abs'], atol=1e-2 if last else 1e-3)
    # Each stage on the recorded results of the one before.
    features = io['proposal_features'][None].expand(len(sizes), -1, -1)
    for number, stage in enumerate(head.stages):
        source = 'proposal_boxes_xyxy_abs' if number == 0 else f'stage{number - 1}.boxes_xyxy_abs'
        features, logits, _ = stage(head.pooler(table, io[source]), features)
        check(features, io[f'stage{number}.object_features'], atol=1e-4)
        check(logits, io[f'stage{number}.class_logits'], atol=1e-4)


def test_sparse_rcnn_matching(sparse_rcnn):
    settings, _, io = sparse_rcnn
    scale, targets = io['in.images_whwh'], box_targets(io, settings['num_classes'])
    weights_ = SparseRCNNHead.Config().loss_weights
    last = settings['stages'] - 1
    for number in range(settings['stages']):
        logits, boxes = io[f'stage{number}.class_logits'], io[f'stage{number}.boxes_xyxy_abs']
        name = 'last' if number == last else f'stage{number}'
        for b, target in enumerate(targets):
            queries, truths = match_boxes(logits[b], boxes[b], target, scale[b], weights_)
            assert torch.equal(queries, io[f'match.{name}.{b}.query'])
            assert torch.equal(truths, io[f'match.{name}.{b}.target'])


def test_sparse_rcnn_losses_and_gradients(sparse_rcnn):
    settings, official, io = sparse_rcnn
    head, ours = sparse_rcnn_of(settings, official)
    pyramid, sizes = pyramid_of(io), io['in.images_whwh'][:, :2].flip(1)
    targets = box_targets(io, settings['num_classes'])
    losses = head.losses(pyramid, targets, sizes)
    check_losses(
        io, losses, head.config.loss_weights, {'label': 'ce', 'l1': 'bbox', 'giou': 'giou'}
    )
    check_gradients(io, pyramid, official, ours, head, nearly)


def test_sparse_rcnn_inference(sparse_rcnn):
    settings, official, io = sparse_rcnn
    head, _ = sparse_rcnn_of(settings, official)
    sizes = io['in.images_whwh'][:, :2].flip(1)
    with torch.no_grad():
        boxes, scores, class_ids = head.predict(pyramid_of(io), sizes)
    for b in range(len(sizes)):
        check(scores[b], io[f'det.{b}.scores'])
        assert torch.equal(class_ids[b], io[f'det.{b}.labels'])
        check(boxes[b], io[f'det.{b}.boxes_xyxy_unclipped'], atol=1e-2)
        # To an output of twice the size, as detectron2's postprocessing clips it.
        limit = 2 * whwh(sizes)[b]
        clipped = torch.minimum((2 * boxes[b]).clamp(min=0), limit)
        kept = (clipped[:, 2:] > clipped[:, :2]).all(1)
        check(clipped[kept], io[f'det_post_x2.{b}.boxes_xyxy_clipped'], atol=2e-2)
        assert torch.equal(class_ids[b][kept], io[f'det_post_x2.{b}.labels'])


MASKFORMER_CASES = ['fpn64_postnorm', 'c2c5_inputproj']


@pytest.fixture(scope='module', params=MASKFORMER_CASES)
def maskformer(request, oracles):
    return read_case(oracles / 'maskformer_official' / request.param)


def maskformer_of(settings, official):
    config = MaskFormerHead.Config(
        queries=settings['queries'],
        channels=settings['dim'],
        mask_channels=settings['mask_dim'],
        pixel_channels=settings['dim'],
        layers=settings['layers'],
        attention_heads=settings['heads'],
        feedforward=settings['ffn'],
        dropout=settings['dropout'],
        pre_norm=settings['pre_norm'],
        ignored='negative',
    )
    head = MaskFormerHead(config, settings['in_channels'], settings['num_classes'])
    ours = weights.maskformer(official)
    head.load_state_dict(ours)
    return head, ours


def layer_names(settings):
    return [f'layer{n}' for n in range(settings['layers'] - 1)] + ['last']


def test_maskformer_forward(maskformer):
    settings, official, io = maskformer
    head, _ = maskformer_of(settings, official)
    pyramid = pyramid_of(io)
    height, width = pyramid[-1].shape[-2:]
    position = sine_position(height, width, settings['dim'], torch.device('cpu'))
    check(position, io['position_embedding_p5'][0])
    check(
        head.pixel_decoder.mask_features(head.pixel_decoder(pyramid)),
        io['mask_features'],
        atol=1e-4,
    )
    memory = head.input_proj(pyramid[-1]).flatten(2).transpose(1, 2)
    decoded = head.decoder(memory, position.flatten(1).T[None], head.query_embed.weight)
    check(torch.stack(decoded), io['decoder_hs_all_layers'])
    for name, (logits, masks) in zip(layer_names(settings), head(pyramid, True), strict=True):
        check(logits, io[f'class_logits.{name}'])
        check(masks, io[f'mask_logits.{name}'], atol=1e-4)


def test_maskformer_matching(maskformer):
    settings, _, io = maskformer
    for b, label in enumerate(io['label_map']):
        small = tuple(io['mask_logits.last'].shape[-2:])
        target = mask_target(label, tuple(label.shape), small, 'negative')
        assert torch.equal(target.class_ids, io[f'target.{b}.labels'])
        assert torch.equal(target.masks.to(torch.uint8), io[f'target.{b}.masks'])
        for name in layer_names(settings):
            logits, masks = io[f'class_logits.{name}'][b], io[f'mask_logits.{name}'][b]
            queries, truths = match_masks(logits, masks, target, MaskLossWeights())
            order = queries.argsort()
            assert torch.equal(queries[order], io[f'match.{name}.{b}.query'])
            assert torch.equal(truths[order], io[f'match.{name}.{b}.target'])
        t, valid = target.small_masks.flatten(1), target.small_valid.flatten()
        focal, dice = pairwise_costs(masks.flatten(1), t, valid)
        check(focal, io[f'cost.last.{b}.mask'])
        check(dice, io[f'cost.last.{b}.dice'])
        check(-logits.softmax(-1)[:, target.class_ids], io[f'cost.last.{b}.class'])


def test_maskformer_losses_and_gradients(maskformer):
    settings, official, io = maskformer
    head, ours = maskformer_of(settings, official)
    pyramid, labels = pyramid_of(io), list(io['label_map'])
    sizes = torch.tensor([[settings['H'], settings['W']]]).expand(len(labels), 2)
    losses = head.losses(pyramid, labels, sizes)
    check_losses(
        io, losses, head.config.loss_weights, {'label': 'ce', 'mask': 'mask', 'dice': 'dice'}
    )
    check_gradients(io, pyramid, official, ours, head)


def test_maskformer_inference(maskformer):
    settings, official, io = maskformer
    head, _ = maskformer_of(settings, official)
    with torch.no_grad():
        scores = head.scores(pyramid_of(io))
        predicted = head.predict(pyramid_of(io), torch.empty(0))
    check(scores, io['semantic_scores_full'])
    assert (predicted == io['semantic_argmax_full']).float().mean() >= 0.999
    # detectron2's postprocessing: crop the padding, then resize to the image that was read.
    expected = io['semantic_scores_cropped_resized_x2']
    height, width = expected.shape[-2] // 2, expected.shape[-1] // 2
    cropped = scores[..., :height, :width]
    resized = F.interpolate(cropped, scale_factor=2, mode='bilinear', align_corners=False)
    check(resized, expected)
