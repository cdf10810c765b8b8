# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What every backbone offers to the rest of the model."""

from __future__ import annotations

from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Backbone(nn.Module):
    """(B, 3, H, W) normalised images → [C2, C3, C4, C5] at strides 4, 8, 16, 32.

    H and W are multiples of 32.
    A subclass sets ``out_channels`` (of C2..C5), ``prompt_channels`` (of the map at each place
    where a prompt block may sit, in order) and ``feature_channels`` (of :meth:`pooled`), and calls
    :meth:`prompted` at each such place. Parameters have the names of the official implementation.
    """

    out_channels: list[int]
    prompt_channels: list[int]
    feature_channels: int
    mean: tuple[float, float, float] = IMAGENET_MEAN  # of RGB values 0..255
    std: tuple[float, float, float] = IMAGENET_STD

    def __init__(self) -> None:
        super().__init__()
        self.prompts: nn.Module | None = None  # PromptBlocks, put here by the model

    def prompted(self, place: int, x: Tensor) -> Tensor:
        """The (B, C, H, W) map at a place, blended with its prompt (Pro-tuning, Eq. 1) if any."""
        return x if self.prompts is None else self.prompts(place, x)

    def add_pooling(self) -> None:
        """Add the parameters that only :meth:`pooled` (or CLIP's attention pool) uses, once.

        A dense model does without them, so that no parameter is left without a gradient.
        """

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images → (B, feature_channels), what a linear classifier takes.

        Needs :meth:`add_pooling`. Here the mean of C5 over its pixels.
        """
        return self(images)[-1].mean((2, 3))

    def last_layers(self, count: int) -> list[nn.Module]:
        """The last ``count`` layers, 1 or 2, as "partial-1" and "partial-2" of the Pro-tuning
        paper train them (the parameter counts of its Tables 2 and 3 say which they are).
        """
        raise NotImplementedError
