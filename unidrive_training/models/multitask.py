# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The multi-task model: one backbone and pyramid, one head per task."""

from __future__ import annotations

import re
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS, UNKNOWN
from unidrive_training.models import (  # noqa: F401 (register)
    adapters,
    backbones,
    faster_rcnn,
    maskformer,
    semantic_fpn,
    sparse_rcnn,
)
from unidrive_training.models.fpn import FPN
from unidrive_training.models.language import (  # noqa: F401 (register)
    class_maps,
    l2v,
    post_prompting,
)
from unidrive_training.models.prompt_blocks import PromptBlocks, PromptConfig
from unidrive_training.models.registry import ADAPTERS, BACKBONES, HEADS, LANGUAGE
from unidrive_training.models.targets import Targets
from unidrive_training.models.tuning import TunableModel
from unidrive_training.typed import Typed

TASKS = tuple(BDD100K_LABELS)  # detection, semantic, drivable
_STRIDE = 32  # of the coarsest level


class FPNConfig(Typed):
    """Options of the pyramid."""

    channels: int = 256


class ModelConfig(Typed):
    """What the model is built from; each part is ``{name: …, options}``.

    A task without a head is absent, and so are the optional parts: ``prompts`` (Pro-tuning's
    blocks after the stages of the backbone), ``adapter`` (convolutions before or after the FPN)
    and ``language`` (an adapter on P5 that knows the class names). ``sync_batchnorm``: statistics
    of all processes together.
    """

    backbone: dict[str, Any]
    prompts: PromptConfig | None = None
    fpn: FPNConfig = FPNConfig()
    adapter: dict[str, Any] | None = None
    language: dict[str, Any] | None = None
    heads: dict[Literal[TASKS], dict[str, Any]]
    sync_batchnorm: bool = False


