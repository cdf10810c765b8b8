# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores against the numbers of the official toolkits."""

import json

import numpy as np
import pytest

from unidrive_perception.labels import DETECTION, DRIVABLE, SEMANTIC
from unidrive_training.cli import main
from unidrive_training.evaluation import cli as evaluation_cli
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.segmentation import (
    SegmentationEvaluator,
    SegmentationScores,
    drivable_bdd_confusion,
)


@pytest.fixture
def oracle(shared_data):
    folder = shared_data.parent / 'oracles' / 'metrics'
    if not folder.is_dir():
        pytest.skip(f'no reference numbers in {folder}')
    return folder


def confusion_of(table, truths, predictions):
    evaluator = SegmentationEvaluator(table)
    for truth, prediction in zip(truths, predictions, strict=True):
        evaluator.add(truth, prediction)
    return evaluator


def test_semantic_scores_equal_the_bdd100k_toolkit(oracle):
    inputs = np.load(oracle / 'seg_inputs.npz')
    expected = json.loads((oracle / 'expected.json').read_text())['bdd_sem_seg']
    scores = confusion_of(SEMANTIC, inputs['sem_gt'], inputs['sem_pred']).scores()
    assert scores.mean_iou * 100 == pytest.approx(expected['IoU'][1]['AVERAGE'], abs=1e-9)
    assert scores.pixel_accuracy * 100 == pytest.approx(expected['pAcc'], abs=1e-9)
    assert 'train' not in scores.iou  # absent from the truth: not in the mean
    for name, value in scores.iou.items():
        assert value * 100 == pytest.approx(expected['IoU'][0][name], abs=1e-9)


def test_drivable_scores_in_both_protocols(oracle):
    inputs = np.load(oracle / 'seg_inputs.npz')
    expected = json.loads((oracle / 'expected.json').read_text())
    evaluator = confusion_of(DRIVABLE, inputs['drv_gt'], inputs['drv_pred'])
    official = SegmentationScores.of(drivable_bdd_confusion(evaluator.confusion, 2), DRIVABLE)
    assert official.mean_iou * 100 == pytest.approx(
        expected['bdd_drivable']['IoU'][1]['AVERAGE'], abs=1e-9
    )
    assert evaluator.scores().mean_iou * 100 == pytest.approx(69.8429, abs=1e-4)


def test_toolkit_cases(shared_data):
    """The official toolkit's own test images and the figure its tests expect."""
    from unidrive_training.data.bdd100k import read_mask

    root = shared_data / 'bdd100k_toolkit_cases' / 'eval' / 'testcases' / 'seg'
    truths = sorted((root / 'gt').glob('*.png'))
    assert truths
    evaluator = confusion_of(
        SEMANTIC,
        [read_mask(path) for path in truths],
        [read_mask(root / 'pred' / path.name) for path in truths],
    )
    scores = evaluator.scores()
    assert scores.mean_iou * 100 == pytest.approx(61.73469387755102, abs=1e-9)
    assert scores.pixel_accuracy * 100 == pytest.approx(95.0, abs=1e-9)


def test_average_precision_equals_pycocotools_on_the_official_input(oracle):
    expected = json.loads((oracle / 'expected.json').read_text())['coco']
    truth = json.loads((oracle / 'det_gt_coco.json').read_text())
    found = json.loads((oracle / 'det_pred_coco.json').read_text())
    evaluator = DetectionEvaluator(DETECTION)

    def arrays(entries, image_id):
        chosen = [e for e in entries if e['image_id'] == image_id]
        boxes = np.array([e['bbox'] for e in chosen], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2] - 1  # to inclusive corners
        ids = np.array([e['category_id'] - 1 for e in chosen], int)
        return boxes, ids, chosen

    for image in truth['images']:
        boxes, ids, entries = arrays(truth['annotations'], image['id'])
        crowd = np.array([e['iscrowd'] for e in entries], bool)
        detections, labels, entries = arrays(found, image['id'])
        scores = np.array([e['score'] for e in entries])
        evaluator.add(boxes, ids, detections, scores, labels, crowd=crowd)
    scores = evaluator.scores()
    assert scores.ap == pytest.approx(expected['AP'], abs=1e-9)
    assert scores.ap50 == pytest.approx(expected['AP50'], abs=1e-9)
    assert scores.ap75 == pytest.approx(expected['AP75'], abs=1e-9)


def test_a_class_that_is_not_annotated_costs_no_precision():
    truth = np.array([[0, 0, 10, 10]], float)
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], float)
    ids, scores = np.array([2, 9]), np.array([0.5, 0.9])
    annotated = np.isin(DETECTION.names, ['car'])
    evaluator = DetectionEvaluator(DETECTION)
    evaluator.add(truth, np.array([2]), boxes, scores, ids, annotated=annotated)
    evaluator.add(truth, np.array([9]), truth, np.array([0.4]), np.array([9]))
    assert evaluator.scores().ap50 == pytest.approx(1.0)


@pytest.mark.parametrize('place', ['no/such/dir/scores.json', 'file/scores.json', '.'])
def test_scores_that_cannot_be_written_are_refused_before_the_evaluation(
    tmp_path, monkeypatch, capsys, place
):
    def evaluates(*_):
        raise AssertionError('the model was loaded')

    monkeypatch.setattr(evaluation_cli, '_load', evaluates)
    (tmp_path / 'file').touch()
    path = str(tmp_path / place)
    assert main(['evaluate', str(tmp_path), str(tmp_path), '--json', path]) == 2
    error = capsys.readouterr().err
    assert f'--json {tmp_path / place} cannot be written' in error and error.count('\n') == 1


def test_no_detection_scores_zero_and_no_truth_scores_nan():
    none = np.zeros((0, 4))
    evaluator = DetectionEvaluator(DETECTION)
    evaluator.add(none, none[:, 0], none, none[:, 0], none[:, 0])
    assert np.isnan(evaluator.scores().ap)
    evaluator.add(np.ones((1, 4)), np.array([2]), none, none[:, 0], none[:, 0])
    assert evaluator.scores().ap == 0.0
