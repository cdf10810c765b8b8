# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Published weights reach the parts of a fresh model."""

import pytest
import torch
from test_tuning import SMALL

from unidrive_perception.errors import UserError
from unidrive_training.config import Pretrained
from unidrive_training.engine.initialise import load_pretrained
from unidrive_training.models import weight_files, weights
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.weight_files import WeightFile, official_url, weight_path

CONFIG = ModelConfig(**SMALL)


def fresh(seed=0):
    torch.manual_seed(seed)
    return MultiTaskModel(CONFIG)


def load(model, **parts):
    return list(load_pretrained(model, CONFIG, Pretrained(**parts)))


def official_fpn(model):
    """Our FPN under detectron2's names."""
    return {
        f'backbone.fpn_{kind}{int(level) + 2}.{tensor}': value
        for name, value in model.fpn.state_dict().items()
        for kind, level, tensor in [name.split('.')]
    }


def test_each_part_is_filled_from_its_file(tmp_path):
    source = fresh(1)
    backbone = {n: v for n, v in source.backbone.state_dict().items() if 'prompts' not in n}
    torch.save(backbone, tmp_path / 'backbone.pth')
    torch.save({'model': official_fpn(source)}, tmp_path / 'fpn.pth')
    model = fresh(2)
    assert not torch.equal(model.backbone.conv1.weight, source.backbone.conv1.weight)
    report = load(
        model,
        backbone={'format': 'torchvision', 'file': tmp_path / 'backbone.pth'},
        fpn={'format': 'detectron2', 'file': tmp_path / 'fpn.pth'},
    )
    for name, value in backbone.items():
        assert torch.equal(model.backbone.state_dict()[name], value)
    for name, value in source.fpn.state_dict().items():
        assert torch.equal(model.fpn.state_dict()[name], value)
    assert 'backbone.pth' in report[0] and 'matched' in report[0]
    assert 'from scratch: none' in report[1]


def test_an_official_head_of_other_classes_keeps_a_fresh_class_layer(oracles):
    file = oracles / 'sparse_rcnn_official' / 'small_3stage' / 'weights.safetensors'
    head = {
        'name': 'sparse_rcnn',
        'proposals': 20,
        'stages': 3,
        'dynamic_channels': 16,
        'feedforward': 128,
    }
    config = ModelConfig(
        backbone={'name': 'resnet18', 'width': 8}, fpn={'channels': 64}, heads={'detection': head}
    )
    model = MultiTaskModel(config)
    parts = Pretrained(heads={'detection': {'format': 'sparse_rcnn', 'file': file}})
    (report,) = load_pretrained(model, config, parts)
    assert report.endswith('from scratch: none')
    expected = weights.sparse_rcnn(weights_of(file))
    for name, value in model.heads['detection'].state_dict().items():
        assert torch.equal(value, expected[name])
    model.heads['detection'].stages[0].class_logits = torch.nn.Linear(64, 7)
    (report,) = load_pretrained(model, config, parts)
    assert 'from scratch: stages.0.class_logits.bias, stages.0.class_logits.weight' in report


def weights_of(path):
    from unidrive_training.models.state_files import read_state

    return read_state(path)


@pytest.mark.parametrize(
    ('parts', 'sentence'),
    [
        (
            {'backbone': {'format': 'moco'}},
            "pretrained.backbone: no official site is known for resnet18 in the format 'moco'",
        ),
        ({'backbone': {'format': 'clip'}}, "known for resnet18 in the format 'clip'"),
        ({'fpn': {'format': 'detectron2', 'file': 'none.pth'}}, 'none.pth: No such file'),
        (
            {'fpn': {'format': 'mmdet'}},
            "pretrained.fpn: unknown format 'mmdet'; known: detectron2",
        ),
        ({'heads': {'drivable': {'format': 'maskformer'}}}, 'heads.drivable: the model has no'),
        ({'text_encoder': {'format': 'bert'}}, 'in the format clip'),
    ],
)
def test_what_does_not_fit_is_one_sentence(parts, sentence):
    with pytest.raises(UserError) as error:
        load(fresh(), **parts)
    assert sentence in str(error.value) and '\n' not in str(error.value)


def test_official_weights_are_downloaded_once(tmp_path, monkeypatch):
    site = tmp_path / 'site' / 'resnet18-published.pth'
    site.parent.mkdir()
    site.write_bytes(b'weights')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(weight_files, 'official_url', lambda *_: site.as_uri())
    path = weight_path(WeightFile(format='torchvision'), 'resnet18', 'pretrained.backbone')
    assert path.read_bytes() == b'weights' and path.is_relative_to(tmp_path / 'hub')
    site.unlink()
    assert weight_path(WeightFile(format='torchvision'), 'resnet18', 'x') == path
    path.unlink()
    with pytest.raises(
        UserError, match=r'could not be downloaded.*set pretrained\.backbone\.file'
    ):
        weight_path(WeightFile(format='torchvision'), 'resnet18', 'pretrained.backbone')
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ('format', 'backbone', 'file'),
    [
        ('torchvision', 'resnet50', 'resnet50-0676ba61.pth'),
        ('torchvision', 'swin_b', 'swin_b-68c6b09e.pth'),
        ('deit', 'deit_b', 'deit_base_patch16_224-b5f2ef4d.pth'),
        ('clip', 'clip_rn50', 'RN50.pt'),
    ],
)
def test_official_sites_are_known(format, backbone, file):
    assert official_url(format, backbone).endswith(f'/{file}')
