# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A training checkpoint as a predictor, to score it without exporting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unidrive_perception.geometry import Letterbox
from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.predictor import Prediction, StageTimes
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
        outputs = {k: v[0].cpu().numpy() for k, v in self.model.predict(images).items()}
        masks = {t: box.invert_mask(outputs[t]) for t in ('semantic', 'drivable') if t in outputs}
        return Prediction(
            image_size=rgb.shape[:2],
            boxes=box.invert_boxes(outputs.get('boxes', np.zeros((0, 4), np.float32))),
            scores=outputs.get('scores', np.zeros(0, np.float32)),
            class_ids=outputs.get('class_ids', np.zeros(0, np.int64)),
            semantic=masks.get('semantic'),
            drivable=masks.get('drivable'),
            timing=StageTimes(0.0, 0.0, 0.0),
        )
