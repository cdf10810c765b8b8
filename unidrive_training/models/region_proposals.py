# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Region proposals of Faster R-CNN: torchvision's network and losses, static shapes to predict."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou

from unidrive_training.models.box_criterion import on_ignored
from unidrive_training.models.nms import greedy_nms

_BACKGROUND_IOU = 0.3
_NEAR_MISS_IOU = 0.1


class RegionProposals(RegionProposalNetwork):
    """Calling it gives proposals and losses, as in torchvision; :meth:`propose` proposals only.

    What we add to the choice of background anchors, for partly labelled data: an anchor over half
    inside an ignored box is none, nor is one whose centre lies in the padding. Objectness knows no
    classes, so where some class is not annotated an anchor off all truths may still show an
    object; there only near misses, anchors that overlap a truth by an IoU of 0.1 to 0.3, are
    background.
    """

    def __init__(
        self,
        channels: int,
        sizes: tuple[float, ...],
        aspect_ratios: tuple[float, ...],
        samples: int,
        training_proposals: int,
        proposals: int,
    ) -> None:
        numbers = {'training': training_proposals, 'testing': proposals}
        super().__init__(
            AnchorGenerator(tuple((size,) for size in sizes), (aspect_ratios,) * len(sizes)),
            FloatRPNHead(channels, len(aspect_ratios)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=_BACKGROUND_IOU,
            batch_size_per_image=samples,
            positive_fraction=0.5,
            pre_nms_top_n=numbers,
            post_nms_top_n=numbers,
            nms_thresh=0.7,
        )
        self.proposals = proposals

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals per image, and losses also in evaluation mode: a frozen head has some too."""
        mode, self.training = self.training, True  # torchvision gives losses in this mode alone
        try:
            return super().forward(images, features, targets)
        finally:
            self.training = mode

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per image labels (A,), 1 object, 0 background, -1 neither, and truths (A, 4)."""
        labels, truths = super().assign_targets_to_anchors(anchors, targets)
        for boxes, label, target in zip(anchors, labels, targets, strict=True):
            unsure = on_ignored(boxes, target['ignored']) | _centre_in_padding(
                boxes, target['size']
            )
            if not target['annotated'].all():
                unsure |= ~_near_miss(boxes, target['boxes'])
            label[(label == 0) & unsure] = -1
        return labels, truths

    def compute_loss(
        self, objectness: Tensor, deltas: Tensor, labels: list[Tensor], wanted: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """torchvision's means; 0 where no anchor may be drawn, for the mean of none is not."""
        if all((label < 0).all() for label in labels):
            return objectness.sum() * 0, deltas.sum() * 0
        return super().compute_loss(objectness, deltas, labels, wanted)

    def propose(
        self, levels: list[Tensor], canvas: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best boxes (B, P, 4) of P2..P6 in descending order, clipped to the content, and
        which of them are proposals (B, P); the others are empty.

        As torchvision's ``filter_proposals``, without data-dependent shapes. Anchors in the
        padding do not take the place of others. ``canvas``: (0, 3, H, W); ``sizes`` (B, 2).
        """
        anchors = self.anchor_generator(ImageList(canvas, [tuple(canvas.shape[-2:])]), levels)[0]
        padding = _centre_in_padding(anchors, sizes[:, None])  # (B, A), A anchors of all levels
        objectness, deltas = self.head(levels)
        logits, index = self._best_of_levels(objectness, padding)  # (B, L, P)
        index = index.flatten(1)[..., None].expand(-1, -1, 4)
        deltas = [x.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in deltas]
        deltas = torch.cat(deltas, dim=1).gather(1, index)
        anchors = anchors.expand(sizes.shape[0], -1, -1).gather(1, index)
        boxes = self.box_coder.decode_single(deltas.flatten(0, 1), anchors.flatten(0, 1))
        boxes = clip(boxes.view_as(anchors), sizes).unflatten(1, logits.shape[1:])
        valid = ((boxes[..., 2:] - boxes[..., :2]) >= self.min_size).all(-1) & ~logits.isinf()
        keep = greedy_nms(boxes, valid, self.nms_thresh)
        scores = torch.where(keep, logits.sigmoid(), -1.0).flatten(1)
        scores, best = scores.topk(self.proposals, dim=1)
        boxes = boxes.flatten(1, 2).gather(1, best[..., None].expand(-1, -1, 4))
        valid = scores >= 0
        return torch.where(valid[..., None], boxes, 0.0), valid

    def _best_of_levels(self, objectness: list[Tensor], padding: Tensor) -> tuple[Tensor, Tensor]:
        """P best logits (B, L, P) of each level and their rows among the anchors of all levels.

        Logits are -inf in the padding, and where a level has less than P anchors.
        """
        first, best, rows = 0, [], []
        for level in objectness:
            logits = level.permute(0, 2, 3, 1).flatten(1)  # (B, h·w·A)
            number = logits.shape[1]
            logits = logits.masked_fill(padding[:, first : first + number], -torch.inf)
            logits = F.pad(logits, (0, max(0, self.proposals - number)), value=-torch.inf)
            logits, index = logits.topk(self.proposals, dim=1)
            best.append(logits)
            rows.append(first + index.clamp(max=number - 1))
            first += number
        return torch.stack(best, dim=1), torch.stack(rows, dim=1)


class FloatRPNHead(RPNHead):
    """torchvision's; with float outputs under autocast: boxes in bfloat16 are pixels off."""

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """[(B, C, h, w)] → objectness [(B, A, h, w)] and deltas [(B, 4 A, h, w)]."""
        objectness, deltas = super().forward(levels)
        return [x.float() for x in objectness], [x.float() for x in deltas]


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (…, N, 4) inside images whose sizes (…, 2) are height, width."""
    limit = sizes.flip(-1)
    limit = torch.cat((limit, limit), dim=-1)[..., None, :]
    return torch.minimum(boxes.clamp(min=0), limit)


def _centre_in_padding(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, 4), sizes (…, 2) height, width → (…, N) bool."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    return (centre >= sizes.flip(-1)).any(-1)


def _near_miss(boxes: Tensor, truths: Tensor) -> Tensor:
    """(N,) bool: beside a truth, for certain no better box of another object."""
    if len(truths) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    iou = box_iou(boxes, truths).amax(1)
    return (iou >= _NEAR_MISS_IOU) & (iou < _BACKGROUND_IOU)
