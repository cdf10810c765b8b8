# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictor against a program whose right answers can be read off the image."""

import numpy as np
import onnx
import pytest
from tiny_bundle import BLUE, BRIGHT, DARK, GREEN, RED, street, tiny_bundle, write_tiny_bundle

from unidrive_perception.bundle import (
    Bundle,
    BundleError,
    ProgramSpec,
    read_manifest,
    write_manifest,
)
from unidrive_perception.errors import UserError
from unidrive_perception.labels import UNKNOWN
from unidrive_perception.predictor import Predictor


@pytest.fixture(scope='module', params=[1, 2, 4], ids=lambda s: f'stride{s}')
def predictor(request, tmp_path_factory):
    bundle = tiny_bundle(tmp_path_factory.mktemp('tiny'), stride=request.param)
    return Predictor(bundle, device='cpu', threads=1)


@pytest.mark.parametrize('size', [(720, 1280), (96, 160), (375, 1242), (640, 480), (1080, 1920)])
def test_boxes_and_masks_are_in_image_pixels(predictor, size):
    height, width = size
    prediction = predictor.predict(street(height, width))
    pixel = 1.01 / min(96 / height, 160 / width)  # one input pixel, in image pixels
    assert prediction.image_size == size
    np.testing.assert_allclose(
        prediction.scores, [0.9, 0.6], rtol=1e-6
    )  # green's 0.2 is below 0.5
    assert prediction.class_ids.tolist() == [0, 2]
    truth = np.array([[0.1, 0.2, 0.3, 0.5], [0.7, 0.1, 0.9, 0.9]]) * [width, height, width, height]
    np.testing.assert_allclose(prediction.boxes, truth, atol=pixel)
    for mask in (prediction.semantic, prediction.drivable):
        assert mask.shape == size and mask.dtype == np.uint8 and mask.flags.c_contiguous

    def at(mask, x, y):
        return mask[int(height * y), int(width * x)]

    assert at(prediction.semantic, 0.2, 0.35) == 0  # red
    assert at(prediction.semantic, 0.5, 0.6) == 1  # green
    assert at(prediction.semantic, 0.8, 0.5) == 2  # blue
    assert at(prediction.drivable, 0.5, 0.95) == BRIGHT
    assert at(prediction.drivable, 0.35, 0.2) == DARK


def test_mask_agrees_with_the_truth_of_every_pixel(predictor):
    image = street()
    prediction = predictor.predict(image)
    assert (prediction.semantic == image.argmax(2)).mean() > 0.96
    assert (prediction.drivable == (image.mean(2) < 127)).mean() > 0.96


def test_threshold_at_run_time(predictor):
    image = street()
    for threshold, expected in ((0.1, [0, 2, 1]), (0.7, [0]), (1.0, []), (None, [0, 2])):
        predictor.score_threshold = threshold
        assert predictor.predict(image).class_ids.tolist() == expected
    assert predictor.score_threshold == 0.5
    for wrong in (-0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match='score_threshold must be from 0 to 1'):
            predictor.score_threshold = wrong


def test_no_objects(predictor):
    predictor.score_threshold = 0.1
    prediction = predictor.predict(np.full((50, 80, 3), 20, np.uint8))
    predictor.score_threshold = None
    assert prediction.boxes.shape == (0, 4) and prediction.boxes.dtype == np.float32
    assert prediction.scores.shape == prediction.class_ids.shape == (0,)


def test_results_do_not_share_memory_between_images(predictor):
    first = predictor.predict(street())
    semantic, boxes = first.semantic.copy(), first.boxes.copy()
    predictor.predict(255 - street())
    assert np.array_equal(first.semantic, semantic) and np.array_equal(first.boxes, boxes)


def test_same_image_same_answer(predictor):
    one, two = (predictor.predict(street(300, 500)) for _ in range(2))
    assert np.array_equal(one.semantic, two.semantic) and np.array_equal(one.boxes, two.boxes)


def test_images_that_are_views(predictor):
    """A horizontally flipped BGR view is a normal thing to pass."""
    view = street()[:, ::-1, ::-1]
    expected = predictor.predict(np.ascontiguousarray(view))
    assert np.array_equal(predictor.predict(view).semantic, expected.semantic)
    assert (
        predictor.predict(view).class_ids.tolist() == expected.class_ids.tolist() == [2, 0][::-1]
    )


