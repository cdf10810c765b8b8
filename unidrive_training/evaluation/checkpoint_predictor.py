# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint as a predictor, to score it without exporting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.predictor import Prediction
from unidrive_training.engine.checkpoint import load_trained_model


class CheckpointPredictor:
    """Runs the averaged model of a run folder; ``predict`` as in the bundle's Predictor."""

    def __init__(self, path: Path, device: str = 'cpu') -> None:
        model, config, _ = load_trained_model(path)
        self.device = device
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.input_size = config.input_size
        self.labels = {task: BDD100K_LABELS[task] for task in self.model.heads}

    def predict(self, rgb: np.ndarray) -> Prediction:
        """(H, W, 3) uint8 RGB of any size → results in the image's frame, all scores kept."""
        box = Letterbox(rgb.shape[:2], self.input_size)
        images = torch.from_numpy(box.apply_image(rgb))[None].to(self.device)
        return prediction(self.model.predict(images), 0, box)


def prediction(
    outputs: dict[str, Tensor], row: int, box: Letterbox, score_threshold: float = 0.0
) -> Prediction:
    """What the outputs of :meth:`MultiTaskModel.forward` say about one image of the batch."""
    output = {name: value[row].cpu().numpy() for name, value in outputs.items()}
    scores = output.get('scores', np.zeros(0, np.float32))
    kept = scores >= score_threshold
    masks = {task: box.invert_mask(output[task]) for task in output if task in BDD100K_LABELS}
    return Prediction(
        image_size=box.image_size,
        boxes=box.invert_boxes(output.get('boxes', np.zeros((0, 4), np.float32))[kept]),
        scores=scores[kept],
        class_ids=output.get('class_ids', np.zeros(0, np.int64))[kept],
        semantic=masks.get('semantic'),
        drivable=masks.get('drivable'),
    )
