# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Backbones: each against the library it comes from, and what the rest of the model relies on."""

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.swin_transformer import SwinTransformer

from unidrive_perception.errors import UserError
from unidrive_training.models import backbones, weights  # noqa: F401 (backbones: registers)
from unidrive_training.models.backbones.deit import resize_positions
from unidrive_training.models.backbones.resnet import Shortcut
from unidrive_training.models.registry import BACKBONES

SWIN = {'channels': 12, 'depths': (2, 2, 1, 1), 'heads': (1, 2, 3, 4)}
DEIT = {'channels': 24, 'blocks': 4, 'heads': 3, 'image_size': 64}
SMALL = {
    'resnet18': {'width': 8},
    'resnet50': {'width': 8},
    'resnet101': {'width': 4},
    'regnet_x_32gf': {'depths': (1, 1, 2, 1), 'widths': (16, 32, 48, 64), 'group_width': 8},
    'swin_s': SWIN,
    'swin_b': SWIN,
    'deit_s': DEIT,
    'deit_b': DEIT,
    'clip_rn50': {'layers': (1, 2, 1, 1), 'width': 8, 'output_dim': 20, 'heads': 4},
}
# Millions of parameters that train with a head of 120 classes: Pro-tuning, Tables 2 and 3,
# finetuning, partial-1 and partial-2.
PUBLISHED = {
    'resnet50': (23.75, 4.71, 9.17),
    'resnet101': (42.75, 4.71, 9.17),
    'regnet_x_32gf': (105.59, 3.69, 10.05),
    'deit_s': (21.71, 1.23, 1.82),
    'deit_b': (85.89, 4.82, 7.18),
    'swin_s': (48.93, 2.45, 4.82),
    'swin_b': (86.87, 4.32, 8.52),
}


def small(name, seed=0, **options):
    torch.manual_seed(seed)
    backbone = BACKBONES.build({'name': name, **SMALL[name], **options}).eval()
    for module in backbone.modules():  # no branch is zero, no statistic trivial
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return backbone


def without(state, *heads):
    return {name: value for name, value in state.items() if not name.startswith(heads)}


