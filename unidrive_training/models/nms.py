# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression with static shapes: exact, exportable, for many sets at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop


def greedy_nms(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Which of (…, N, 4) boxes, the best first, greedy suppression keeps: (…, N) bool.

    Equal to ``torchvision.ops.nms`` of the boxes where ``valid`` (…, N). A box is kept unless a
    better one *that is kept* overlaps it by more than ``threshold`` (IoU). Applying this sentence
    to all boxes at once, again and again, settles the first n boxes after n rounds, and in
    practice all of them after a few: then nothing changes any more.
    """
    better = _overlapping_better(boxes, threshold)  # (…, N, N)

    def step(keep: Tensor) -> tuple[Tensor, Tensor]:
        suppressing = better @ keep[..., None].to(better.dtype)
        following = valid & (suppressing[..., 0] == 0)
        return following, (following != keep).sum()

    keep, changes = step(valid)
    if torch.compiler.is_exporting():
        return while_loop(
            lambda keep, changes: changes > 0, lambda keep, _: step(keep), (keep, changes)
        )[0]
    while changes > 0:
        keep, changes = step(keep)
    return keep


def _overlapping_better(boxes: Tensor, threshold: float) -> Tensor:
    """(…, N, N) float: 1 where column j is better than row i and their IoU above the threshold."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    area = (x2 - x1) * (y2 - y1)
    intersection = _overlap(x1, x2) * _overlap(y1, y2)
    iou = intersection / (area[..., :, None] + area[..., None, :] - intersection)
    return (iou > threshold).to(boxes.dtype).tril(-1)


def _overlap(low: Tensor, high: Tensor) -> Tensor:
    """Lengths (…, N, N) that intervals low..high (…, N) have in common."""
    end = torch.minimum(high[..., :, None], high[..., None, :])
    start = torch.maximum(low[..., :, None], low[..., None, :])
    return (end - start).clamp(min=0)
