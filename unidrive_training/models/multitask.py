# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The multi-task model: one backbone and pyramid, one head per task."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training import distributed
from unidrive_training.models import maskformer, sparse_rcnn  # noqa: F401 (registers)
from unidrive_training.models.backbones import resnet  # noqa: F401 (registers)
from unidrive_training.models.fpn import FPN
from unidrive_training.models.registry import BACKBONES, HEADS
from unidrive_training.models.targets import Targets
from unidrive_training.typed import Typed

TASKS = tuple(BDD100K_LABELS)  # detection, semantic, drivable


class FPNConfig(Typed):
    """Options of the pyramid."""

    channels: int = 256


class ModelConfig(Typed):
    """What the model is built from; each part is ``{name: …, options}``.

    A task without a head is absent.
    """

    backbone: dict[str, Any]
    fpn: FPNConfig = FPNConfig()
    heads: dict[Literal[TASKS], dict[str, Any]]


def content_sizes(images: Tensor) -> Tensor:
    """(B, 2) heights and widths of images (B, H, W, 3) without padding."""
    size = torch.tensor(images.shape[1:3], dtype=torch.float32, device=images.device)
    return size.expand(images.shape[0], 2)


class MultiTaskModel(nn.Module):
    """Images in; losses (training) or predictions out.

    Images are (B, H, W, 3) uint8 RGB, letterboxed, H and W multiples of 32; normalisation is
    inside.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = BACKBONES.build(config.backbone)
        self.fpn = FPN(self.backbone.out_channels, config.fpn.channels)
        self.heads = nn.ModuleDict(
            {
                task: HEADS.build(
                    config.heads[task],
                    in_channels=config.fpn.channels,
                    classes=len(BDD100K_LABELS[task]),
                )
                for task in TASKS
                if task in config.heads
            }
        )
        self.register_buffer('mean', torch.tensor(self.backbone.mean), persistent=False)
        self.register_buffer('std', torch.tensor(self.backbone.std), persistent=False)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """(B, H, W, 3) uint8 → [P2, P3, P4, P5]."""
        normalised = (images.float() - self.mean) / self.std
        return self.fpn(self.backbone(normalised.permute(0, 3, 1, 2)))

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """``task/term`` → weighted loss, for the tasks that the batch has labels for.

        A head sees only the images that are labelled for its task.
        """
        pyramid = self.pyramid(images)
        sizes = content_sizes(images)
        counts = self._truth_counts(targets)
        result = {}
        for task, head in self.heads.items():
            labels = targets.of(task)
            if not labels:
                continue
            rows = torch.tensor(list(labels), device=images.device)
            chosen = [level[rows] for level in pyramid]
            terms = head.losses(chosen, list(labels.values()), sizes[rows], counts[task])
            result |= {f'{task}/{name}': value for name, value in terms.items()}
        return result

    def _truth_counts(self, targets: Targets) -> dict[str, float]:
        """What each task's losses are divided by: the mean number of truths of all processes.

        In one exchange, which every process takes part in whatever its images are labelled for.
        """
        counts = [head.truth_count(list(targets.of(t).values())) for t, head in self.heads.items()]
        means = distributed.mean_over_ranks(counts, self.mean.device)
        return {task: max(1.0, mean) for task, mean in zip(self.heads, means, strict=True)}

    @torch.no_grad()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the exported program: see :meth:`forward`."""
        return self(images)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """boxes (B, N, 4), scores and class_ids (B, N), semantic and drivable (B, h, w) uint8."""
        pyramid = self.pyramid(images)
        sizes = content_sizes(images)
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            prediction = head.predict(pyramid, sizes)
            if task == 'detection':
                outputs |= dict(zip(('boxes', 'scores', 'class_ids'), prediction, strict=True))
            else:
                outputs[task] = prediction
        return outputs
