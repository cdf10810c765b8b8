# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Faster R-CNN: against torchvision's, with partial labels, and exported."""

from collections import OrderedDict

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from small_heads import CHANNELS, small_pyramid, whole
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, box_iou, nms

from unidrive_training.export import check_program, export_program
from unidrive_training.models.faster_rcnn import FasterRCNNHead, partial_label_loss
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.nms import greedy_nms
from unidrive_training.models.targets import BoxTarget

CLASSES = 4
DETECTOR = {
    'anchor_sizes': (8, 16, 32, 48, 64),
    'training_proposals': 60,
    'proposals': 40,
    'anchor_samples': 64,
    'proposal_samples': 32,
    'channels': 24,
    'canonical_size': 40.0,
    'detections_per_image': 20,
}


def detector(**options):
    """A small head, with weights that make scores differ."""
    torch.manual_seed(0)
    head = FasterRCNNHead(FasterRCNNHead.Config(**(DETECTOR | options)), CHANNELS, CLASSES)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith('weight') and ('rpn' in name or 'predictor' in name):
                parameter.mul_(10 if 'cls' in name else 3)
    return head


def torchvision_detector(head):
    """torchvision's Faster R-CNN with the same options and weights."""
    backbone = torch.nn.Identity()
    backbone.out_channels = CHANNELS
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in DETECTOR['anchor_sizes']), ((0.5, 1.0, 2.0),) * 5
        ),
        rpn_pre_nms_top_n_train=60,
        rpn_post_nms_top_n_train=60,
        rpn_pre_nms_top_n_test=40,
        rpn_post_nms_top_n_test=40,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 2, canonical_scale=40),
        box_head=TwoMLPHead(CHANNELS * 49, 24),
        box_predictor=FastRCNNPredictor(24, CLASSES + 1),
        box_batch_size_per_image=32,
        box_detections_per_img=20,
    )
    model.load_state_dict(head.state_dict())
    return model


def torchvision_forward(model, pyramid, targets=None, height=64, width=96):
    features = OrderedDict((str(i), level) for i, level in enumerate(pyramid))
    features['pool'] = F.max_pool2d(pyramid[-1], 1, 2)
    batch = len(pyramid[0])
    images = ImageList(torch.empty(batch, 3, height, width), [(height, width)] * batch)
    if targets is not None:
        targets = [{'boxes': t.boxes, 'labels': t.class_ids + 1} for t in targets]
    proposals, rpn_losses = model.rpn(images, features, targets)
    found, box_losses = model.roi_heads(features, proposals, images.image_sizes, targets)
    return found, rpn_losses | box_losses


def truths(*boxes, class_id=2, annotated=None, ignored=()):
    return BoxTarget(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.full((len(boxes),), class_id),
        torch.ones(CLASSES, dtype=torch.bool) if annotated is None else annotated,
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    )


TRUTHS = [truths([5, 5, 40, 40], [50, 10, 60, 30]), truths([30, 20, 90, 60], class_id=0)]


def random_boxes(*shape, span, size):
    corner = torch.rand(*shape, 2) * span
    return torch.cat((corner, corner + torch.rand(*shape, 2) * size), -1)


def test_nms_equals_torchvision():
    torch.manual_seed(0)
    for _ in range(60):
        number, size = int(torch.randint(1, 200, ())), float(torch.rand(()) * 200 + 5)
        boxes = random_boxes(3, number, span=300, size=size)
        scores = torch.rand(3, number).sort(descending=True).values
        valid, threshold = scores > torch.rand(()), float(torch.rand(()) * 0.8 + 0.1)
        keep = greedy_nms(boxes, valid, threshold)
        for row in range(3):
            rows = valid[row].nonzero()[:, 0]
            expected = rows[nms(boxes[row, rows], scores[row, rows], threshold)]
            assert keep[row].nonzero()[:, 0].tolist() == expected.sort().values.tolist()


