# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trained models as teachers: what they see in a batch of images, and what of it is certain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import DETECTION, UNKNOWN
from unidrive_training.engine.checkpoint import load_trained_model
from unidrive_training.evaluation.checkpoint_predictor import prediction
from unidrive_training.models.multitask import MultiTaskModel


@dataclass(frozen=True)
class Thresholds:
    """Boxes of a lower score are left out; mask pixels of a lower confidence become 255."""

    box_score: float
    mask_confidence: float

    def of(self, task: str) -> float:
        """That of a task's labels."""
        return self.box_score if task == 'detection' else self.mask_confidence


@dataclass
class PseudoLabels:
    """What one image got.

    ``boxes``: labels in Scalabel form, ``None`` without a detector; ``masks``: task → (H, W) uint8
    class ids; ``facts``: task → how sure the teacher was.
    """

    boxes: list[dict[str, Any]] | None = None
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Teacher:
    """A trained model and the tasks that it labels.

    ``classes``: names of the detection classes that it was taught. ``sha256``: of its weights.
    """

    name: str
    sha256: str
    model: MultiTaskModel
    input_size: tuple[int, int]
    tasks: tuple[str, ...]
    classes: list[str]
    bfloat16: bool

    @classmethod
    def load(cls, path: Path, tasks: tuple[str, ...], device: str) -> Teacher:
        """The averaged model of a run folder or checkpoint, without the heads it does not need.

        Raises UserError when it has no head for one of the tasks.
        """
        model, config, facts = load_trained_model(path)
        for task in tasks:
            if task not in model.heads:
                has = ', '.join(model.heads)
                raise UserError(f'--teacher {task}={path}: this model has only {has}')
        sha256 = _sha256(model.state_dict())
        for task in set(model.heads) - set(tasks):
            del model.heads[task]
        model.fold()
        model = model.to(device).to(memory_format=torch.channels_last)
        classes = list(facts.get('annotated') or DETECTION.names)
        # No faster on most CPUs.
        bfloat16 = config.precision == 'bfloat16' and device.startswith('cuda')
        return cls(config.name, sha256, model, config.input_size, tasks, classes, bfloat16)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """What :meth:`MultiTaskModel.predict` says about (B, H, W, 3) images, on the CPU."""
        device = self.model.mean.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            outputs = self.model.predict(images.to(device), confidence=True)
        return {name: value.cpu() for name, value in outputs.items()}

    def label(
        self,
        labels: PseudoLabels,
        tasks: Sequence[str],
        outputs: dict[str, Tensor],
        row: int,
        image_size: tuple[int, int],
        thresholds: Thresholds,
    ) -> None:
        """Add to an image's ``labels`` what ``outputs`` say in their ``row`` about ``tasks``."""
        box = Letterbox(image_size, self.input_size)
        found = prediction(outputs, row, box, thresholds.box_score)
        for task in [task for task in self.tasks if task in tasks]:
            if task == 'detection':
                labels.boxes = self._boxes(found.boxes, found.scores, found.class_ids)
                scores = [label['attributes']['score'] for label in labels.boxes]
                mean = round(float(np.mean(scores)), 4) if scores else None
                labels.facts[task] = {'boxes': len(scores), 'confidence': mean}
            else:
                mask = getattr(found, task)
                confidence = box.invert_mask(outputs[f'{task}_confidence'][row].numpy())
                certain = confidence >= thresholds.mask_confidence
                labels.masks[task] = np.where(certain, mask, np.uint8(UNKNOWN))
                labels.facts[task] = {
                    'kept': round(float(certain.mean()), 4),
                    'confidence': round(float(confidence.mean(dtype=np.float64)), 4),
                }

    def _boxes(self, boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray) -> list[dict]:
        """As Scalabel labels; without those in the padding and of classes it was not taught."""
        labels = []
        for (x1, y1, x2, y2), score, class_id in zip(
            boxes.astype(float).round(2).tolist(), scores.tolist(), class_ids, strict=True
        ):
            category = DETECTION.names[class_id]
            if x2 > x1 and y2 > y1 and category in self.classes:
                labels.append(
                    {
                        'id': str(len(labels)),
                        'category': category,
                        'attributes': {
                            'pseudo': True,
                            'score': round(score, 4),
                            'teacher': self.name,
                        },
                        'box2d': {'x1': x1, 'y1': y1, 'x2': x2, 'y2': y2},
                    }
                )
        return labels


def load_teachers(paths: dict[str, Path], device: str) -> list[Teacher]:
    """The models of a task → path table; one that is named for several tasks is loaded once."""
    tasks_of: dict[Path, list[str]] = {}
    for task, path in paths.items():
        tasks_of.setdefault(path.resolve(), []).append(task)
    return [Teacher.load(path, tuple(tasks), device) for path, tasks in tasks_of.items()]


def _sha256(weights: dict[str, Tensor]) -> str:
    """Of names and values: what a teacher says depends on them, not on the file they are in."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
