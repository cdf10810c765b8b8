# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the model sees while it trains, for TensorBoard."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction, StageTimes
from unidrive_training.models.multitask import MultiTaskModel


@torch.no_grad()
def draw_predictions(
    model: MultiTaskModel, images: Tensor, score_threshold: float
) -> list[np.ndarray]:
    """One (H, W, 3) uint8 overlay per image of (B, H, W, 3) uint8; the model is left in eval."""
    outputs = {name: value.cpu().numpy() for name, value in model.eval().predict(images).items()}
    pictures = []
    for row, image in enumerate(images.cpu().numpy()):
        output = {name: value[row] for name, value in outputs.items()}
        prediction = _prediction(output, image.shape[:2], score_threshold)
        pictures.append(draw_overlay(image, prediction, BDD100K_LABELS))
    return pictures


def _prediction(
    output: dict[str, np.ndarray], size: tuple[int, int], score_threshold: float
) -> Prediction:
    scores = output.get('scores', np.zeros(0, np.float32))
    shown = scores >= score_threshold
    box = Letterbox(size, size)
    masks = {task: box.invert_mask(output[task]) for task in output if task in BDD100K_LABELS}
    return Prediction(
        image_size=size,
        boxes=output.get('boxes', np.zeros((0, 4), np.float32))[shown],
        scores=scores[shown],
        class_ids=output.get('class_ids', np.zeros(0, np.int64))[shown],
        semantic=masks.get('semantic'),
        drivable=masks.get('drivable'),
        timing=StageTimes(0.0, 0.0, 0.0),
    )
