# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as their authors publish them: written here, read into another backbone."""

import argparse
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unidrive_perception.errors import UserError
from unidrive_training.models import backbones  # noqa: F401 (registers)
from unidrive_training.models.backbones.deit import resize_positions
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel
from unidrive_training.models.pretrained import FORMATS, load_backbone
from unidrive_training.models.registry import BACKBONES
from unidrive_training.models.state_files import read_state

SMALL = {
    'resnet50': {'width': 4},
    'regnet_x_32gf': {'depths': (1, 1, 1, 1), 'widths': (8, 16, 24, 32), 'group_width': 8},
    'swin_s': {'channels': 12, 'depths': (1, 1, 1, 1), 'heads': (1, 2, 3, 4)},
    'deit_s': {'channels': 24, 'blocks': 4, 'heads': 3, 'image_size': 64},
    'clip_rn50': {'layers': (1, 1, 1, 1), 'width': 8, 'output_dim': 20, 'heads': 4},
}
FC = {'fc.weight': torch.zeros(5, 128), 'fc.bias': torch.zeros(5)}
HEAD = {'head.weight': torch.zeros(5, 24), 'head.bias': torch.zeros(5)}


def small(name, seed, pooling=False, **options):
    torch.manual_seed(seed)
    backbone = BACKBONES.build({'name': name, **SMALL[name], **options})
    if pooling:
        backbone.add_pooling()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var)
            module.num_batches_tracked.fill_(100 + seed)
    return backbone


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def tensors(*names):
    return {name: torch.zeros(2) for name in names}


def of_moco(r50):
    other = prefixed('module.encoder_k.', small('resnet50', 9).state_dict() | FC)
    query = prefixed('module.encoder_q.', r50 | FC)
    return {
        'epoch': 200,
        'arch': 'resnet50',
        'state_dict': {**query, **other, **tensors('module.queue', 'module.queue_ptr')},
        'optimizer': {'state': {0: {'momentum_buffer': torch.zeros(2)}}, 'param_groups': []},
    }


def of_moco_v2(r50):  # a head of two layers
    query = r50 | tensors('fc.0.weight', 'fc.0.bias', 'fc.2.weight', 'fc.2.bias')
    return {'state_dict': prefixed('module.encoder_q.', query) | tensors('module.queue')}


def of_mmselfsup(r50):
    others = tensors(
        'neck.mlp.0.weight', 'head.criterion.weight', 'queue', 'encoder_k.0.conv1.weight'
    )
    meta = {'mmcv_version': '1.4', 'epoch': 200, 'time': 'Sun'}
    return {'meta': meta, 'state_dict': prefixed('backbone.', r50) | others}


def of_densecl_training(r50):  # the backbone is there twice
    others = prefixed('encoder_q.0.', r50) | prefixed('encoder_k.0.', r50)
    others |= tensors('queue', 'queue_ptr', 'queue2', 'queue2_ptr', 'encoder_q.1.mlp.0.weight')
    return {'state_dict': prefixed('backbone.', r50) | others}


def of_swav(r50):
    heads = tensors(
        'projection_head.0.weight', 'projection_head.1.running_var', 'prototypes.weight'
    )
    return prefixed('module.', r50 | heads)


def of_byol(r50):
    heads = tensors('module.fc1.weight')
    return {'online_backbone': prefixed('module.', r50), 'target_network': heads}


def of_byol_lightning(r50):
    others = prefixed('target_network.encoder.', r50) | tensors(
        'online_network.projector.model.0.weight'
    )
    hyper = {'hyper_parameters': argparse.Namespace(learning_rate=0.1)}
    return hyper | {'state_dict': prefixed('online_network.encoder.', r50) | others}


def of_pixpro(r50):
    others = tensors('module.projector.linear1.weight', 'module.value_transform.weight')
    others |= prefixed('module.encoder_k.', r50) | tensors('module.projector_k.linear1.weight')
    options = argparse.Namespace(arch='resnet50', pixpro_p=2.0)
    return {'opt': options, 'epoch': 400, 'model': prefixed('module.encoder.', r50) | others}