class MultiTaskModel(TunableModel):
    """Images in; losses (training) or predictions out.

    Images are (B, H, W, 3) uint8 RGB, letterboxed, H and W multiples of 32; normalisation is
    inside. Where the images of a batch differ in size, ``sizes`` (B, 2) are their heights and
    widths; what lies right of them and below is padding.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = config.fpn.channels
        self.tasks = [task for task in TASKS if task in config.heads]
        self.backbone = BACKBONES.build(config.backbone)
        if config.prompts:
            self.backbone.prompts = PromptBlocks(config.prompts, self.backbone.prompt_channels)
        self.fpn = FPN(self.backbone.out_channels, channels)
        self.adapter = self._adapter(config) if config.adapter else None
        self.language = self._language(config) if config.language else None
        self.heads = nn.ModuleDict({task: self._head(task, config) for task in self.tasks})
        if config.sync_batchnorm:
            self.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(self.backbone)
        self.register_buffer('mean', torch.tensor(self.backbone.mean), persistent=False)
        self.register_buffer('std', torch.tensor(self.backbone.std), persistent=False)

    @staticmethod
    def _head(task: str, config: ModelConfig) -> nn.Module:
        spec = config.heads[task]
        suited = HEADS.of(spec).tasks
        if task not in suited:
            raise UserError(f'head {spec["name"]!r} is for {" or ".join(suited)}, not for {task}')
        classes = len(BDD100K_LABELS[task])
        return HEADS.build(spec, in_channels=config.fpn.channels, classes=classes)

    def _adapter(self, config: ModelConfig) -> nn.Module:
        # The class of a name says on which side of the FPN it sits, and so its channels.
        before = ADAPTERS.of(config.adapter).before_fpn
        channels = self.backbone.out_channels if before else [config.fpn.channels] * 4
        return ADAPTERS.build(config.adapter, channels=channels)

    def _language(self, config: ModelConfig) -> nn.Module:
        tables = {task: BDD100K_LABELS[task] for task in self.tasks}
        language = LANGUAGE.build(config.language, channels=config.fpn.channels, tables=tables)
        if language.needs_tokens:
            if not hasattr(self.backbone, 'attention_pool'):
                raise UserError(
                    f'language {config.language["name"]!r} needs the attention pool of a CLIP '
                    f'backbone; backbone {config.backbone["name"]!r} has none, use clip_rn50'
                )
            self.backbone.add_pooling()
            theirs, ours = language.prompting.text.embed_dim, self.backbone.feature_channels
            if theirs != ours:
                raise UserError(
                    f'language {config.language["name"]!r}: texts of {theirs} numbers cannot be '
                    f'compared with image tokens of {ours}; use the two halves of one CLIP'
                )
        return language

    def necks(self) -> list[nn.Module]:
        """FPN, adapter and language adapter."""
        return [part for part in (self.fpn, self.adapter, self.language) if part is not None]

    def task_heads(self) -> list[nn.Module]:
        """One head per task."""
        return list(self.heads.values())

    def pyramid(self, images: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
        """(B, H, W, 3) uint8 → [P2, P3, P4, P5], adapted."""
        normalised = (images.float() - self.mean) / self.std
        if sizes is not None:
            normalised = normalised * _content(sizes, images.shape[1:3])[..., None]
        features = self.backbone(normalised.permute(0, 3, 1, 2))
        tokens = None
        if self.language is not None and self.language.needs_tokens:
            tokens = self.backbone.attention_pool(features[-1])
        if self.adapter is not None and self.adapter.before_fpn:
            features = self.adapter(features)
        pyramid = self.fpn(features)
        if self.adapter is not None and not self.adapter.before_fpn:
            pyramid = self.adapter(pyramid)
        return pyramid if self.language is None else self.language(pyramid, tokens)

    def divisors(self, targets: Targets) -> dict[str, dict[str, float]]:
        """``task → {name: number}``: what the losses of a batch are divided by."""
        return {t: h.divisors(list(targets.of(t).values())) for t, h in self.heads.items()}

    def losses(
        self,
        images: Tensor,
        targets: Targets,
        sizes: Tensor | None = None,
        divisors: dict[str, dict[str, float]] | None = None,
    ) -> dict[str, Tensor]:
        """``task/term`` → weighted loss, for the tasks that the batch has labels for.

        A head sees only the images that are labelled for its task. Where a batch is one part of
        several, ``divisors`` are those of the whole: the losses of the parts then add up to its
        own.
        """
        pyramid = self.pyramid(images, sizes)
        sizes = _full_sizes(images) if sizes is None else sizes
        result = {}
        for task, head in self.heads.items():
            labels = targets.of(task)
            if not labels:
                continue
            rows, chosen = list(labels), pyramid
            if rows != list(range(len(images))):
                chosen = [level[rows] for level in pyramid]
            terms = head.losses(
                chosen, list(labels.values()), sizes[rows], (divisors or {}).get(task)
            )
            result |= {f'{task}/{name}': value for name, value in terms.items()}
        return result

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """boxes (B, N, 4), scores and class_ids (B, N), semantic and drivable (B, h, w) uint8.

        The exported program.
        """
        return self._predict(images, None)

    @torch.no_grad()
    def predict(
        self, images: Tensor, sizes: Tensor | None = None, confidence: bool = False
    ) -> dict[str, Tensor]:
        """As :meth:`forward`; masks are 255 in the padding. With ``confidence`` also
        semantic_confidence and drivable_confidence (B, h, w) float32: the largest class score of
        each pixel, 0..1, and 0 in the padding.

        Images of one size go through the model together, cut down to it, so that a result depends
        neither on the padding nor on the other images.
        """
        if sizes is None:
            return self._predict(images, None, confidence)
        rows, parts = [], []
        for size in sizes.unique(dim=0):
            rows.append((sizes == size).all(1).nonzero()[:, 0])
            height, width = (-(-int(side) // _STRIDE) * _STRIDE for side in size)
            part = self._predict(images[rows[-1], :height, :width], sizes[rows[-1]], confidence)
            for name in part.keys() - {'boxes', 'scores', 'class_ids'}:
                part[name] = _on_canvas(part[name], height, size, images.shape[1:3])
            parts.append(part)
        order = torch.cat(rows).argsort()
        return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}

    def _predict(
        self, images: Tensor, sizes: Tensor | None, confidence: bool = False
    ) -> dict[str, Tensor]:
        pyramid = self.pyramid(images, sizes)
        sizes = _full_sizes(images) if sizes is None else sizes
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            if task == 'detection':
                prediction = head.predict(pyramid, sizes)
                outputs |= dict(zip(('boxes', 'scores', 'class_ids'), prediction, strict=True))
            elif confidence:
                prediction = head.predict_with_confidence(pyramid, sizes)
                outputs |= dict(zip((task, f'{task}_confidence'), prediction, strict=True))
            else:
                outputs[task] = head.predict(pyramid, sizes)
        return outputs

    def fold(self) -> None:
        """Make what the texts say constants: no text encoder is left."""
        if self.language is not None:
            self.language.fold()


def _full_sizes(images: Tensor) -> Tensor:
    """(B, 2) heights and widths of (B, H, W, 3) images without padding."""
    size = torch.tensor(images.shape[1:3], dtype=torch.float32, device=images.device)
    return size.expand(images.shape[0], 2)


def _content(sizes: Tensor, canvas: tuple[int, int]) -> Tensor:
    """(B, H, W) bool: not padding."""
    rows, columns = (torch.arange(side, device=sizes.device) for side in canvas)
    inside_rows, inside_columns = rows < sizes[:, :1], columns < sizes[:, 1:]
    return inside_rows[:, :, None] & inside_columns[:, None]


def _on_canvas(mask: Tensor, height: int, size: Tensor, canvas: tuple[int, int]) -> Tensor:
    """A (B, h, w) mask of ``height`` input rows at the canvas's size; 255 outside of ``size``, a
    confidence 0.
    """
    stride = height // mask.shape[1]
    fill = 0 if mask.is_floating_point() else UNKNOWN
    full = mask.new_full((len(mask), *(side // stride for side in canvas)), fill)
    rows, columns = (-(-int(side) // stride) for side in size)
    full[:, :rows, :columns] = mask[:, :rows, :columns]
    return full


def part_of(weight: str) -> str:
    """``backbone``, ``fpn``, ``heads.detection``, …: the part that a weight's name begins with."""
    return re.match(r'heads\.\w+|\w+', weight)[0]
