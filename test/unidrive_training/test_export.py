# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle says what the model says."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_training import tiny_config

from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.predictor import Predictor
from unidrive_training import export
from unidrive_training.cli import main
from unidrive_training.config import TrainingConfig
from unidrive_training.data.bdd100k import read_image, read_split
from unidrive_training.engine.checkpoint import load_trained_model
from unidrive_training.engine.trainer import Trainer
from unidrive_training.evaluation.checkpoint_predictor import CheckpointPredictor
from unidrive_training.evaluation.evaluate import evaluate


@pytest.fixture(scope='module')
def run_folder(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    Trainer(tiny_config(scenes, 6), folder, 'cpu').run()
    return folder


@pytest.fixture(scope='module')
def bundle(run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('bundles') / 'tiny'
    assert main(['export', str(run_folder), str(out)]) == 0
    return out


def test_program_equals_model_for_any_batch(run_folder, bundle):
    model, config, _ = load_trained_model(run_folder)
    session = onnxruntime.InferenceSession(bundle / 'model.onnx')
    names = [output.name for output in session.get_outputs()]
    for batch in (1, 3):
        images = torch.randint(0, 256, (batch, *config.input_size, 3), dtype=torch.uint8)
        expected = model.predict(images)
        actual = dict(zip(names, session.run(names, {'images': images.numpy()}), strict=True))
        np.testing.assert_allclose(actual['scores'], expected['scores'], atol=1e-4)
        for task in ('semantic', 'drivable'):
            assert actual[task].dtype == np.uint8
            assert np.mean(actual[task] != expected[task].numpy()) <= 1e-4
        for row in range(batch):
            one = [{n: v[row : row + 1] for n, v in o.items()} for o in (numpy(expected), actual)]
            assert export.same_detections(*one)
            actual_one = one[1]
            for wrong in (
                {'boxes': actual_one['boxes'][..., [1, 0, 3, 2]]},
                {'boxes': actual_one['boxes'] + [[[0, 0, 0, 0.02]]]},
                {'class_ids': actual_one['class_ids'] ^ 1},
                {'scores': actual_one['scores'] + 1e-3},
            ):
                assert not export.same_detections(one[0], actual_one | wrong)


def numpy(tensors):
    return {name: value.numpy() for name, value in tensors.items()}


def test_bundle_and_checkpoint_predict_the_same_on_an_image(run_folder, bundle, scenes):
    rgb = read_image(read_split(scenes, 'val')[0].image)
    from_bundle = Predictor(Bundle.load(bundle), score_threshold=0.0).predict(rgb)
    from_checkpoint = CheckpointPredictor(run_folder).predict(rgb)
    assert from_bundle.semantic.shape == rgb.shape[:2]
    assert np.mean(from_bundle.semantic != from_checkpoint.semantic) <= 1e-4
    assert np.mean(from_bundle.drivable != from_checkpoint.drivable) <= 1e-4
    np.testing.assert_allclose(from_bundle.scores, from_checkpoint.scores, atol=1e-4)


def test_the_manifest_tells_how_the_model_was_made(bundle):
    manifest = Bundle.load(bundle).manifest
    assert manifest.training['iteration'] == 6
    assert manifest.training['config']['seed'] == 0
    assert (manifest.input.height, manifest.input.width) == (96, 160)


def test_nothing_half_written_remains(run_folder, tmp_path, monkeypatch):
    def disagree(*_):
        raise UserError('exported program disagrees with the model')

    monkeypatch.setattr(export, 'check_program', disagree)
    assert main(['export', str(run_folder), str(tmp_path / 'out')]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_disagreeing_program_is_refused(run_folder, bundle):
    model, config, _ = load_trained_model(run_folder)
    with torch.no_grad():
        model.heads['semantic'].class_embed.bias[7] += 50.0  # everything is a traffic sign
    with pytest.raises(UserError, match='semantic'):
        export.check_program(model, config.input_size, bundle / 'model.onnx')


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [(None, 'No such file'), ('{', 'is no JSON'), ('[1]', 'give the JSON of `unidrive evaluate')],
)
def test_scores_that_cannot_be_read_are_named(run_folder, tmp_path, capsys, content, sentence):
    scores = tmp_path / 'scores.json'
    if content is not None:
        scores.write_text(content)
    arguments = ['export', str(run_folder), str(tmp_path / 'out'), '--scores', str(scores)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert 'scores.json' in error and sentence in error and error.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(run_folder, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['export', str(run_folder), str(tmp_path / 'file' / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'Not a directory' in error and str(tmp_path / 'file') in error
    assert error.count('\n') == 1


def test_a_checkpoint_is_evaluated_on_a_device_there_is(run_folder, scenes, capsys):
    assert main(['evaluate', str(run_folder), str(scenes), '--device', 'tpu']) == 2
    assert '--device tpu cannot be used here' in capsys.readouterr().err


def test_an_existing_bundle_is_not_overwritten(run_folder, bundle, capsys):
    assert main(['export', str(run_folder), str(bundle)]) == 2
    assert 'exists' in capsys.readouterr().err


def test_bundle_and_checkpoint_are_evaluated_alike(run_folder, bundle, scenes, tmp_path):
    results = []
    for model in (run_folder, bundle):
        scores = tmp_path / f'{model.name}.json'
        assert main(['evaluate', str(model), str(scenes), '--json', str(scores)]) == 0
        results.append(dict(numbers(json.loads(scores.read_text()))))
    checkpoint, exported = results
    assert len(checkpoint) > 50 and checkpoint.keys() == exported.keys()
    for key, value in checkpoint.items():
        assert exported[key] == (value and pytest.approx(value, abs=1e-3)), key


def test_a_bundle_does_not_say_where_files_lay():
    values = tiny_config(Path('/home/me/streets'), 1).model_dump(mode='json')
    values['data'][0]['setting'] = '/home/me/few.yaml'
    config = TrainingConfig.model_validate(values | {'validation': ['/home/me/held_out']})
    said = export._without_paths(config)
    assert said['data'][0]['root'] == 'streets' and said['data'][0]['setting'] == 'few.yaml'
    assert '/home' not in json.dumps(said)


def test_a_batch_of_images_is_scored_as_one_by_one(run_folder, scenes):
    predictor = CheckpointPredictor(run_folder)
    alone = dict(numbers(evaluate(predictor, scenes, tasks=['semantic', 'drivable']).scores))
    predictor.batch_size = 5  # as on a GPU; the 12 images leave the last batch unfilled
    batched = dict(numbers(evaluate(predictor, scenes, tasks=['semantic', 'drivable']).scores))
    assert batched == pytest.approx(alone, abs=1e-4, nan_ok=True)


def numbers(scores, path=''):
    """Every number of nested scores with the keys that lead to it; None where undefined."""
    for key, value in scores.items():
        if isinstance(value, dict):
            yield from numbers(value, f'{path}/{key}')
        else:
            yield f'{path}/{key}', value
