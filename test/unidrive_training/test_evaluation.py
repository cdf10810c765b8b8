# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores against the numbers of the official toolkits."""

import json

import numpy as np
import pytest

from unidrive_perception.labels import DETECTION, DRIVABLE, SEMANTIC
from unidrive_training.data.bdd100k import read_mask
from unidrive_training.evaluation.detection import DetectionEvaluator
from unidrive_training.evaluation.segmentation import SegmentationEvaluator, drivable_extras

CAR, TRUCK, SIGN = (DETECTION.names.index(name) for name in ('car', 'truck', 'traffic sign'))
NONE = len(DETECTION)  # last row and column of the confusion


@pytest.fixture
def oracle(oracles):
    return oracles / 'metrics'


@pytest.fixture
def expected(oracle):
    return json.loads((oracle / 'expected.json').read_text())


def evaluator_of(table, truths, predictions):
    evaluator = SegmentationEvaluator(table)
    for truth, prediction in zip(truths, predictions, strict=True):
        evaluator.add(truth, prediction)
    return evaluator


def percent(value):
    return pytest.approx(value / 100, abs=1e-11)


def test_semantic_scores_equal_the_bdd100k_toolkit(oracle, expected):
    inputs, official = np.load(oracle / 'seg_inputs.npz'), expected['bdd_sem_seg']
    scores = evaluator_of(SEMANTIC, inputs['sem_gt'], inputs['sem_pred']).scores()
    assert scores.mean_iou == percent(official['IoU'][1]['AVERAGE'])
    assert scores.pixel_accuracy == percent(official['pAcc'])
    assert scores.frequency_weighted_iou == percent(official['fIoU'])
    assert scores.mean_precision == percent(official['Acc'][1]['AVERAGE'])
    assert scores.mean_accuracy == pytest.approx(expected['plain_sem']['macc'], abs=1e-12)
    assert 'train' not in scores.iou  # absent from the truth: not in the mean
    for name, value in scores.iou.items():
        assert value == percent(official['IoU'][0][name])
        assert scores.precision[name] == percent(official['Acc'][0][name])


@pytest.mark.parametrize(
    ('inputs', 'bdd'), [('drv', 'bdd_drivable'), ('drv255', 'bdd_drivable_gt_with_255')]
)
def test_drivable_scores_in_both_protocols(oracle, expected, inputs, bdd):
    maps, official = np.load(oracle / 'seg_inputs.npz'), expected[bdd]
    evaluator = evaluator_of(DRIVABLE, maps[f'{inputs}_gt'], maps[f'{inputs}_pred'])
    extras = drivable_extras(evaluator.confusion, DRIVABLE)
    assert extras['bdd_mean_iou'] == percent(official['IoU'][1]['AVERAGE'])
    assert extras['bdd_pixel_accuracy'] == percent(official['pAcc'])
    assert extras['bdd_frequency_weighted_iou'] == percent(official['fIoU'])
    plain, scores = expected[f'plain_{inputs}'], evaluator.scores()
    assert scores.mean_iou == pytest.approx(plain['miou_nanmean'], abs=1e-12)
    assert scores.pixel_accuracy == pytest.approx(plain['pacc'], abs=1e-12)
    assert scores.mean_accuracy == pytest.approx(plain['macc'], abs=1e-12)
    road = np.array(plain['hist_rows_gt'])
    either = road.sum() - road[2, 2]
    assert extras['drivable_iou'] == pytest.approx(road[:2, :2].sum() / either, abs=1e-12)


@pytest.fixture
def toolkit_cases(shared_data):
    """The official toolkit's own test images, with the figures that its tests expect."""
    return shared_data / 'bdd100k_toolkit_cases' / 'eval' / 'testcases' / 'seg'


def test_the_toolkits_own_case(toolkit_cases):
    truth, prediction = (read_mask(toolkit_cases / part / 'a.png') for part in ('gt', 'pred'))
    scores = evaluator_of(SEMANTIC, [truth], [prediction]).scores()
    assert scores.mean_iou == percent(61.73469387755102)
    assert scores.frequency_weighted_iou == percent(90.91836734693878)
    assert scores.pixel_accuracy == percent(95.0)


def test_an_image_without_a_prediction_is_all_missed_as_in_the_toolkit(toolkit_cases):
    truths = [read_mask(toolkit_cases / 'gt+' / name) for name in ('a.png', 'b.png')]
    predictions = [read_mask(toolkit_cases / 'pred' / 'a.png'), None]
    scores = evaluator_of(SEMANTIC, truths, predictions).scores()
    assert scores.mean_iou == percent(31.911057692307693)


def official_detections(oracle, rank=0, ranks=1):
    """An evaluator filled with COCO's own files, as one process of several would."""
    truth = json.loads((oracle / 'det_gt_coco.json').read_text())
    found = json.loads((oracle / 'det_pred_coco.json').read_text())
    evaluator = DetectionEvaluator(DETECTION)

    def arrays(entries, image_id, last):
        chosen = [e for e in entries if e['image_id'] == image_id]
        boxes = np.array([e['bbox'] for e in chosen], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2] - 1  # to inclusive corners
        ids = np.array([e['category_id'] - 1 for e in chosen], int)
        return boxes, ids, np.array([e[last] for e in chosen])

    for number, image in list(enumerate(truth['images']))[rank::ranks]:
        boxes, ids, crowd = arrays(truth['annotations'], image['id'], 'iscrowd')
        detections, labels, scores = arrays(found, image['id'], 'score')
        evaluator.add(boxes, ids, detections, scores, labels, crowd.astype(bool), number=number)
    return evaluator