def test_nms_follows_a_chain_to_its_end():
    left = torch.arange(40.0)
    boxes = torch.stack((left, left * 0, left + 2.5, left * 0 + 1), dim=1)  # overlaps neighbours
    keep = greedy_nms(boxes, torch.ones(40, dtype=torch.bool), 0.4)
    assert keep.tolist() == [True, False] * 20


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_faster_rcnn_losses_equal_torchvision(seed):
    head, pyramid = detector(), small_pyramid(seed=seed)
    official_head = torchvision_detector(head)
    targets = [*TRUTHS, truths()][seed:][:2]
    pyramid = [level[: len(targets)].requires_grad_() for level in pyramid]
    torch.manual_seed(seed)
    losses = head.losses(pyramid, targets, whole(len(targets)))
    ours = torch.autograd.grad(sum(losses.values()), pyramid)
    torch.manual_seed(seed)
    _, expected = torchvision_forward(official_head, pyramid, targets)
    theirs = torch.autograd.grad(sum(expected.values()), pyramid)
    pairs = {
        'objectness': 'loss_objectness',
        'rpn_box': 'loss_rpn_box_reg',
        'label': 'loss_classifier',
        'box': 'loss_box_reg',
    }
    assert set(losses) == set(pairs)
    for name, official in pairs.items():
        torch.testing.assert_close(losses[name], expected[official], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('seed', [0, 1, 2, 3])
def test_faster_rcnn_detections_equal_torchvision(seed):
    head, pyramid = detector(), small_pyramid(seed=seed)
    boxes, scores, class_ids = head.predict(pyramid, whole(2))
    assert boxes.shape == (2, 20, 4) and (scores.diff(dim=1) <= 0).all()
    found, _ = torchvision_forward(torchvision_detector(head).eval(), pyramid)
    for row, expected in enumerate(found):
        number = len(expected['boxes'])
        assert number > 5
        torch.testing.assert_close(boxes[row, :number], expected['boxes'], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(scores[row, :number], expected['scores'])
        assert torch.equal(class_ids[row, :number] + 1, expected['labels'])
        assert boxes[row, number:].abs().sum() == 0 and scores[row, number:].sum() == 0


def test_torchvision_checkpoints_load():
    with torch.device('meta'):
        official = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        head = FasterRCNNHead(FasterRCNNHead.Config(), 256, 90)
    shapes = {
        name: value.shape for name, value in official.items() if not name.startswith('backbone.')
    }
    assert shapes == {name: value.shape for name, value in head.state_dict().items()}


def test_every_parameter_learns_also_in_evaluation_mode():
    for mode in (True, False):
        head = detector().train(mode)
        losses = head.losses(small_pyramid(), TRUTHS, whole(2))
        sum(losses.values()).backward()
        still = [
            n for n, p in head.named_parameters() if p.grad is None or p.grad.abs().max() == 0
        ]
        assert still == [] and all(module.training == mode for module in head.modules())


def test_no_truths_are_background_and_no_knowledge_costs_nothing():
    head, pyramid = detector(), small_pyramid()
    losses = head.losses(pyramid, [truths(), truths()], whole(2))
    assert losses['objectness'] > 0 and losses['label'] > 0
    assert losses['rpn_box'] == 0 and losses['box'] == 0
    flat = [truths([10, 10, 10, 30]), truths()]  # no area
    for ignored in ([[0, 0, 96, 64]], [[-99, -99, 199, 199]]):
        targets = [truths(ignored=ignored), truths(ignored=ignored)]
        losses = head.losses(pyramid, targets, whole(2))
        assert all(torch.isfinite(value) for value in losses.values())
    assert sum(losses.values()) == 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in head.losses(pyramid, flat, whole(2)).values())
    unknown = [truths(annotated=torch.zeros(CLASSES, dtype=torch.bool))] * 2
    losses = head.losses(pyramid, unknown, whole(2))
    assert losses['objectness'] == 0 and abs(losses['label']) < 1e-6


def test_background_is_not_drawn_from_ignored_boxes():
    head = detector()
    ignored = [[0, 0, 50, 200]]
    target = truths([60, 10, 90, 50], [10, 10, 30, 30], ignored=ignored)
    known = {
        'boxes': target.boxes,
        'labels': target.class_ids + 1,
        'annotated': target.annotated,
        'ignored': target.ignored,
        'size': whole(1)[0],
    }
    boxes = random_boxes(300, span=70.0, size=40.0)
    (labels,), _ = head.rpn.assign_targets_to_anchors([boxes], [known])
    inside = boxes[:, 2] < 50
    assert (labels[inside] != 0).all() and (labels[~inside] == 0).any()
    assert (labels[inside] == 1).any()  # truths are learned wherever they lie
    drawn, _, drawn_labels, _ = head.roi_heads.select_training_samples([boxes], [known])
    inside = drawn[0][:, 2] < 50
    assert (drawn_labels[0][inside] > 0).all() and inside.any()
    assert (drawn_labels[0][~inside] == 0).any()


def test_only_near_misses_are_background_where_a_class_is_not_annotated():
    head = detector()
    known = {
        'boxes': TRUTHS[0].boxes,
        'annotated': torch.tensor([True, True, True, False]),
        'ignored': torch.zeros(0, 4),
        'size': whole(1)[0],
    }
    boxes = random_boxes(500, span=70.0, size=50.0)
    (labels,), _ = head.rpn.assign_targets_to_anchors([boxes], [known])
    iou = box_iou(boxes, TRUTHS[0].boxes).amax(1)
    background = iou[labels == 0]
    assert len(background) and background.min() >= 0.1 and background.max() < 0.3


def test_a_class_that_is_not_annotated_costs_nothing():
    torch.manual_seed(0)
    logits = torch.randn(6, 5, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1, 2, 4])
    nothing = torch.zeros(6, 5, dtype=torch.bool)
    torch.testing.assert_close(
        partial_label_loss(logits, labels, nothing), F.cross_entropy(logits, labels)
    )
    hidden = nothing.clone()
    hidden[:, 3] = True
    loss = partial_label_loss(logits, labels, hidden)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:3, 3] < 0).all()  # never pushed down
    assert (gradient[3:, 3] == 0).all()
    assert (gradient[:3, [1, 2, 4]] > 0).all()
    loud = logits.detach().clone()
    loud[:, 3] = 20  # sees the hidden class everywhere
    assert partial_label_loss(loud[:3], labels[:3], hidden[:3]) < 1e-6
    torch.testing.assert_close(
        partial_label_loss(loud[3:], labels[3:], hidden[3:]),
        partial_label_loss(logits[3:], labels[3:], hidden[3:]),
    )