# format, what its authors write, whether nothing in it is unexpected
PUBLISHED = {
    'torchvision': ('torchvision', lambda r50: r50 | FC),
    'moco v1': ('moco', of_moco),
    'moco v2': ('moco', of_moco_v2),
    'moco of mmselfsup': ('moco', of_mmselfsup),
    'mmselfsup': ('mmselfsup', of_mmselfsup),
    'simclr': ('simclr', lambda r50: {'state_dict': r50 | FC}),
    'simclr of mmselfsup': ('simclr', of_mmselfsup),
    'swav': ('swav', of_swav),
    'swav while it trained': ('swav', lambda r50: {'epoch': 3, 'state_dict': of_swav(r50)}),
    'byol': ('byol', of_byol),
    'byol of lightning': ('byol', of_byol_lightning),
    'byol of mmselfsup': ('byol', of_mmselfsup),
    'detco': ('detco', of_moco_v2),
    'detco of OpenSelfSup': ('detco', of_mmselfsup),
    'densecl': ('densecl', lambda r50: {'state_dict': r50, 'author': 'DenseCL'}),
    'densecl while it trained': ('densecl', of_densecl_training),
    'pixpro': ('pixpro', of_pixpro),
}


def assert_same(backbone, state):
    own = backbone.state_dict()
    assert set(own) == set(state)
    assert all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize('case', PUBLISHED)
@pytest.mark.parametrize('automatic', [False, True])
def test_a_published_checkpoint_gives_the_backbone_bit_by_bit(case, automatic, tmp_path):
    format, build = PUBLISHED[case]
    state, target = small('resnet50', 1).state_dict(), small('resnet50', 2)
    torch.save(build(state), tmp_path / 'file.pth')
    report = load_backbone(target, tmp_path / 'file.pth', 'auto' if automatic else format)
    assert_same(target, state)
    assert sorted(report.matched) == sorted(state)
    assert report.missing == report.unexpected == report.resized == []
    assert f'matched: {len(state)}' in str(report) and report.format in str(report)


def test_the_report_tells_other_parts_from_the_unexpected(tmp_path):
    content = of_moco(small('resnet50', 1).state_dict())
    content['state_dict'] |= tensors('module.surprise')
    torch.save(content, tmp_path / 'file.pth')
    report = load_backbone(small('resnet50', 2), tmp_path / 'file.pth')
    assert (report.format, report.prefix) == ('moco', 'module.encoder_q.')
    assert report.unexpected == ['module.surprise']
    expected = {'module.queue', 'module.encoder_q.fc.weight', 'module.encoder_k.conv1.weight'}
    assert expected <= set(report.others)
    assert 'unexpected: 1 (module.surprise)' in str(report)


