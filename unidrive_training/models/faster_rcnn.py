# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Faster R-CNN head (Ren et al., 2015; with FPN, Lin et al., 2017): torchvision's parts, our rules
of partly labelled data, and a prediction with static shapes.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import box_iou

from unidrive_training.models.box_criterion import on_ignored
from unidrive_training.models.nms import greedy_nms
from unidrive_training.models.region_proposals import RegionProposals, clip
from unidrive_training.models.registry import DETECTION_TASKS, HEADS
from unidrive_training.models.roi_pool import PyramidRoIAlign, PyramidTable
from unidrive_training.models.targets import BoxTarget
from unidrive_training.typed import Typed

_MATCH_IOU = 0.5  # above it a proposal belongs to a truth
_SMALLEST = 1e-2  # side of a box that is still an answer, in pixels
_CHUNK = 250  # proposals pooled at once: bounds the memory of the exported program


class FasterRCNNLossWeights(Typed):
    """Weights of the four terms."""

    objectness: float = 1.0
    rpn_box: float = 1.0
    label: float = 1.0
    box: float = 1.0


@HEADS.register('faster_rcnn')
class FasterRCNNHead(nn.Module):
    """Detection on P2..P5, and P6 (every other cell of P5) for the region proposals.

    Parameters have torchvision's names (``rpn.*``, ``roi_heads.*``), so its checkpoints load; the
    first of its K + 1 classes is the background.
    """

    tasks = DETECTION_TASKS

    class Config(Typed):
        """Options; the defaults are torchvision's. One anchor size per level P2..P6, in pixels;
        the proposals are counted per level before NMS and per image after it.
        """

        anchor_sizes: tuple[float, float, float, float, float] = (32, 64, 128, 256, 512)
        aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
        training_proposals: PositiveInt = 2000
        proposals: PositiveInt = 1000
        anchor_samples: PositiveInt = 256
        proposal_samples: PositiveInt = 512
        channels: PositiveInt = 1024
        pooler_resolution: PositiveInt = 7
        canonical_size: float = 224.0
        sampling_ratio: PositiveInt = 2
        score_threshold: NonNegativeFloat = 0.05
        nms_threshold: float = 0.5
        detections_per_image: PositiveInt = 100
        loss_weights: FasterRCNNLossWeights = FasterRCNNLossWeights()

    def __init__(self, config: Config, in_channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.rpn = RegionProposals(
            in_channels,
            config.anchor_sizes,
            config.aspect_ratios,
            config.anchor_samples,
            config.training_proposals,
            config.proposals,
        )
        resolution = config.pooler_resolution
        self.roi_heads = ProposalSampler(
            PyramidRoIAlign(
                resolution, config.canonical_size, config.sampling_ratio, aligned=False
            ),
            TwoMLPHead(in_channels * resolution**2, config.channels),
            FastRCNNPredictor(config.channels, classes + 1),
            fg_iou_thresh=_MATCH_IOU,
            bg_iou_thresh=_MATCH_IOU,
            batch_size_per_image=config.proposal_samples,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_threshold,
            detections_per_img=config.detections_per_image,
        )

    @staticmethod
    def divisors(labels: list[BoxTarget]) -> dict[str, float]:
        """``images``: their number."""
        return {'images': float(len(labels))}

    def losses(
        self,
        pyramid: list[Tensor],
        labels: list[BoxTarget],
        sizes: Tensor,
        divisors: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted ``objectness`` and ``rpn_box`` of the proposals, ``label`` and ``box`` of the
        detections.

        Each is a mean over the anchors or proposals that the sampler drew, as in torchvision. It
        draws as many in every image, whatever the number of truths, so that only the number of
        images counts beyond this process. Where nothing may be drawn a term is 0.
        """
        levels, canvas = _levels(pyramid)
        shapes = [(height, width) for height, width in sizes.tolist()]
        targets = [_target(label, size) for label, size in zip(labels, sizes, strict=True)]
        features = OrderedDict((str(i), level) for i, level in enumerate(levels))
        proposals, terms = self.rpn(ImageList(canvas, shapes), features, targets)
        label, box = self._detection_losses(pyramid, proposals, targets)
        weights = self.config.loss_weights
        share = len(labels) / divisors['images'] if divisors else 1.0
        return {
            'objectness': share * weights.objectness * terms['loss_objectness'],
            'rpn_box': share * weights.rpn_box * terms['loss_rpn_box_reg'],
            'label': share * weights.label * label,
            'box': share * weights.box * box,
        }

    def _detection_losses(
        self, pyramid: list[Tensor], proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        proposals, _, labels, deltas = self.roi_heads.select_training_samples(proposals, targets)
        numbers = [len(sampled) for sampled in proposals]
        if not sum(numbers):
            return (pyramid[0].float().sum() * 0,) * 2
        boxes = pad_sequence(proposals, batch_first=True)
        pooled = self.roi_heads.box_roi_pool(PyramidTable.of(pyramid), boxes)
        pooled = pooled.unflatten(0, (len(numbers), -1))
        pooled = torch.cat([rows[:number] for rows, number in zip(pooled, numbers, strict=True)])
        logits, predicted = self._classify(pooled)
        hidden = torch.stack([_hidden(target) for target in targets])
        hidden = hidden.repeat_interleave(torch.tensor(numbers, device=hidden.device), dim=0)
        label = partial_label_loss(logits, torch.cat(labels), hidden)
        return label, fastrcnn_loss(logits, predicted, labels, deltas)[1]

    def predict(self, pyramid: list[Tensor], sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """boxes (B, N, 4) xyxy input pixels, scores (B, N) descending, class ids (B, N) int64.

        N is ``detections_per_image`` (or fewer where there are not as many proposals); what NMS
        leaves free is filled with empty boxes of score 0.
        """
        levels, canvas = _levels(pyramid)
        proposals, valid = self.rpn.propose(levels, canvas, sizes)  # (B, P, 4), (B, P)
        table = PyramidTable.of(pyramid)
        logits, deltas = zip(
            *[
                self._classify(self.roi_heads.box_roi_pool(table, chunk))
                for chunk in proposals.split(_CHUNK, dim=1)
            ],
            strict=True,
        )
        batch = sizes.shape[0]
        logits, deltas = (
            torch.cat([chunk.unflatten(0, (batch, -1)) for chunk in chunks], dim=1)
            for chunks in (logits, deltas)
        )
        boxes = self.roi_heads.box_coder.decode_single(
            deltas.flatten(0, 1), proposals.flatten(0, 1)
        )
        boxes = boxes.unflatten(1, (-1, 4)).unflatten(0, (batch, -1))  # (B, P, K + 1, 4)
        boxes = clip(boxes, sizes[:, None])
        usable = valid[..., None] & ((boxes[..., 2:] - boxes[..., :2]) >= _SMALLEST).all(-1)
        scores = logits.softmax(-1)
        scores = torch.where(usable & (scores > self.config.score_threshold), scores, 0.0)
        return self._best(boxes[:, :, 1:].transpose(1, 2), scores[..., 1:].transpose(1, 2))

    def _classify(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(M, C, r, r) → class logits (M, K + 1) and deltas (M, 4 (K + 1)), float."""
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits.float(), deltas.float()

    def _best(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """NMS per class of boxes (B, K, P, 4) with scores (B, K, P), 0 for no box."""
        number = scores.shape[2]
        scores, order = scores.topk(number, dim=2)
        boxes = boxes.gather(2, order[..., None].expand(-1, -1, -1, 4))
        keep = greedy_nms(boxes, scores > 0, self.config.nms_threshold)
        scores = torch.where(keep, scores, 0.0).flatten(1)
        wanted = min(self.config.detections_per_image, scores.shape[1])
        scores, index = scores.topk(wanted, dim=1)
        boxes = boxes.flatten(1, 2).gather(1, index[..., None].expand(-1, -1, 4))
        boxes = torch.where(scores[..., None] > 0, boxes, 0.0)
        return boxes, scores, torch.div(index, number, rounding_mode='floor')


class ProposalSampler(RoIHeads):
    """torchvision's box head; a background proposal on an ignored box is not drawn."""

    def select_training_samples(
        self, proposals: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Proposals per image → sampled ones with the truth's row, label and wanted deltas."""
        sure = []
        for boxes, target in zip(proposals, targets, strict=True):
            unsure = on_ignored(boxes, target['ignored'])
            if len(target['boxes']):
                unsure &= box_iou(boxes, target['boxes']).amax(1) < _MATCH_IOU
            sure.append(boxes[~unsure])
        return super().select_training_samples(sure, targets)


def partial_label_loss(logits: Tensor, labels: Tensor, hidden: Tensor) -> Tensor:
    """Cross-entropy of logits (M, K + 1) with labels (M,), mean, where classes may be ``hidden``
    (M, K + 1): not annotated in the image of that row.

    A background row (label 0) may show any of these, so its probability is that of the background
    and of every hidden class together (Cermelli et al., 2020, Eq. 4): seeing a hidden class costs
    nothing. In the other rows hidden classes are left out. Nothing hidden: plain cross-entropy.
    """
    background = (labels == 0)[:, None]
    right = F.one_hot(labels, logits.shape[1]).bool() | (background & hidden)
    allowed = background | ~hidden
    total = logits.masked_fill(~allowed, -torch.inf).logsumexp(1)
    return (total - logits.masked_fill(~right, -torch.inf).logsumexp(1)).mean()


def _levels(pyramid: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """[P2..P5] → float [P2..P6], and an empty tensor of the input's height and width."""
    levels = [level.float() for level in pyramid]
    levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
    height, width = pyramid[0].shape[-2:]
    return levels, levels[0].new_empty(0, 3, height * 4, width * 4)


def _target(label: BoxTarget, size: Tensor) -> dict[str, Tensor]:
    """In torchvision's words; boxes without area, which have no deltas, are left out."""
    solid = (label.boxes[:, 2:] > label.boxes[:, :2]).all(1)
    return {
        'boxes': label.boxes[solid].float(),
        'labels': label.class_ids[solid].long() + 1,
        'annotated': label.annotated,
        'ignored': label.ignored,
        'size': size,
    }


def _hidden(target: dict[str, Tensor]) -> Tensor:
    """(K + 1,) bool: classes that the image's annotation does not know, never the background."""
    return F.pad(~target['annotated'], (1, 0))