@torch.no_grad()
def test_a_batch_of_detections_equals_singles_in_their_own_sizes():
    head, pyramid = detector(), small_pyramid(3)
    sizes = torch.tensor([[64.0, 96.0], [40.0, 96.0], [64.0, 50.0]])
    together = head.predict(pyramid, sizes)
    for row in range(3):
        alone = head.predict([level[row : row + 1] for level in pyramid], sizes[row : row + 1])
        for ours, expected in zip(alone, together, strict=True):
            torch.testing.assert_close(ours[0], expected[row], rtol=1e-4, atol=1e-4)
        height, width = sizes[row].tolist()
        boxes = together[0][row]
        assert boxes.min() >= 0
        assert boxes[:, [0, 2]].max() <= width and boxes[:, [1, 3]].max() <= height
        assert (together[1][row] > 0).sum() > 3


@torch.no_grad()
def test_what_the_padding_holds_finds_nothing():
    head, pyramid = detector(), small_pyramid(1)
    sizes = torch.tensor([[64.0, 48.0]])
    levels = [*pyramid, F.max_pool2d(pyramid[-1], 1, 2)]
    canvas = torch.empty(0, 3, 64, 96)
    boxes, valid = head.rpn.propose(levels, canvas, sizes)
    assert valid.sum() > 10 and boxes[0, :, [0, 2]].max() <= 48
    # One 3x3 convolution looks one cell beyond the content: what is farther away has no influence.
    changed = [level.clone() for level in levels]
    for level in changed[:2]:
        level[..., level.shape[-1] // 2 + 2 :] += 50
    again, _ = head.rpn.propose(changed, canvas, sizes)
    torch.testing.assert_close(again, boxes)


def test_faster_rcnn_under_bfloat16():
    head, pyramid = detector(), small_pyramid()
    with torch.autocast('cpu', torch.bfloat16):
        rough = [level.bfloat16() for level in pyramid]
        losses = head.losses(rough, TRUTHS, whole(2))
        boxes, scores, class_ids = head.predict(rough, whole(2))
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())
    assert boxes.dtype == scores.dtype == torch.float32 and class_ids.dtype == torch.int64
    sum(losses.values()).backward()
    best = head.predict(pyramid, whole(2))[0][:, :1]
    assert box_iou(best[0], boxes[0]).max() > 0.9 and box_iou(best[1], boxes[1]).max() > 0.9


def test_the_convolutional_model_exports(tmp_path):
    torch.manual_seed(0)
    spec = {
        'backbone': {'name': 'resnet18', 'width': 8},
        'fpn': {'channels': CHANNELS},
        'heads': {
            'detection': {'name': 'faster_rcnn', **DETECTOR},
            'semantic': {'name': 'semantic_fpn', 'channels': 16, 'groups': 4},
        },
    }
    model = MultiTaskModel(ModelConfig(**spec)).eval()
    with torch.no_grad():
        for name, parameter in model.heads['detection'].named_parameters():
            if name.endswith('weight'):
                parameter.mul_(3)
    program = tmp_path / 'model.onnx'
    export_program(model, (64, 96), program)
    check_program(model, (64, 96), program)
    images = torch.randint(0, 256, (3, 64, 96, 3), dtype=torch.uint8)
    expected = model.predict(images)
    assert ((expected['scores'] > 0).sum(1) > 3).all()
    session = onnxruntime.InferenceSession(program)
    for name, value in zip(
        expected, session.run(list(expected), {'images': images.numpy()}), strict=True
    ):
        if name == 'semantic':
            assert (torch.from_numpy(value) != expected[name]).float().mean() < 1e-4
        else:
            torch.testing.assert_close(
                torch.from_numpy(value), expected[name], rtol=1e-4, atol=1e-2
            )