def test_the_averaged_backbone_of_a_run_is_loaded(tmp_path):
    head = {'name': 'semantic_fpn'}
    values = {'backbone': {'name': 'resnet50', 'width': 4}, 'heads': {'semantic': head}}
    model = MultiTaskModel(ModelConfig.model_validate(values))
    state = small('resnet50', 1).state_dict()
    model.backbone.load_state_dict(state)
    last = prefixed('backbone.', small('resnet50', 3).state_dict())
    run, path = {'config': {}, 'model': last, 'average': model.state_dict()}, tmp_path / 'run.pt'
    torch.save(run, path)
    target = small('resnet50', 2)
    report = load_backbone(target, path, 'unidrive')
    assert_same(target, state)
    assert report.unexpected == [] and any(n.startswith('heads.') for n in report.others)
    wider = BACKBONES.build({'name': 'resnet50', 'width': 8})
    with pytest.raises(UserError, match='have another shape than the backbone'):
        load_backbone(wider, path, 'unidrive')
    torch.save({'config': {}, 'model': state}, tmp_path / 'classifier.pt')
    with pytest.raises(UserError, match=r'classifier.pt is a run of another kind'):
        load_backbone(target, tmp_path / 'classifier.pt', 'unidrive')
    with pytest.raises(UserError, match='no such checkpoint'):
        load_backbone(target, tmp_path / 'none', 'unidrive')


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('pooling', [False, True])
def test_each_family_loads_what_its_library_saves(name, pooling, tmp_path):
    state = small(name, 1, pooling=True).state_dict()
    target = small(name, 2, pooling)
    format = {'deit_s': 'deit', 'clip_rn50': 'clip'}.get(name, 'torchvision')
    if format == 'clip':
        text = tensors(
            'transformer.resblocks.0.ln_1.weight', 'positional_embedding', 'ln_final.bias'
        )
        content = prefixed('visual.', state) | text | tensors('logit_scale', 'text_projection')
    else:
        content = {'model': state | HEAD} if format == 'deit' else state | FC
    torch.save(content, tmp_path / 'file.pt')
    report = load_backbone(target, tmp_path / 'file.pt', format)
    assert_same(target, {n: v for n, v in state.items() if n in target.state_dict()})
    assert report.unexpected == []


def test_safetensors_and_old_files_without_counters_of_batches(tmp_path):
    state, target = small('resnet50', 1).state_dict(), small('resnet50', 2)
    old = {n: v for n, v in state.items() if not n.endswith('num_batches_tracked')}
    save_file(old, tmp_path / 'file.safetensors')
    report = load_backbone(target, tmp_path / 'file.safetensors')
    assert all(torch.equal(target.state_dict()[n], v) for n, v in old.items())
    assert report.missing and set(report.missing) == set(state) - set(old)
    assert 'missing, harmless' in str(report)


class OpenAI(nn.Module):
    """The names of OpenAI's archive, in half precision."""

    def __init__(self, visual):
        super().__init__()
        self.visual = nn.Module()
        for name, part in visual.named_children():
            if part is not None:
                self.visual.add_module(name, part)
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, x):
        return x * self.logit_scale


def test_the_torchscript_archive_of_openai(tmp_path):
    source, target = small('clip_rn50', 1, pooling=True), small('clip_rn50', 2, pooling=True)
    expected = {n: v.half().to(v.dtype) for n, v in source.state_dict().items()}
    torch.jit.trace(OpenAI(source).half(), torch.ones(1).half()).save(tmp_path / 'RN50.pt')
    report = load_backbone(target, tmp_path / 'RN50.pt', 'clip')
    own = target.state_dict()
    for name in report.matched:
        torch.testing.assert_close(own[name], expected[name], rtol=0, atol=0)
    assert set(report.matched) == set(own) - set(report.missing)
    assert report.others == ['logit_scale']


def test_deit_positions_of_another_grid_are_resized(tmp_path):
    state, target = small('deit_s', 1).state_dict(), small('deit_s', 2, image_size=96)
    torch.save({'model': state | HEAD}, tmp_path / 'file.pth')
    report = load_backbone(target, tmp_path / 'file.pth')
    assert report.resized == ['pos_embed']
    assert torch.equal(target.pos_embed, resize_positions(state['pos_embed'], (6, 6)))


def test_prompt_blocks_are_not_looked_for(tmp_path):
    state, target = small('resnet50', 1).state_dict(), small('resnet50', 2)
    target.prompts = nn.Linear(2, 2)
    torch.save(state, tmp_path / 'file.pth')
    assert load_backbone(target, tmp_path / 'file.pth').missing == []


