# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""MaskFormer head (Cheng et al., 2021): a set of (class, mask) pairs, folded into a class map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unidrive_perception.errors import UserError
from unidrive_training.models.layers import MLP
from unidrive_training.models.mask_criterion import (
    Ignored,
    MaskLossWeights,
    mask_set_losses,
    mask_target,
    match_layers,
    pixel_loss,
    sampled,
)
from unidrive_training.models.pixel_decoder import PixelDecoder, single_images
from unidrive_training.models.position import sine_position
from unidrive_training.models.registry import HEADS, SEGMENTATION_TASKS
from unidrive_training.models.targets import at_least_one, class_counts, padded
from unidrive_training.models.transformer import TransformerDecoder
from unidrive_training.typed import Typed

_STRIP = 8  # rows of the mask logits


@HEADS.register('maskformer')
class MaskFormerHead(nn.Module):
    """Segmentation by mask classification on P2..P5.

    ``loss_stride`` and ``output_stride`` (relative to the input; the official values are 1) say at
    what resolution mask losses and the class map are computed. ``matching``: ``fixed`` gives each
    class a query of its own, which learns faster from little data; the official is ``bipartite``.
    ``ignored``: see :mod:`mask_criterion`; the official is ``negative``. ``in_channels`` of
    P2..P5: one number, or one each for a head that is fed C2..C5.
    """

    tasks = SEGMENTATION_TASKS

    class Config(Typed):
        """Options; the defaults are the official ones, but for ``ignored``."""

        queries: int = 100
        channels: int = 256
        mask_channels: int = 256
        pixel_channels: int = 256
        groups: int = 32
        layers: int = 6
        attention_heads: int = 8
        feedforward: int = 2048
        dropout: float = 0.1
        pre_norm: bool = False
        loss_stride: Literal[1, 2, 4] = 1
        output_stride: Literal[1, 2, 4] = 1
        matching: Literal['bipartite', 'fixed'] = 'bipartite'
        ignored: Ignored = 'excluded'
        loss_weights: MaskLossWeights = MaskLossWeights()

    def __init__(self, config: Config, in_channels: int | list[int], classes: int) -> None:
        super().__init__()
        levels = [in_channels] * 4 if isinstance(in_channels, int) else in_channels
        if config.matching == 'fixed' and config.queries < classes:
            raise UserError(f'fixed matching needs a query per class: queries >= {classes}')
        self.config = config
        self.pixel_decoder = PixelDecoder(
            levels, config.pixel_channels, config.mask_channels, config.groups
        )
        self.input_proj: nn.Module = nn.Identity()
        if levels[-1] != config.channels:
            self.input_proj = nn.Conv2d(levels[-1], config.channels, 1)
            nn.init.kaiming_uniform_(self.input_proj.weight, a=1)
            nn.init.zeros_(self.input_proj.bias)
        # What is left, with PRE_NORM, of the official encoder of no layers.
        self.memory_norm = nn.LayerNorm(config.channels) if config.pre_norm else nn.Identity()
        self.query_embed = nn.Embedding(config.queries, config.channels)
        self.decoder = TransformerDecoder(
            config.channels,
            config.attention_heads,
            config.feedforward,
            config.layers,
            config.dropout,
            config.pre_norm,
        )
        self.class_embed = nn.Linear(config.channels, classes + 1)
        self.mask_embed = MLP(config.channels, config.channels, config.mask_channels, layers=3)

    def forward(self, pyramid: list[Tensor], all_layers: bool) -> list[tuple[Tensor, Tensor]]:
        """P2..P5 → per layer (or the last only) logits (B, Q, K + 1) and (B, Q, H/4, W/4)."""
        decoded = torch.stack(
            self._decode(pyramid)[slice(None) if all_layers else slice(-1, None)]
        )
        masks = self._masks(self.pixel_decoder(pyramid), self.mask_embed(decoded))
        return list(zip(self.class_embed(decoded), masks, strict=True))

    def _masks(self, features: Tensor, embeddings: Tensor) -> Tensor:
        """Mask embeddings (L, B, Q, E) of all layers → mask logits (L, B, Q, H/4, W/4)."""
        layers, _, queries, _ = embeddings.shape
        masks = self.pixel_decoder.mask_logits(features, embeddings.transpose(0, 1).flatten(1, 2))
        return masks.unflatten(1, (layers, queries)).transpose(0, 1)

    def _decode(self, pyramid: list[Tensor]) -> list[Tensor]:
        """The queries (B, Q, C) after each decoder layer."""
        memory = self.input_proj(pyramid[-1])
        height, width = memory.shape[-2:]
        position = sine_position(height, width, memory.shape[1], memory.device)
        return self.decoder(
            self.memory_norm(memory.flatten(2).transpose(1, 2)),
            position.flatten(1).T[None].to(memory.dtype),
            self.query_embed.weight,
        )

    def divisors(self, labels: list[Tensor]) -> dict[str, float]:
        """``truths``: classes present, summed over the images; ``queries``: the class weights of
        their queries; ``pixels``: those of the pixel loss.
        """
        config, middle = self.config, self.config.ignored == 'excluded'
        truths = weight = pixels = 0.0
        for label in labels:
            truths += int((class_counts(label) > 0).sum())
            seen = class_counts(sampled(label, config.loss_stride, config.loss_stride, middle))
            matched = min(config.queries, int((seen > 0).sum()))
            weight += matched + config.loss_weights.no_object * (config.queries - matched)
            if config.loss_weights.pixel:
                pixels += int(class_counts(sampled(label, 4, 4, middle)).sum())
        return {'truths': truths, 'queries': weight, 'pixels': pixels}

    def losses(
        self,
        pyramid: list[Tensor],
        labels: list[Tensor],
        sizes: Tensor,
        divisors: dict[str, float] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted ``label``, ``mask``, ``dice`` losses and, where it has a weight, ``pixel``;
        ``labels``: a (H, W) id map per image; ``divisors`` as :meth:`divisors` gives them.

        Labels are 255 in the padding, or end where it begins, so that ``sizes`` adds nothing.
        """
        config, weights = self.config, self.config.loss_weights
        divisors = divisors or at_least_one(self.divisors(labels))
        full, size, small = (_size(pyramid, stride) for stride in (1, config.loss_stride, 4))
        labels = [padded(label, full) for label in labels]
        targets = [mask_target(label, size, small, config.ignored) for label in labels]
        decoded = torch.stack(self._decode(pyramid))
        class_logits, embeddings = self.class_embed(decoded), self.mask_embed(decoded)
        features = self.pixel_decoder(pyramid)
        # Of all queries few are matched, and unless others have a loss, only they need gradients.
        matched_only = not weights.pixel
        if matched_only:
            masks = self.pixel_decoder.constant_masks(features, embeddings)
        else:
            masks = self._masks(features, embeddings)
        matches = match_layers(class_logits, masks, targets, weights, config.matching)
        images = single_images(features)
        matched = [
            self.pixel_decoder.mask_logits(image, embeddings[layers, i, queries][None])[0]
            if matched_only
            else masks[layers, i, queries]
            for i, (image, (layers, queries, _)) in enumerate(zip(images, matches, strict=True))
        ]
        terms = mask_set_losses(
            class_logits,
            matched,
            targets,
            matches,
            weights,
            divisors['truths'],
            divisors['queries'],
        )
        if weights.pixel:
            terms['pixel'] = weights.pixel * pixel_loss(
                masks, targets, matches, divisors['pixels']
            )
        return terms

    def scores(self, pyramid: list[Tensor], stride: int = 1) -> Tensor:
        """Class scores Σ_q p_q(class) · mask_q: (B, K, H / stride, W / stride), float.

        In the official order: mask logits are upsampled, then summed over the queries.
        """
        return torch.cat(list(self._score_strips(pyramid, stride)), 2)

    def predict(self, pyramid: list[Tensor], sizes: Tensor) -> Tensor:
        """Class map (B, H/s, W/s) uint8, s the output stride; in the padding it means nothing."""
        strips = self._score_strips(pyramid, self.config.output_stride)
        # The best of neighbours in memory is found twice as fast as over far ones.
        best = [s.permute(0, 2, 3, 1).contiguous().argmax(3).to(torch.uint8) for s in strips]
        return torch.cat(best, 1)

    def predict_with_confidence(
        self, pyramid: list[Tensor], sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`predict`, and the score of the class, (B, H/s, W/s) float32.

        A score is a sum over the queries and may exceed 1; its confidence is 1 then.
        """
        strips = self._score_strips(pyramid, self.config.output_stride)
        scores, classes = zip(*(strip.float().max(1) for strip in strips), strict=True)
        return torch.cat(classes, 1).to(torch.uint8), torch.cat(scores, 1).clamp(max=1)

    def _score_strips(self, pyramid: list[Tensor], stride: int) -> Iterator[Tensor]:
        """:meth:`scores` in strips of rows, so that the upsampled masks of all queries, 100 MB for
        a small image, need not go through main memory; in one piece for the exported program.
        """
        class_logits, masks = self(pyramid, all_layers=False)[-1]
        probability = class_logits.softmax(-1)[..., :-1].transpose(1, 2)
        height, width = _size(pyramid, stride)
        rows = masks.shape[2]
        step = rows if torch.compiler.is_exporting() else _STRIP
        factor = height // rows  # 1, 2 or 4
        for first in range(0, rows, step):
            last = min(first + step, rows)
            above, below = max(first - 1, 0), min(last + 1, rows)  # what bilinear weights reach
            strip = masks[:, :, above:below]
            if factor > 1:
                size = ((below - above) * factor, width)
                strip = F.interpolate(strip, size=size, mode='bilinear', align_corners=False)
            strip = strip[:, :, (first - above) * factor : (last - above) * factor].sigmoid()
            yield (probability @ strip.flatten(2)).unflatten(2, (-1, width))


def _size(pyramid: list[Tensor], stride: int) -> tuple[int, int]:
    """Height and width of the input at a stride; P2 has stride 4."""
    height, width = pyramid[0].shape[-2:]
    return height * 4 // stride, width * 4 // stride
