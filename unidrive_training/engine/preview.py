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
from unidrive_training.evaluation.checkpoint_predictor import prediction
from unidrive_training.models.multitask import MultiTaskModel


@torch.no_grad()
def draw_predictions(
    model: MultiTaskModel, images: Tensor, score_threshold: float
) -> list[np.ndarray]:
    """One (H, W, 3) uint8 overlay per image of (B, H, W, 3) uint8; the model is left in eval."""
    outputs = model.eval().predict(images.to(model.mean.device))
    box = Letterbox(images.shape[1:3], images.shape[1:3])
    return [
        draw_overlay(image, prediction(outputs, row, box, score_threshold), BDD100K_LABELS)
        for row, image in enumerate(images.cpu().numpy())
    ]