def test_average_precision_equals_pycocotools_on_the_official_input(oracle, expected):
    coco = expected['coco']
    scores, curves = official_detections(oracle).scores_and_curves()
    names = {'ap': 'AP', 'ap50': 'AP50', 'ap75': 'AP75', 'ar_100': 'AR100'}
    names |= {'ap_small': 'APs', 'ap_medium': 'APm', 'ap_large': 'APl'}
    for ours, theirs in names.items():
        assert getattr(scores, ours) == pytest.approx(coco[theirs], abs=1e-9), ours
    per_class = {n: v for n, v in expected['coco_per_class_AP'].items() if v is not None}
    assert scores.ap_per_class == pytest.approx(per_class, abs=1e-9)
    assert scores.truths['car'] == 64 and 'train' not in scores.truths
    assert {len(curve) for curve in curves.values()} == {101}
    for name, curve in curves.items():
        assert np.mean(curve) == pytest.approx(scores.ap50_per_class[name], abs=1e-12)


def boxes(*corners):
    return np.array(corners, float).reshape(-1, 4)


def test_a_class_that_is_not_annotated_costs_no_precision():
    truth = boxes([0, 0, 10, 10])
    found = boxes([0, 0, 10, 10], [20, 20, 40, 40])
    annotated = np.isin(DETECTION.names, ['car'])
    evaluator = DetectionEvaluator(DETECTION)
    ids, scores = np.array([CAR, SIGN]), np.array([0.5, 0.9])
    assert evaluator.add(truth, ids[:1], found, scores, ids, annotated=annotated) == 1.0
    evaluator.add(truth, np.array([SIGN]), truth, np.array([0.4]), np.array([SIGN]))
    assert evaluator.scores().ap50 == pytest.approx(1.0)


def test_no_detection_scores_zero_for_every_class_and_no_truth_scores_nan():
    none, no_ids = boxes(), np.zeros(0, int)
    evaluator = DetectionEvaluator(DETECTION)
    assert np.isnan(evaluator.scores().ap)
    assert np.isnan(evaluator.add(none, no_ids, none, no_ids, no_ids))
    assert np.isnan(evaluator.scores().ap) and evaluator.scores().ap_per_class == {}
    assert evaluator.add(boxes([1, 1, 9, 9]), np.array([CAR]), none, no_ids, no_ids) == 0
    scores, curves = evaluator.scores_and_curves()
    assert scores.ap == scores.ap_small == scores.ar_100 == 0
    assert np.isnan(scores.ap_large)  # none to be found
    assert scores.ap50_per_class == {'car': 0} and curves == {'car': [0.0] * 101}


def test_small_objects_are_those_below_32_by_32_pixels_of_the_image():
    evaluator, score = DetectionEvaluator(DETECTION), np.ones(1)
    for corners, found in (([0, 0, 30, 30], True), ([0, 0, 31.5, 31.5], False)):
        truth = boxes(corners)
        evaluator.add(
            truth, np.array([CAR]), truth[: int(found)], score[: int(found)], [CAR][:found]
        )
    scores = evaluator.scores()
    assert (scores.ap_small, scores.ap_medium) == pytest.approx((1.0, 0.0))  # 31² and 32.5²


def test_confusion_and_score_of_an_image_in_the_operating_point():
    truth = boxes([0, 0, 99, 99], [200, 0, 299, 99], [400, 0, 499, 99], [600, 0, 999, 99])
    truth_ids = np.array([CAR, CAR, SIGN, CAR])
    crowd = np.array([False, False, False, True])
    found = boxes(
        [0, 0, 99, 90],  # the first car …
        [0, 0, 99, 99],  # … again, but less sure
        [200, 0, 299, 99],  # the second car, as a truck
        [200, 0, 299, 99],  # and as a car, less sure: the class comes first
        [400, 0, 499, 30],  # overlaps the sign too little
        [700, 0, 799, 99],  # in the crowd
        [400, 0, 499, 99],  # the sign, below the score
    )
    ids = np.array([CAR, CAR, TRUCK, CAR, SIGN, CAR, SIGN])
    scores = np.array([0.9, 0.8, 0.95, 0.5, 0.7, 0.6, 0.2])
    evaluator = DetectionEvaluator(DETECTION)
    f1 = evaluator.add(truth, truth_ids, found, scores, ids, crowd=crowd)
    wanted = np.zeros((NONE + 1, NONE + 1), int)
    wanted[CAR, CAR] = 2
    wanted[NONE, [CAR, TRUCK, SIGN]] = 1
    wanted[SIGN, NONE] = 1
    np.testing.assert_array_equal(evaluator.confusion, wanted)
    assert f1 == pytest.approx(2 * 2 / (2 * 2 + 3 + 1))
    # Without its rival the truck is what the second car was taken for.
    evaluator = DetectionEvaluator(DETECTION)
    evaluator.add(truth[:2], truth_ids[:2], found[:3], scores[:3], ids[:3])
    assert evaluator.confusion[CAR, TRUCK] == 1 and evaluator.confusion[NONE, TRUCK] == 0


def test_evaluators_of_several_processes_score_as_one(oracle):
    first, *others = (official_detections(oracle, rank, 3) for rank in range(3))
    first.merge(others)
    whole = official_detections(oracle)
    assert first.scores_and_curves() == whole.scores_and_curves()
    np.testing.assert_array_equal(first.confusion, whole.confusion)