def refused(backbone, path, format='auto'):
    before = {n: v.clone() for n, v in backbone.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_backbone(backbone, path, format)
    assert_same(backbone, before)
    return str(error.value)


def test_a_missing_tensor_is_named(tmp_path):
    content = of_moco(small('resnet50', 1).state_dict())
    del content['state_dict']['module.encoder_q.layer2.0.conv1.weight']
    torch.save(content, tmp_path / 'file.pth')
    message = refused(small('resnet50', 2), tmp_path / 'file.pth')
    assert '1 of ' in message and 'module.encoder_q.layer2.0.conv1.weight' in message
    assert 'moco' in message and 'file.pth' in message


def test_another_shape_is_named(tmp_path):
    torch.save(small('resnet50', 1).state_dict(), tmp_path / 'file.pth')
    message = refused(small('resnet50', 2, width=8), tmp_path / 'file.pth')
    assert 'conv1.weight (4, 3, 7, 7) → (8, 3, 7, 7)' in message
    distilled = small('deit_s', 1).state_dict()
    distilled['pos_embed'] = torch.zeros(1, 18, 24)  # two tokens
    torch.save(distilled, tmp_path / 'file.pth')
    assert 'pos_embed' in refused(small('deit_s', 2), tmp_path / 'file.pth')


@pytest.mark.parametrize(
    'build, format', [(of_moco, 'swav'), (of_pixpro, 'moco'), (of_swav, 'clip')]
)
def test_the_wrong_format_is_an_error_that_tells_what_was_looked_for(build, format, tmp_path):
    torch.save(build(small('resnet50', 1).state_dict()), tmp_path / 'file.pth')
    message = refused(small('resnet50', 2), tmp_path / 'file.pth', format)
    assert f'format {format}' in message and 'conv1.weight' in message and 'pixpro' in message


def test_an_unknown_format_and_a_missing_file_are_errors(tmp_path):
    assert all(
        name in refused(small('resnet50', 1), tmp_path / 'no', 'mocov9') for name in FORMATS
    )
    assert 'No such file' in refused(small('resnet50', 1), tmp_path / 'no.pth')
    assert 'no.safetensors' in refused(small('resnet50', 1), tmp_path / 'no.safetensors')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_truncated_file_is_an_error(suffix, tmp_path):
    state, path = small('resnet50', 1).state_dict(), tmp_path / f'file{suffix}'
    (save_file if suffix == '.safetensors' else torch.save)(state, path)
    for length in (path.stat().st_size // 2, 10, 0):
        os.truncate(path, length)
        assert f'file{suffix}' in refused(small('resnet50', 2), path)


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f'touch {self.witness}',)


def test_code_in_a_pickle_is_never_run(tmp_path):
    content = {'state_dict': small('resnet50', 1).state_dict(), 'extra': Code(tmp_path / 'ran')}
    torch.save(content, tmp_path / 'zip.pth')
    (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(content))
    for name in ('zip.pth', 'plain.pkl'):
        assert 'run code' in refused(small('resnet50', 2), tmp_path / name)
    assert not (tmp_path / 'ran').exists()


def test_options_and_numpy_numbers_beside_the_tensors_are_read(tmp_path):
    content = {
        'state_dict': tensors('a'),
        'args': argparse.Namespace(lr=0.1, schedule=[120, 160]),
        'best': np.float64(76.5),
        'step': np.int64(3),
    }
    torch.save(content, tmp_path / 'file.pth')
    assert list(read_state(tmp_path / 'file.pth')) == ['a']
    torch.save([torch.zeros(2)], tmp_path / 'list.pth')
    with pytest.raises(UserError, match='holds a list'):
        read_state(tmp_path / 'list.pth')


def test_the_file_of_a_deeper_backbone_is_refused(tmp_path):
    """All tensors of a ResNet-50 are in one of ResNet-101, which is no reason to load them."""
    torch.manual_seed(0)
    deeper = BACKBONES.build({'name': 'resnet101', 'width': 4})
    torch.save({'state_dict': prefixed('module.encoder_q.', deeper.state_dict())}, tmp_path / 'a')
    backbone = small('resnet50', 1)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    for format in ('auto', 'moco'):
        with pytest.raises(UserError, match=r'larger backbone.*moco.*layer3\.6\.conv1'):
            load_backbone(backbone, tmp_path / 'a', format)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name])
