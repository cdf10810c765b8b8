# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Truth in pictures for people has no scores."""

import cv2
import numpy as np
import pytest

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.predictor import Prediction
from unidrive_training.data.bdd100k import Bdd100kWriter, read_split
from unidrive_training.engine import preview
from unidrive_training.evaluation import worst
from unidrive_training.evaluation.evaluate import Evaluation


class Blind:
    """Sees nothing."""

    labels, input_size = BDD100K_LABELS, (64, 96)

    def predict(self, rgb):
        nothing = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
        return Prediction(rgb.shape[:2], *nothing, None, None)


@pytest.fixture
def record(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((64, 96, 3), np.uint8))
    with Bdd100kWriter(tmp_path / 'data', 'val', annotated=['car']) as writer:
        box = {'boxes': np.array([[10.0, 10, 50, 40]], np.float32), 'class_ids': np.array([2])}
        writer.add('a', tmp_path / 'a.png', **box, ignored=np.array([False]))
    return read_split(tmp_path / 'data', 'val')[0]


@pytest.mark.parametrize('module', [preview, worst])
def test_truth_has_no_scores(record, tmp_path, monkeypatch, module):
    drawn = []
    monkeypatch.setattr(module, 'draw_overlay', lambda rgb, what, _: drawn.append(what) or rgb)
    if module is preview:
        preview.draw_subjects(Blind(), [record], 0.3)
    else:
        evaluation = Evaluation({}, {'detection': {'worst': [{'image': 'a', 'score': 0.0}]}})
        worst.write_worst_pictures(tmp_path, 'data', evaluation, Blind(), [record])
    truth = next(what for what in drawn if len(what.boxes))
    assert len(truth.boxes) == 1 and np.isnan(truth.scores).all()