@pytest.mark.parametrize(
    ('image', 'problem'),
    [
        (np.zeros((4, 4), np.uint8), r'\(H, W, 3\) uint8 RGB, not \(4, 4\) uint8'),
        (np.zeros((4, 4, 4), np.uint8), r'not \(4, 4, 4\)'),
        (np.zeros((4, 4, 3), np.float32), 'float32'),
        (np.zeros((0, 4, 3), np.uint8), 'at least one pixel'),
        ([[1, 2, 3]], 'NumPy array, not list'),
    ],
)
def test_wrong_images_are_refused(predictor, image, problem):
    with pytest.raises(ValueError, match=problem):
        predictor.predict(image)


def test_masks_can_be_had_smaller(tmp_path):
    predictor = Predictor(tiny_bundle(tmp_path), device='cpu', threads=1, mask_downscale=4)
    prediction = predictor.predict(street())
    assert prediction.semantic.shape == prediction.drivable.shape == (180, 320)
    assert prediction.image_size == (720, 1280)
    assert prediction.semantic[90, 256] == 2  # the blue rectangle
    assert predictor.predict(street(2, 3)).semantic.shape == (1, 1)


@pytest.mark.parametrize('task', ['detection', 'semantic', 'drivable'])
def test_one_task_alone(tmp_path, task):
    predictor = Predictor(tiny_bundle(tmp_path, tasks=(task,)), device='cpu', threads=1)
    prediction = predictor.predict(street())
    assert list(predictor.labels) == [task]
    assert (len(prediction.boxes) == 2) == (task == 'detection')
    assert (prediction.semantic is not None) == (task == 'semantic')
    assert (prediction.drivable is not None) == (task == 'drivable')


def test_warm_up_and_timing(predictor):
    predictor.warm_up()
    timing = predictor.predict(street()).timing
    assert min(timing.preprocess_ms, timing.inference_ms, timing.postprocess_ms) > 0


def test_colours_of_the_test_picture_are_what_the_program_looks_for():
    assert RED[0] > 150 > 100 > max(RED[1:]) and BLUE[2] > 150 and GREEN[1] > 150


def test_device_is_told(tmp_path):
    assert Predictor(tiny_bundle(tmp_path), device='cpu').device == 'cpu'
    assert Predictor(tiny_bundle(tmp_path), device='auto').device in ('cpu', 'cuda')


def test_unknown_device(tmp_path):
    with pytest.raises(UserError, match=r"device must be one of auto, cpu, .*, not 'tpu'"):
        Predictor(tiny_bundle(tmp_path), device='tpu')


def test_cuda_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr('onnxruntime.get_available_providers', lambda: ['CPUExecutionProvider'])
    with pytest.raises(UserError, match="device 'cuda' needs onnxruntime with CUDA"):
        Predictor(tiny_bundle(tmp_path), device='cuda')
    assert Predictor(tiny_bundle(tmp_path), device='auto').device == 'cpu'


def replace_program(folder, content=None, **options):
    """Put another program under the manifest of ``folder``, with the right checksum."""
    manifest = read_manifest(folder / 'manifest.yaml')
    if content is None:
        write_tiny_bundle(folder, **options)
    else:
        (folder / 'model.onnx').write_bytes(content)
    program = ProgramSpec.of_file(folder / 'model.onnx')
    write_manifest(folder, type(manifest)(manifest.name, manifest.input, manifest.tasks, program))
    return Bundle.load(folder)


def test_program_that_is_no_onnx(tmp_path):
    write_tiny_bundle(tmp_path)
    with pytest.raises(BundleError, match='onnxruntime cannot load it'):
        Predictor(replace_program(tmp_path, b'not a model'))


def test_program_of_another_input_size(tmp_path):
    write_tiny_bundle(tmp_path)
    bundle = replace_program(tmp_path, input_size=(64, 64))
    with pytest.raises(BundleError, match='its input must be images'):
        Predictor(bundle)


def test_program_without_a_promised_output(tmp_path):
    write_tiny_bundle(tmp_path)
    bundle = replace_program(tmp_path, tasks=('detection', 'semantic'))
    with pytest.raises(BundleError, match='the manifest has the drivable task'):
        Predictor(bundle)


