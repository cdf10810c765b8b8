# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The model's parts: each against its definition, and the rules of partly labelled training."""

import pytest
import torch
import torch.nn.functional as F
from small_heads import DETECTION, DRIVABLE, SEMANTIC, divisors_of
from torch import nn
from torchvision.ops import box_iou, roi_align

from unidrive_perception.errors import UserError
from unidrive_training.models.backbones.resnet import Shortcut
from unidrive_training.models.box_criterion import BoxLossWeights, box_set_losses
from unidrive_training.models.box_ops import apply_deltas
from unidrive_training.models.layers import GroupNorm
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.registry import HEADS
from unidrive_training.models.roi_pool import PyramidRoIAlign, PyramidTable
from unidrive_training.models.sparse_rcnn import with_noise
from unidrive_training.models.targets import BoxTarget, Targets

SIZE = (64, 96)
SIZES = torch.tensor([[64.0, 96.0]]).expand(2, 2)
SCALE = torch.tensor([[96.0, 64, 96, 64]])
SPEC = {
    'backbone': {'name': 'resnet18', 'width': 8},
    'fpn': {'channels': 16},
    'heads': {'detection': DETECTION, 'semantic': SEMANTIC, 'drivable': DRIVABLE},
}


def small_model(seed=0):
    torch.manual_seed(seed)
    return MultiTaskModel(ModelConfig(**SPEC))


def box_target(*boxes, class_id=2, annotated=None):
    annotated = torch.ones(10, dtype=torch.bool) if annotated is None else annotated
    return BoxTarget(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.full((len(boxes),), class_id),
        annotated,
    )


@pytest.mark.parametrize('sampling_ratio', [1, 2])
def test_roi_pooling_equals_torchvision_on_the_level_of_each_box(sampling_ratio):
    torch.manual_seed(1)
    pyramid = [torch.randn(3, 8, 56 // 2**i, 96 // 2**i) for i in range(4)]
    corner = torch.rand(3, 50, 2) * torch.tensor([400.0, 250.0]) - 20  # some leave the image
    boxes = torch.cat((corner, corner + torch.exp(torch.rand(3, 50, 2) * 8 - 2)), -1)
    pooler = PyramidRoIAlign(7, 112.0, sampling_ratio)
    levels = pooler._levels(boxes).flatten()
    assert len(levels.unique()) == 4
    index = torch.arange(3).repeat_interleave(50)[:, None].float()
    rois = torch.cat((index, boxes.flatten(0, 1)), 1)
    expected = [
        roi_align(pyramid[level], rois[i : i + 1], 7, 1 / 2 ** (level + 2), sampling_ratio, True)
        for i, level in enumerate(levels.tolist())
    ]
    torch.testing.assert_close(
        pooler(PyramidTable.of(pyramid), boxes), torch.cat(expected), atol=1e-4, rtol=0
    )


def test_box_deltas():
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    moved = apply_deltas(box, torch.tensor([[1.0, -1.0, 0.0, 0.0]]), (2.0, 2.0, 1.0, 1.0))
    assert moved.tolist() == [[20.0, 0.0, 40.0, 40.0]]
    grown = apply_deltas(box, torch.tensor([[0, 0, 0, 100.0]]), (2.0, 2.0, 1.0, 1.0))
    assert torch.isfinite(grown).all()


@pytest.mark.parametrize('channels', [32, 12], ids=['fast', 'slow'])
@pytest.mark.parametrize('mean', [0, 100])
@pytest.mark.parametrize('last', [False, True])
def test_group_norm_in_any_memory_format(last, mean, channels):
    """PyTorch's own is off by 0.01 and more where the mean is far from 0, channels last."""
    torch.manual_seed(0)
    layer = GroupNorm(4, channels)
    nn.init.uniform_(layer.weight)
    x = torch.randn(2, channels, 24, 40) + mean
    exact = x.double().requires_grad_()
    expected = F.group_norm(exact, 4, layer.weight.double(), layer.bias.double())
    expected.square().sum().backward()
    if last:
        x = x.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x).double(), expected, atol=5e-5, rtol=1e-5)
    x.requires_grad_()
    result = layer(x)
    torch.testing.assert_close(result.double(), expected, atol=5e-5, rtol=1e-5)
    result.square().sum().backward()
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=2e-4, rtol=1e-4)


