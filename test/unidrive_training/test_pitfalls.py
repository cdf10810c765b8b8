# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes of users and traps of PyTorch that once went through."""

import pickle

import numpy as np
import pytest
import torch
from test_tuning import SMALL, batch

from unidrive_perception.errors import UserError
from unidrive_training.cli import main
from unidrive_training.config import load_config
from unidrive_training.engine.checkpoint import load_average, load_trained_model
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.pretrained import load_backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.models.state_files import read_state


def config_folder(repo_root):
    return repo_root / 'config' / 'training'


@pytest.mark.parametrize(
    ('override', 'sentence'),
    [
        ('phases.0.input_size=[96', r'\[96 is not valid YAML'),
        ('phases.0.tuning=prompt-blocks', 'prompt-blocks needs prompt blocks; set model.prompts'),
        ('phases.0.tuning=scratch', 'scratch loads nothing; set pretrained to null'),
        ('phases.0.tuning=frozen', 'phases.0.tuning'),
    ],
)
def test_settings_that_contradict_each_other(repo_root, override, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        load_config(config_folder(repo_root) / 'adapt_resnet18.yaml', [override])
    assert '\n' not in str(error.value) and len(str(error.value)) < 400


def test_null_takes_pretrained_weights_away(repo_root):
    config = load_config(config_folder(repo_root) / 'lv_adapter.yaml', ['pretrained=null'])
    assert config.pretrained.backbone is None and config.pretrained.text_encoder is None


def test_a_base_must_exist_and_end(tmp_path):
    (tmp_path / 'loop.yaml').write_text('base: loop.yaml\n')
    with pytest.raises(UserError, match='base leads back to'):
        load_config(tmp_path / 'loop.yaml')
    (tmp_path / 'lost.yaml').write_text('base: nowhere.yaml\n')
    with pytest.raises(UserError, match=r'lost\.yaml: there is no base .*nowhere\.yaml'):
        load_config(tmp_path / 'lost.yaml')


def test_heads_are_for_their_tasks():
    heads = SMALL['heads']
    with pytest.raises(UserError, match=r"'sparse_rcnn' is for detection, not for semantic"):
        MultiTaskModel(ModelConfig(**SMALL | {'heads': {'semantic': heads['detection']}}))
    with pytest.raises(UserError, match=r"'maskformer' is for semantic or drivable, not for det"):
        MultiTaskModel(ModelConfig(**SMALL | {'heads': {'detection': heads['semantic']}}))


def test_a_file_of_weights_is_no_run(tmp_path):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'weights.pth')
    with pytest.raises(UserError, match='is no checkpoint of UniDrive'):
        load_trained_model(tmp_path / 'weights.pth')
    torch.save({'config': {}, 'model': {}}, tmp_path / 'classifier.pt')
    with pytest.raises(UserError, match='run of `unidrive classify`'):
        load_average(MultiTaskModel(ModelConfig(**SMALL)), tmp_path / 'classifier.pt')


def test_synchronised_batch_norms_are_in_the_backbone_alone():
    model = MultiTaskModel(ModelConfig(**SMALL, sync_batchnorm=True))
    kinds = {type(m) for m in model.backbone.modules() if 'BatchNorm' in type(m).__name__}
    assert kinds == {torch.nn.SyncBatchNorm}
    plain = MultiTaskModel(ModelConfig(**SMALL))
    plain.load_state_dict(model.state_dict())
    losses = []
    for one in (model, plain):  # alone, a process has the statistics of all
        torch.manual_seed(0)
        losses.append(one.train().losses(*batch()))
    torch.testing.assert_close(*losses)


def test_text_features_are_fresh_after_a_fused_step():
    """A fused optimizer changes parameters without counting up their versions."""
    text = MultiTaskModel(ModelConfig(**SMALL)).language.text
    optimizer = torch.optim.AdamW(
        [p for p in text.parameters() if p.requires_grad], lr=0.1, fused=True
    )
    with torch.no_grad():
        before = text().clone()
    text()[:, 0].sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = text().clone()
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, torch.nn.functional.normalize(text.encode().detach(), dim=1))


def test_detectron2_files_fill_a_backbone(tmp_path):
    """As the model zoo has them: a pickle of NumPy arrays under detectron2's names."""
    spec = {'name': 'resnet50', 'width': 8}
    source, model = BACKBONES.build(spec), BACKBONES.build(spec)
    arrays = {}
    for name, value in source.state_dict().items():
        name = name.replace('layer', 'res') if 'layer' in name else f'stem.{name}'
        for old, new in ((4, 5), (3, 4), (2, 3), (1, 2)):
            if name.startswith(f'res{old}.'):
                name = f'res{new}.{name[5:]}'
                break
        name = name.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
        for number in (1, 2, 3):
            name = name.replace(f'bn{number}.', f'conv{number}.norm.')
        arrays[f'backbone.bottom_up.{name}'] = value.numpy()
    path = tmp_path / 'model_final.pkl'
    path.write_bytes(pickle.dumps({'model': arrays, '__author__': 'zoo'}))
    load_backbone(model, path, 'detectron2')
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_pickle_with_code_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / 'harm'), 'w'))

    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps({'model': {'x': np.zeros(1), 'y': Code()}}))
    with pytest.raises(UserError, match='could run code'):
        read_state(path)
    assert not (tmp_path / 'harm').exists()


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path, capsys, repo_root):
    config = str(repo_root / 'config' / 'training' / 'nano.yaml')
    run, nothing = tmp_path / 'run', tmp_path / 'nothing'
    arguments = ['train', config, str(run), '--device', 'cpu']
    assert main([*arguments, '--data', str(nothing)]) == 2
    assert f'{nothing}: no such folder' in capsys.readouterr().err
    (tmp_path / 'empty').mkdir()
    assert main([*arguments, '--data', str(tmp_path / 'empty')]) == 2
    assert 'no images in' in capsys.readouterr().err
    assert not run.exists()


def test_a_misspelt_setting_is_told_its_right_name(tmp_path, capsys, repo_root):
    config = str(repo_root / 'config' / 'training' / 'nano.yaml')
    assert main(['describe', config, '--set', 'model.heads.detection.propsals=5']) == 2
    assert 'propsals: no such setting (got 5); is it proposals?' in capsys.readouterr().err
