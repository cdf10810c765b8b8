# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What every backbone offers to the rest of the model."""

from __future__ import annotations

from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Backbone(nn.Module):
    """(B, 3, H, W) normalised images → [C2, C3, C4, C5], strides 4, 8, 16, 32; H, W multiples of 32.

    A subclass sets ``out_channels`` (of C2..C5) and ``prompt_channels`` (of the map at each place
    where a prompt block may sit, in order), and calls :meth:`prompted` at each such place.
    """

    out_channels: list[int]
    prompt_channels: list[int]
    mean: tuple[float, float, float] = IMAGENET_MEAN  # of RGB values 0..255
    std: tuple[float, float, float] = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        self.prompts: nn.Module | None = None  # PromptBlocks, put here by the model

    def prompted(self, place: int, x: Tensor) -> Tensor:
        """The (B, C, H, W) map at a place, blended with its prompt (Pro-tuning, Eq. 1) if any."""
        return x if self.prompts is None else self.prompts(place, x)

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last ``count`` layers, as "partial-1" and "partial-2" of the Pro-tuning paper
        train them.
        """
        raise NotImplementedError