def size(modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('shape', [(64, 96), (96, 32)])
def test_the_pyramid_has_strides_4_to_32(name, shape):
    backbone = small(name)
    outputs = backbone(torch.randn(2, 3, *shape))
    expected = [
        (2, channels, shape[0] // stride, shape[1] // stride)
        for channels, stride in zip(backbone.out_channels, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(x.shape) for x in outputs] == expected
    backbone.add_pooling()
    assert backbone.pooled(torch.randn(2, 3, *shape)).shape == (2, backbone.feature_channels)


@pytest.mark.parametrize('name', SMALL)
def test_a_batch_equals_its_images_one_by_one(name):
    backbone = small(name)
    images = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        together = backbone(images)
        for i, image in enumerate(images):
            for x, alone in zip(together, backbone(image[None]), strict=True):
                assert (x[i : i + 1] - alone).abs().max() <= 1e-5 * alone.abs().max()


class Recorder(nn.Module):
    """In the place of the prompt blocks: adds a ramp, and remembers where it was asked to."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, place, x):
        self.calls.append((place, x.shape[1]))
        return x + ramp(x.shape[1])


def ramp(channels):
    return torch.linspace(-1, 1, channels)[:, None, None]


@pytest.mark.parametrize('name', SMALL)
def test_prompts_are_asked_for_at_each_place_and_act_on_what_follows(name):
    backbone, images = small(name), torch.randn(1, 3, 64, 64)
    before = backbone(images)
    backbone.prompts = Recorder()
    after = backbone(images)
    assert backbone.prompts.calls == list(enumerate(backbone.prompt_channels))
    for old, new in zip(before, after, strict=True):
        assert (new - old).abs().max() > 0.1
    if name.startswith(('resnet', 'regnet', 'clip')):
        torch.testing.assert_close(after[0], before[0] + ramp(backbone.out_channels[0]))


@pytest.mark.parametrize('name', SMALL)
def test_every_parameter_of_a_dense_model_and_of_a_classifier_gets_a_gradient(name):
    backbone = small(name).train()
    images = torch.randn(2, 3, 64, 96)
    sum(x.square().mean() for x in backbone(images)).backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []
    backbone = small(name).train()
    backbone.add_pooling()
    backbone.pooled(images).square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_pooling_is_added_once():
    for name in ('swin_s', 'deit_s', 'clip_rn50'):
        backbone = small(name)
        backbone.add_pooling()
        state = {n: v.clone() for n, v in backbone.state_dict().items()}
        backbone.add_pooling()
        assert all(torch.equal(state[n], v) for n, v in backbone.state_dict().items())


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameter_counts_are_those_of_the_pro_tuning_paper(name):
    with torch.device('meta'):
        backbone = BACKBONES.build({'name': name})
        backbone.add_pooling()
    head = 120 * (backbone.feature_channels + 1)
    trained = [[backbone], backbone.last_layers(1), backbone.last_layers(2)]
    counts = tuple(round((size(modules) + head) / 1e6, 2) for modules in trained)
    assert counts == PUBLISHED[name]


def test_clip_has_the_parameters_of_openais_image_encoder():
    with torch.device('meta'):
        backbone = BACKBONES.build({'name': 'clip_rn50'})
        backbone.add_pooling()
    assert size([backbone]) == 38_316_896
    assert size([backbone.attnpool]) == 14_789_632


@pytest.mark.parametrize(
    'name, options',
    [
        ('swin_s', {'heads': (1, 2, 3, 5)}),
        ('deit_s', {'heads': 5}),
        ('deit_s', {'blocks': 6}),
        ('clip_rn50', {'heads': 7}),
        ('regnet_x_32gf', {'group_width': 32}),
        ('resnet50', {'depth': 50}),
    ],
)
def test_impossible_options_are_errors_that_name_the_backbone(name, options):
    with pytest.raises(UserError, match=name):
        small(name, **options)


@pytest.mark.parametrize(
    'name', ['resnet18', 'resnet50', 'resnet101', 'swin_s', 'swin_b', 'regnet_x_32gf']
)
def test_names_and_shapes_are_those_of_torchvision(name):
    with torch.device('meta'):
        ours = BACKBONES.build({'name': name})
        ours.add_pooling()
    stages = BlockParams.from_init_params(23, 320, 69.86, 2.0, 168)  # torchvision's RegNetX-32GF
    with torch.device('meta'):
        regnet = name == 'regnet_x_32gf'  # torchvision's own function computes on the device
        official = RegNet(stages) if regnet else getattr(torchvision.models, name)()
    expected = {n: v.shape for n, v in without(official.state_dict(), 'fc.', 'head.').items()}
    assert {n: v.shape for n, v in ours.state_dict().items()} == expected


@pytest.mark.parametrize('name, timm_name', [('deit_s', (384, 6)), ('deit_b', (768, 12))])
def test_names_and_shapes_are_those_of_timm(name, timm_name):
    with torch.device('meta'):
        ours = BACKBONES.build({'name': name})
        ours.add_pooling()
        official = VisionTransformer(embed_dim=timm_name[0], num_heads=timm_name[1])
    expected = {n: v.shape for n, v in without(official.state_dict(), 'head.').items()}
    assert {n: v.shape for n, v in ours.state_dict().items()} == expected


@torch.no_grad()
def assert_same_classifier(ours, official, heads, images):
    """``ours`` with the weights of ``official`` gives its logits."""
    for module in official.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    ours.add_pooling()
    ours.load_state_dict(without(official.state_dict(), *heads))
    classify = official.fc if hasattr(official, 'fc') else official.head
    expected = official.eval()(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(classify(ours.eval().pooled(images)), expected)


@pytest.mark.parametrize('name', ['resnet18', 'resnet50', 'resnet101'])
def test_resnet_equals_torchvision(name):
    torch.manual_seed(1)
    official = getattr(torchvision.models, name)()
    ours, images = BACKBONES.build({'name': name}), torch.randn(2, 3, 64, 96)
    assert_same_classifier(ours, official, ('fc.',), images)
    with torch.no_grad():
        x = official.maxpool(official.relu(official.bn1(official.conv1(images))))
        for i, output in enumerate(ours(images), 1):
            x = getattr(official, f'layer{i}')(x)
            assert torch.equal(output, x)


def test_regnet_equals_torchvision():
    torch.manual_seed(2)
    stages = BlockParams([1, 1, 2, 1], [16, 32, 48, 64], [8] * 4, [1.0] * 4, [2] * 4)
    ours, images = small('regnet_x_32gf'), torch.randn(2, 3, 64, 96)
    assert_same_classifier(ours, RegNet(stages, num_classes=5), ('fc.',), images)
    assert all(isinstance(stage[0].proj[0], Shortcut) for stage in ours.trunk_output)
    evaluated = ours(images)[3]
    for module in ours.modules():  # in training the shortcuts take another way
        if isinstance(module, Shortcut):
            module.train()
    torch.testing.assert_close(ours(images)[3], evaluated)


@pytest.mark.parametrize('shape', [(224, 224), (96, 160), (32, 64)])
def test_swin_equals_torchvision(shape):
    torch.manual_seed(3)
    official = SwinTransformer([4, 4], 12, [2, 2, 1, 1], [1, 2, 3, 4], [7, 7], num_classes=5)
    nn.init.uniform_(official.norm.weight, 0.5, 1.5)
    ours, images = small('swin_s'), torch.randn(2, 3, *shape)
    assert_same_classifier(ours, official, ('head.',), images)
    with torch.no_grad():
        x = images
        for i, (stage, output) in enumerate(zip(ours.stages(images), ours(images), strict=True)):
            x = official.features[2 * i : 2 * i + 2](x)
            assert torch.equal(stage, x)
            norm = nn.LayerNorm(x.shape[-1])  # of mmdetection and the official detection code
            torch.testing.assert_close(output, norm(x).permute(0, 3, 1, 2))


def test_deit_equals_timm_on_its_own_grid():
    torch.manual_seed(4)
    official = VisionTransformer(64, 16, embed_dim=24, depth=4, num_heads=3, num_classes=5)
    ours, images = small('deit_s'), torch.randn(2, 3, 64, 64)
    assert_same_classifier(ours, official, ('head.',), images)
    with torch.no_grad():
        tokens = official.forward_features(images)
        *_, (token, patches) = ours.quarters(images)
        both = torch.cat((token, patches.flatten(1, 2)), 1)
        torch.testing.assert_close(ours.norm(both), tokens)
        ours.pool = 'mean'
        torch.testing.assert_close(ours.pooled(images), tokens[:, 1:].mean(1))
        c4 = both[:, 1:].mT.unflatten(2, (4, 4))
        torch.testing.assert_close(ours(images)[3], nn.functional.avg_pool2d(c4, 2))


def test_deit_positions_keep_the_class_token_and_follow_the_grid():
    ramp = torch.linspace(0, 1, 14)
    grid = torch.stack((ramp[:, None].expand(14, 14), ramp[None].expand(14, 14)), -1)
    positions = torch.cat((torch.full((1, 1, 2), 7.0), grid.reshape(1, 196, 2)), 1)
    resized = resize_positions(positions, (28, 42))
    assert torch.equal(resized[:, 0], positions[:, 0])
    rows, columns = resized[0, 1:].unflatten(0, (28, 42)).unbind(-1)
    assert torch.allclose(rows[:, :1], rows, atol=1e-5)  # no transposition
    assert torch.allclose(columns[:1], columns, atol=1e-5)
    assert (rows[4:-4].diff(dim=0) > 0).all()
    assert resize_positions(positions, (14, 14)) is positions


@pytest.mark.parametrize('case', ['native96', 'rect96x160'])
def test_clip_resnet_equals_the_official_one(oracles, case):
    folder = oracles / 'clip_modified_resnet'
    expected = load_file(folder / 'io.safetensors')
    options = {'width': 8, 'output_dim': 40, 'heads': 4, 'image_size': 96}
    backbone = small('clip_rn50', **options)
    backbone.add_pooling()
    state = load_file(folder / 'weights.safetensors')
    backbone.load_state_dict(weights.clip_resnet({f'visual.{n}': v for n, v in state.items()}))
    images = expected[f'{case}.image']
    tolerance = {'rtol': 1e-4, 'atol': 1e-5}
    with torch.no_grad():
        outputs = backbone(images)
        for level, output in enumerate(outputs, 2):
            torch.testing.assert_close(output, expected[f'{case}.x{level}'], **tolerance)
        tokens = backbone.attention_pool(outputs[-1])
        pooled = backbone.pooled(images)
    torch.testing.assert_close(tokens, expected[f'{case}.attnpool_all_tokens'], **tolerance)
    assert torch.equal(pooled, tokens[:, 0])


class WithTokens(nn.Module):
    """C2..C5 and the tokens of the attention pool."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images):
        outputs = self.backbone(images)
        return [*outputs, self.backbone.attention_pool(outputs[-1])]


@pytest.mark.parametrize('name', ['regnet_x_32gf', 'swin_s', 'deit_s', 'clip_rn50'])
def test_the_exported_program_equals_the_backbone(name, tmp_path):
    options = {'depths': (2, 1, 1, 1)} if name == 'swin_s' else {}  # one block shifts its windows
    model = small(name, **options)
    if name == 'clip_rn50':
        model.add_pooling()
        model = WithTokens(model).eval()
    path = tmp_path / 'backbone.onnx'
    torch.onnx.export(
        model,
        (torch.randn(2, 3, 64, 96),),
        input_names=['images'],
        opset_version=18,
        dynamic_shapes={'images': {0: torch.export.Dim('batch', min=1, max=64)}},
        dynamo=True,
        verbose=False,
    ).save(path)
    images = torch.randn(3, 3, 64, 96)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    with torch.no_grad():
        expected = model(images)
    actual = session.run(None, {'images': images.numpy()})
    for x, y in zip(expected, actual, strict=True):
        assert np.abs(y - x.numpy()).max() <= 1e-5 * x.abs().max()


@pytest.mark.parametrize('name', ['resnet50', 'regnet_x_32gf', 'clip_rn50'])
def test_synchronised_batch_norm_changes_neither_names_nor_results(name):
    backbone, images = small(name), torch.randn(2, 3, 64, 64)
    names, expected = list(backbone.state_dict()), backbone(images)
    backbone = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert list(backbone.state_dict()) == names
    for x, y in zip(backbone(images), expected, strict=True):
        assert torch.equal(x, y)
