# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Boxes that a model gives twice are left out, as torchvision's NMS does."""

import numpy as np
import pytest
import yaml
from tiny_bundle import street, write_tiny_bundle

from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.duplicates import without_duplicates
from unidrive_perception.predictor import Predictor


def random_boxes(seed, count=60):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 40, (count, 2))], 1)
    return boxes.astype(np.float32), rng.integers(0, 3, count)


@pytest.mark.parametrize('iou', [0.2, 0.5, 0.7])
@pytest.mark.parametrize('seed', range(5))
def test_as_torchvision_has_it(seed, iou):
    torch = pytest.importorskip('torch')
    from torchvision.ops import batched_nms

    boxes, class_ids = random_boxes(seed)
    scores = torch.linspace(1, 0, len(boxes))
    kept = batched_nms(torch.from_numpy(boxes), scores, torch.from_numpy(class_ids), iou)
    np.testing.assert_array_equal(
        np.flatnonzero(without_duplicates(boxes, class_ids, iou)), kept.sort().values
    )


def test_no_boxes():
    assert without_duplicates(np.zeros((0, 4), np.float32), np.zeros(0, int), 0.5).shape == (0,)


def with_duplicate_iou(folder, value):
    """A tiny bundle whose manifest asks for it."""
    write_tiny_bundle(folder)
    manifest = folder / 'manifest.yaml'
    content = yaml.safe_load(manifest.read_text())
    content['tasks']['detection']['duplicate_iou'] = value
    manifest.write_text(yaml.safe_dump(content))
    return folder


def test_the_bundle_says_whether(tmp_path, monkeypatch):
    bundle = Bundle.load(with_duplicate_iou(tmp_path / 'once', 0.5))
    predictor = Predictor(bundle, threads=1)
    run = predictor._backend.run

    def twice(batch, tasks):
        return {
            name: np.repeat(values, 2, 1) if name in ('boxes', 'scores', 'class_ids') else values
            for name, values in run(batch, tasks).items()
        }

    monkeypatch.setattr(predictor._backend, 'run', twice)
    assert predictor.predict(street()).class_ids.tolist() == [0, 2]
    monkeypatch.setattr(predictor, '_duplicate_iou', None)
    assert predictor.predict(street()).class_ids.tolist() == [0, 0, 2, 2]


def test_a_wrong_value_is_named(tmp_path):
    with pytest.raises(BundleError, match=r'duplicate_iou: must be a number from 0 to 1, not 2'):
        Bundle.load(with_duplicate_iou(tmp_path / 'wrong', 2))