def test_detection_losses_on_empty_and_crowded_images():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 10)
    boxes = torch.rand(2, 3, 4) * 20
    boxes[..., 2:] += 20
    crowded = box_target(*[[i, i, i + 10, i + 12] for i in range(7)])  # more truths than proposals
    for targets in ([box_target(), box_target()], [crowded, box_target()]):
        losses = box_set_losses(
            [(logits, boxes)], targets, SCALE.expand(2, 4), BoxLossWeights(), 1.0
        )
        assert all(torch.isfinite(v) for v in losses.values())
        if not any(len(t.boxes) for t in targets):
            assert losses['l1'] == 0 and losses['giou'] == 0 and losses['label'] > 0


def test_an_unmatched_box_on_an_ignored_object_costs_nothing():
    logits = torch.full((1, 2, 10), -5.0)
    logits[0, :, 2] = 5
    target = box_target([0, 0, 10, 10])
    target.ignored = torch.tensor([[40.0, 40, 50, 50]])

    def label_loss(second_box):
        boxes = torch.tensor([[[0.0, 0, 10, 10], second_box]])
        return box_set_losses([(logits, boxes)], [target], SCALE, BoxLossWeights(), 1.0)['label']

    on_it, beside_it, around_it = [41, 40, 51, 50], [60, 40, 70, 50], [30, 30, 60, 60]
    assert label_loss(on_it) < 0.01 * label_loss(beside_it)
    assert label_loss(around_it) == label_loss(beside_it)
    # What is matched with a truth learns it, wherever it lies.
    target.ignored = torch.tensor([[0.0, 0, 10, 10]])
    logits[0, 0, 2] = -5
    unsure = label_loss(beside_it)
    logits[0, 0, 2] = 5
    assert label_loss(beside_it) < unsure


