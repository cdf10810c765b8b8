# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A model in training, or a checkpoint of it, as a predictor: to score it without exporting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unidrive_perception.duplicates import without_duplicates
from unidrive_perception.geometry import Letterbox, Size
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.predictor import Prediction
from unidrive_training.engine.checkpoint import load_trained_model
from unidrive_training.models.multitask import MultiTaskModel

_CUDA_BATCH = 8


class ModelPredictor:
    """Runs a model at one input size; ``predict`` as in the bundle's Predictor.

    The model is left in evaluation mode.
    """

    def __init__(
        self, model: MultiTaskModel, input_size: Size, duplicate_iou: float | None = None
    ) -> None:
        self.model = model.eval()
        self.input_size = input_size
        self.duplicate_iou = duplicate_iou
        self.labels = {task: BDD100K_LABELS[task] for task in model.heads}
        self.batch_size = _CUDA_BATCH if model.mean.is_cuda else 1

    def predict(self, rgb: np.ndarray) -> Prediction:
        """(H, W, 3) uint8 RGB of any size → results in the image's frame, all scores kept."""
        return self.predict_batch([rgb])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Up to ``batch_size`` images, each of any size."""
        boxes = [Letterbox(rgb.shape[:2], self.input_size) for rgb in images]
        # Always as many, so that how an image is computed does not depend on those beside it.
        batch = np.zeros((self.batch_size, *self.input_size, 3), np.uint8)
        for row, (box, rgb) in enumerate(zip(boxes, images, strict=True)):
            batch[row] = box.apply_image(rgb)
        outputs = self.model.predict(torch.from_numpy(batch).to(self.model.mean.device))
        outputs = {name: value.cpu() for name, value in outputs.items()}
        return [
            prediction(outputs, row, box, duplicate_iou=self.duplicate_iou)
            for row, box in enumerate(boxes)
        ]


class CheckpointPredictor(ModelPredictor):
    """Runs the averaged model of a run folder or checkpoint file."""

    def __init__(self, path: Path, device: str = 'cpu') -> None:
        model, self.config, self.facts = load_trained_model(path)
        model = model.to(device, memory_format=torch.channels_last)
        super().__init__(model, self.config.input_size, self.config.duplicate_iou)


def prediction(
    outputs: dict[str, Tensor],
    row: int,
    box: Letterbox,
    score_threshold: float = 0.0,
    duplicate_iou: float | None = None,
) -> Prediction:
    """What the outputs of :meth:`MultiTaskModel.forward` say about one image of the batch.

    As in the bundle's Predictor, boxes that lie in the padding are left out, and with
    ``duplicate_iou`` those that overlap a better one of their class more than that.
    """
    output = {name: value[row].cpu().numpy() for name, value in outputs.items()}
    scores = output.get('scores', np.zeros(0, np.float32))
    boxes = box.invert_boxes(output.get('boxes', np.zeros((0, 4), np.float32)))
    class_ids = output.get('class_ids', np.zeros(0, np.int64))
    kept = (scores >= score_threshold) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    if duplicate_iou is not None:
        best = np.flatnonzero(kept)
        kept[best] = without_duplicates(boxes[best], class_ids[best], duplicate_iou)
    masks = {task: box.invert_mask(output[task]) for task in output if task in BDD100K_LABELS}
    return Prediction(
        image_size=box.image_size,
        boxes=boxes[kept],
        scores=scores[kept],
        class_ids=class_ids[kept],
        semantic=masks.get('semantic'),
        drivable=masks.get('drivable'),
    )
