# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO gives nearly what ONNX Runtime gives; where it is missing, the message says so."""

import sys

import numpy as np
import pytest
from tiny_bundle import street, tiny_bundle, write_tiny_bundle

from unidrive_perception import backends_openvino
from unidrive_perception.bundle import (
    Bundle,
    BundleError,
    Manifest,
    ProgramSpec,
    default_bundle,
    read_manifest,
    write_manifest,
)
from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox
from unidrive_perception.predictor import Predictor

SIZES = [(720, 1280), (375, 1242), (96, 160)]


DEVICE = 'openvino-bfloat16'


@pytest.fixture
def openvino(monkeypatch):
    """On a CPU without bfloat16 it computes in float32: all but the speed is the same."""
    pytest.importorskip('openvino')
    monkeypatch.setattr(backends_openvino, '_check_bfloat16', lambda core: None)


def on(bundle, device):
    return Predictor(bundle, device=device, threads=1)


def assert_alike(one, two):
    for name in ('boxes', 'scores'):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-4)
    for name in ('class_ids', 'semantic', 'drivable'):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_same_answers(openvino, tmp_path):
    bundle = tiny_bundle(tmp_path)
    ours, other = on(bundle, DEVICE), on(bundle, 'cpu')
    assert ours.device == DEVICE
    images = [street(*size) for size in SIZES]
    for one, two in zip(ours.predict_batch(images), other.predict_batch(images), strict=True):
        assert_alike(one, two)
        assert one.class_ids.tolist() == [0, 2]


def test_same_answers_of_the_default_bundle(openvino, tmp_path):
    bundle = Bundle.load(default_bundle())
    image = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    image = Letterbox((36, 64), (720, 1280)).apply_image(image)
    one, two = (on(bundle, device).predict(image) for device in (DEVICE, 'cpu'))
    assert (one.semantic == two.semantic).mean() > 0.98
    assert (one.drivable == two.drivable).mean() > 0.98
    np.testing.assert_allclose(one.scores, two.scores, atol=0.15)


def test_results_stay_after_the_next_image(openvino, tmp_path):
    predictor = on(tiny_bundle(tmp_path), DEVICE)
    first = predictor.predict(street())
    semantic, boxes = first.semantic.copy(), first.boxes.copy()
    predictor.predict(255 - street())
    assert np.array_equal(first.semantic, semantic) and np.array_equal(first.boxes, boxes)


def test_tasks(openvino, tmp_path):
    predictor = on(tiny_bundle(tmp_path), DEVICE)
    predictor.tasks = {'drivable'}
    prediction = predictor.predict(street())
    assert prediction.semantic is None and prediction.drivable is not None
    assert not len(prediction.boxes)


def test_cpu_without_bfloat16(monkeypatch, tmp_path):
    openvino = pytest.importorskip('openvino')
    monkeypatch.setattr(openvino.Core, 'get_property', lambda *_: ['FP32', 'INT8'])
    with pytest.raises(UserError, match='needs a CPU with AMX or AVX512-BF16, which this one'):
        on(tiny_bundle(tmp_path), DEVICE)


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        (b'not a model', 'OpenVINO cannot load it'),
        ({'input_size': (64, 64)}, r"its input must be images \('uint8', \[96, 160, 3\]\)"),
        ({'tasks': ('detection', 'semantic')}, 'the manifest has the drivable task'),
    ],
)
def test_wrong_programs(openvino, tmp_path, content, problem):
    write_tiny_bundle(tmp_path)
    manifest = read_manifest(tmp_path / 'manifest.yaml')
    program = tmp_path / 'model.onnx'
    if isinstance(content, bytes):
        program.write_bytes(content)
    else:
        write_tiny_bundle(tmp_path, **content)
    parts = manifest.name, manifest.input, manifest.tasks, ProgramSpec.of_file(program)
    write_manifest(tmp_path, Manifest(*parts))
    with pytest.raises(BundleError, match=problem):
        on(Bundle.load(tmp_path), DEVICE)


def test_openvino_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(UserError, match=r"device 'openvino-bfloat16' needs OpenVINO \(pip"):
        on(tiny_bundle(tmp_path), DEVICE)