def test_noisy_truths_train_the_refinement_and_leave_the_prediction_alone():
    torch.manual_seed(0)
    config = {'name': 'sparse_rcnn', 'proposals': 4, 'stages': 2, 'dynamic_channels': 4}
    config |= {'attention_heads': 2, 'feedforward': 32}
    plain = HEADS.build(config, in_channels=16, classes=10)
    head = HEADS.build(config | {'denoising': 6}, in_channels=16, classes=10)
    head.load_state_dict(plain.state_dict(), strict=False)
    pyramid = [torch.randn(2, 16, 16 // 2**i, 24 // 2**i) for i in range(4)]
    for ours, theirs in zip(
        head.predict(pyramid, SIZES), plain.predict(pyramid, SIZES), strict=True
    ):
        assert torch.equal(ours, theirs)
    targets = [box_target([5, 5, 40, 40], [50, 10, 60, 30]), box_target()]
    losses = head.losses(pyramid, targets, SIZES, divisors_of(head, targets, 2.0))
    expected = plain.losses(pyramid, targets, SIZES, divisors_of(plain, targets, 2.0))
    assert {name: losses[name] for name in expected} == expected
    losses['denoising'].backward()
    assert head.denoising_feature.grad.abs().sum() > 0
    assert head.stages[0].box_deltas.weight.grad.abs().sum() > 0
    assert head.proposal_features.weight.grad is None
    assert head.losses(pyramid, [box_target()] * 2, SIZES)['denoising'] == 0


def test_noise_keeps_boxes_in_reach_of_their_truth():
    torch.manual_seed(0)
    truth = torch.tensor([[10.0, 20, 50, 40]]).expand(500, 4)
    noisy = with_noise(truth)
    centre, size = (noisy[:, :2] + noisy[:, 2:]) / 2, noisy[:, 2:] - noisy[:, :2]
    assert ((centre - torch.tensor([30, 30])).abs() <= torch.tensor([20, 10])).all()
    ratio = size / torch.tensor([40, 20])
    assert 0.5 <= ratio.min() < 0.6 and 1.8 < ratio.max() <= 2
    assert box_iou(noisy, truth[:1]).min() > 0


def test_shortcut_is_a_strided_convolution():
    torch.manual_seed(0)
    shortcut = Shortcut(8, 16, stride=2)
    x = torch.randn(2, 8, 15, 24).to(memory_format=torch.channels_last).requires_grad_()
    trained = shortcut(x)
    trained.square().sum().backward()
    plain = x.detach().contiguous().requires_grad_()
    expected = F.conv2d(plain, shortcut.weight, stride=2)
    gradients = torch.autograd.grad(expected.square().sum(), (shortcut.weight, plain))
    torch.testing.assert_close(trained, expected)
    torch.testing.assert_close((shortcut.weight.grad, x.grad), gradients)
    torch.testing.assert_close(shortcut.eval()(x), expected)


def test_a_class_that_is_not_annotated_is_not_a_negative():
    boxes = torch.tensor([[[0.0, 0, 10, 10]]])
    annotated = torch.zeros(10, dtype=torch.bool)
    annotated[2] = True
    quiet, loud = torch.full((1, 1, 10), -5.0), torch.full((1, 1, 10), -5.0)
    loud[..., 9] = 5  # sees a traffic sign in an image without sign labels

    def label_loss(logits, known):
        target = box_target([0, 0, 10, 10], annotated=known)
        return box_set_losses([(logits, boxes)], [target], SCALE, BoxLossWeights(), 1.0)['label']

    assert label_loss(loud, annotated) == label_loss(quiet, annotated)
    everything = torch.ones(10, dtype=torch.bool)
    assert label_loss(loud, everything) > label_loss(quiet, everything)


def test_each_head_learns_only_from_images_labelled_for_it():
    model = small_model()
    images = torch.randint(0, 256, (3, *SIZE, 3), dtype=torch.uint8)
    semantic = torch.randint(0, 19, SIZE, dtype=torch.uint8)
    targets = Targets({1: box_target([5, 5, 40, 40])}, {0: semantic, 2: semantic}, {})
    losses = model.losses(images, targets)
    assert {name.split('/')[0] for name in losses} == {'detection', 'semantic'}
    sum(losses.values()).backward()
    for task, head in model.heads.items():
        touched = any(p.grad is not None for p in head.parameters())
        assert touched == (task != 'drivable')
    missing = [
        n
        for n, p in model.named_parameters()
        if p.grad is None and not n.startswith('heads.drivable')
    ]
    assert missing == []


def test_a_batch_of_three_equals_three_singles():
    model = small_model().eval()
    images = torch.randint(0, 256, (3, *SIZE, 3), dtype=torch.uint8)
    together = model.predict(images)
    assert together['semantic'].shape == (3, *SIZE) and together['semantic'].dtype == torch.uint8
    assert (together['scores'].diff(dim=1) <= 0).all()
    for i in range(3):
        alone = model.predict(images[i : i + 1])
        for name, value in alone.items():
            expected = together[name][i : i + 1]
            if value.dtype == torch.uint8:
                assert (value != expected).float().mean() < 1e-3
            elif name != 'class_ids':
                torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-4)


def test_an_unknown_part_or_option_is_named():
    with pytest.raises(UserError, match=r"unknown name 'fcn'.*maskformer, .*sparse_rcnn"):
        HEADS.build({'name': 'fcn'}, in_channels=16, classes=3)
    with pytest.raises(UserError, match='querys'):
        HEADS.build({'name': 'maskformer', 'querys': 3}, in_channels=16, classes=3)