def program_with_drivable_ids(folder, dark, bright):
    """Rewrite the program of ``folder`` so that its drivable mask has these ids."""
    model = onnx.load(folder / 'model.onnx')
    for name, class_id in (('dark_id', dark), ('bright_id', bright)):
        constant = onnx.numpy_helper.from_array(np.array(class_id, np.uint8), name)
        model.graph.initializer.append(constant)
    (last,) = (node for node in model.graph.node if node.output[0] == 'drivable')
    choice = onnx.helper.make_node('Where', [last.input[0], 'dark_id', 'bright_id'], last.output)
    last.CopyFrom(choice)
    return replace_program(folder, model.SerializeToString())


def test_mask_with_a_class_that_the_manifest_lacks(tmp_path):
    write_tiny_bundle(tmp_path)
    bundle = program_with_drivable_ids(tmp_path, dark=UNKNOWN, bright=2)
    with pytest.raises(BundleError, match='class id 2, the manifest has 2 drivable classes'):
        Predictor(bundle).predict(street())


def test_mask_may_say_unknown(tmp_path):
    write_tiny_bundle(tmp_path)
    bundle = program_with_drivable_ids(tmp_path, dark=UNKNOWN, bright=BRIGHT)
    assert set(np.unique(Predictor(bundle).predict(street()).drivable)) == {BRIGHT, UNKNOWN}


SIZES = [(720, 1280), (720, 1280), (375, 1242), (96, 160), (640, 480), (720, 1280)]


def assert_equal(one, two):
    assert one.image_size == two.image_size
    for name in ('boxes', 'scores', 'class_ids', 'semantic', 'drivable', 'track_ids'):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_batch_says_what_single_images_say(predictor):
    images = [street(*size)[:, :: (-1) ** i] for i, size in enumerate(SIZES)]
    single = [predictor.predict(image) for image in images]
    for count in (1, 2, 6, 3):  # the memory of a larger batch must not show in a smaller one
        for one, two in zip(predictor.predict_batch(images[:count]), single, strict=False):
            assert_equal(one, two)
    timings = [prediction.timing for prediction in predictor.predict_batch(images)]
    assert len(timings) == 6 and len({timing.inference_ms for timing in timings}) == 1
    assert all(min(timing.preprocess_ms, timing.postprocess_ms) > 0 for timing in timings)


def test_padding_of_an_earlier_image_does_not_show(predictor):
    """A white image as wide as the input, then one of another shape: the padding is grey again."""
    predictor.predict(np.full((96, 160, 3), 255, np.uint8))
    tall, fresh = street(640, 200), Predictor(predictor.bundle, device='cpu', threads=1)
    assert_equal(predictor.predict(tall), fresh.predict(tall))


def test_empty_batch(predictor):
    assert predictor.predict_batch([]) == []


def test_one_wrong_image_refuses_the_batch(predictor):
    with pytest.raises(ValueError, match='must be'):
        predictor.predict_batch([street(), np.zeros((4, 4), np.uint8)])


@pytest.mark.parametrize(
    'tasks', [{'detection'}, {'semantic'}, {'drivable'}, {'detection', 'drivable'}, set()]
)
def test_tasks_at_run_time(predictor, tasks):
    image = street()
    whole = predictor.predict(image)
    predictor.tasks = tasks
    part = predictor.predict(image)
    assert predictor.tasks == frozenset(tasks)
    predictor.tasks = predictor.labels
    assert len(part.boxes) == (2 if 'detection' in tasks else 0) == len(part.track_ids)
    for task in ('semantic', 'drivable'):
        expected = getattr(whole, task) if task in tasks else None
        np.testing.assert_array_equal(getattr(part, task), expected)
    assert_equal(predictor.predict(image), whole)


def test_only_tasks_of_the_model(tmp_path):
    predictor = Predictor(tiny_bundle(tmp_path, tasks=('semantic',)), device='cpu', threads=1)
    assert predictor.tasks == {'semantic'}
    with pytest.raises(ValueError, match=r"among those of the model \(semantic\), not 'drivable'"):
        predictor.tasks = ['semantic', 'drivable']
    assert predictor.tasks == {'semantic'}


def test_candidates_below_the_threshold(predictor):
    image = street()
    for threshold, candidate, expected in (
        (None, 0.1, [0, 2, 1]),
        (0.7, 0.5, [0, 2]),
        (0.5, 0.9, [0, 2]),
        (None, None, [0, 2]),
    ):
        predictor.score_threshold, predictor.candidate_threshold = threshold, candidate
        assert predictor.predict(image).class_ids.tolist() == expected
    with pytest.raises(ValueError, match='candidate_threshold must be from 0 to 1, not 2'):
        predictor.candidate_threshold = 2
    assert predictor.candidate_threshold is None
