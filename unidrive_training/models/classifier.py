# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""An image classifier: a backbone, with prompt blocks if wanted, and one linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unidrive_training.models import backbones  # noqa: F401 (registers)
from unidrive_training.models.prompt_blocks import PromptBlocks, PromptConfig
from unidrive_training.models.registry import BACKBONES
from unidrive_training.models.tuning import TunableModel


class ImageClassifier(TunableModel):
    """Images (B, 3, H, W) uint8 RGB → scores (B, classes) before softmax; H, W multiples of 32.

    Normalisation is inside. ``backbone``: ``{name: …, options}``.
    """

    def __init__(
        self, backbone: dict[str, Any], prompts: PromptConfig | None, classes: int
    ) -> None:
        super().__init__()
        self.backbone = BACKBONES.build(backbone)
        self.backbone.add_pooling()
        if prompts is not None:
            self.backbone.prompts = PromptBlocks(prompts, self.backbone.prompt_channels)
        self.head = nn.Linear(self.backbone.feature_channels, classes)
        for name in ('mean', 'std'):
            value = torch.tensor(getattr(self.backbone, name))[:, None, None]  # (3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def task_heads(self) -> list[nn.Module]:
        """The linear layer."""
        return [self.head]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 → (B, classes)."""
        return self.head(self.backbone.pooled((images.float() - self.mean) / self.std))
