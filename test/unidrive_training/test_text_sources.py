# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Text features of learned prompts, templates and files: frozen, cached; checkpoints of CLIP."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from language_parts import (
    ADAPTERS,
    LEARNED,
    NAMES,
    SMALL,
    build,
    close,
    inputs,
    source,
    text_of,
)
from torch.optim.swa_utils import AveragedModel

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION, ClassInfo, LabelTable
from unidrive_training.models.language.feature_files import (
    read_text_features,
    write_text_features,
)
from unidrive_training.models.language.prompts import Prompts
from unidrive_training.models.language.text_encoder import (
    TextEncoder,
    TextEncoderConfig,
    load_text_encoder,
    padded,
    tokenise,
)
from unidrive_training.models.language.text_sources import (
    LearnedText,
    TemplateText,
)

# Text features


@pytest.mark.parametrize('position', ['end', 'middle', 'front'])
@pytest.mark.parametrize('class_specific', [False, True])
@pytest.mark.parametrize('layout', ['coop', 'denseclip'])
def test_shared_and_cut_prompts_equal_full_sequences(position, class_specific, layout):
    options = {'position': position, 'class_specific': class_specific, 'layout': layout}
    text = source(LEARNED | options).double()
    encoder, prompts = text.encoder, text.prompts
    embeddings, ends = prompts.embeddings(encoder.token_embedding.weight, 77)
    assert embeddings.shape == (32, 77, 32)
    probe = torch.randn(32, 24).double()
    results = []
    for features in (text.raw(), encoder(embeddings, ends)):
        prompts.zero_grad()
        (features * probe).sum().backward()
        results.append((features, [c.grad.clone() for c in prompts.contexts.values()]))
    close(results[0][0], results[1][0])
    for mine, full in zip(results[0][1], results[1][1], strict=True):
        assert full.abs().max() > 1e-3
        close(mine, full)
    if not class_specific and position == 'end':
        assert len(prompts.tree.symbols) < 3 * 5 + 32 * 5  # contexts once per task


def test_each_task_has_its_own_contexts():
    text = source()
    before = text()
    with torch.no_grad():
        text.prompts.contexts['detection'].normal_()
    changed = (text() - before).abs().amax(1) > 1e-3
    assert changed[:10].all() and not changed[10:].any()
    # The same class name in two tasks: car of detection, car of semantic.
    assert (before[2] - before[10 + 13]).abs().max() > 1e-4
    close(before.norm(dim=1), torch.ones(32))


def test_single_task():
    adapter = build('l2v', tables={'detection': DETECTION})
    assert text_of(adapter)().shape == (10, 24)
    pyramid, _ = inputs()
    assert adapter(pyramid)[-1].shape == pyramid[-1].shape


def test_open_vocabulary_names_and_limits():
    def table(*names):
        infos = tuple(ClassInfo(i, name, (0, 0, 0)) for i, name in enumerate(names))
        return {'signs': LabelTable('signs', infos)}

    text = source(tables=table('no_entry (red)', 'Ümlaut-zone 30', 'x'))
    assert text().shape == (3, 24)
    with pytest.raises(UserError, match='reads 77; use shorter'):
        build('l2v', tables=table('very ' * 80))
    with pytest.raises(UserError, match='reads 77; use shorter'):
        build('l2v', {'source': 'template', 'encoder': SMALL}, table('very ' * 80))
    assert Prompts(LearnedText(contexts=1), TextEncoderConfig(**SMALL), table('a')).sequences


def test_templates_are_averaged_as_clip_does():
    templates = ['a photo of a {}.', 'there is a {} in the scene.']
    text = source({'source': 'template', 'templates': templates, 'encoder': SMALL})
    features = []
    for template in templates:
        tokens = padded([tokenise(template.format(name)) for name in NAMES], 77)
        features.append(F.normalize(text.encoder.encode_tokens(tokens), dim=1))
    close(text(), F.normalize((features[0] + features[1]) / 2, dim=1))
    single = source({'source': 'template', 'encoder': SMALL})
    close(single(), features[1])
    assert len(TemplateText(templates='clip').templates) == 80
    with pytest.raises(UserError, match='in the place of the class name'):
        build('l2v', {'source': 'template', 'templates': ['a car']})


def test_unknown_text_source_is_an_error():
    with pytest.raises(UserError, match="'learned', 'template', 'file'"):
        build('l2v', {'source': 'telepathy'})


# Files of features


def test_features_from_files(tmp_path):
    features = np.random.default_rng(0).normal(size=(len(NAMES), 24)).astype(np.float16)
    np.save(tmp_path / 'rows.npy', features)
    by_name = dict(zip(NAMES, features, strict=True))  # of a name in two tasks the last one
    names = [*by_name, 'giraffe']
    rows = np.stack([*by_name.values(), np.zeros(24, np.float16)])
    write_text_features(tmp_path / 'named.safetensors', names, rows)
    np.savez(tmp_path / 'named.npz', **by_name)
    expected = np.stack([by_name[name] for name in NAMES]).astype(np.float32)
    for name in ('named.safetensors', 'named.npz'):
        assert torch.equal(read_text_features(tmp_path / name, NAMES), torch.from_numpy(expected))
    text = source({'source': 'file', 'path': str(tmp_path / 'rows.npy')})
    close(text(), F.normalize(torch.from_numpy(features).float(), dim=1))
    assert not list(text.parameters())
    adapter = build('l2v', {'source': 'file', 'path': str(tmp_path / 'named.npz')})
    pyramid, _ = inputs()
    assert adapter(pyramid)[-1].isfinite().all()


def test_unusable_feature_files_are_named(tmp_path):
    vector = np.zeros(4, np.float32)
    write_text_features(tmp_path / 'few.safetensors', ['car', 'bus'], np.stack([vector] * 2))
    np.savez(tmp_path / 'odd.npz', car=vector, bus=vector[:2])
    np.save(tmp_path / 'rows.npy', np.zeros((3, 4)))
    (tmp_path / 'text.npz').write_text('no archive')
    for name, message in {
        'few.safetensors': 'no text features of rider, train; add them',
        'odd.npz': 'all of one length',
        'rows.npy': r'shape \(3, 4\).* the 4 classes: car, bus, train, rider',
        'text.npz': 'no readable file',
        'none.npz': 'No such file',
        'features.csv': 'read from .safetensors, .npz or .npy',
    }.items():
        names = ['car', 'bus'] if name == 'odd.npz' else ['car', 'bus', 'train', 'rider']
        with pytest.raises(UserError, match=message):
            read_text_features(tmp_path / name, names)
    with pytest.raises(UserError, match='1 class names for 2 rows'):
        write_text_features(tmp_path / 'x.safetensors', ['car'], np.zeros((2, 4)))


def test_real_clip_features_know_what_is_alike(shared_data, tmp_path):
    """VOC's class names with CLIP RN50's features of them: vehicles are near to vehicles."""
    names = ['aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow']
    names += ['table', 'dog', 'horse', 'motorcycle', 'person', 'plant', 'sheep', 'sofa', 'train']
    names += ['television']
    features = np.load(shared_data / 'clip_text_embeddings' / 'voc_clip_RN50_a+cname.npy')
    write_text_features(tmp_path / 'voc.safetensors', names, features)
    wanted = ['bus', 'car', 'train', 'cat', 'dog', 'cow']
    read = F.normalize(read_text_features(tmp_path / 'voc.safetensors', wanted), dim=1)
    assert read.shape == (6, 1024)
    alike = read @ read.T
    assert alike[0, 1] > alike[0, 3:].max() and alike[3, 4] > alike[3, :3].max()


# Frozen encoder, cache


@pytest.mark.parametrize('name', ADAPTERS)
def test_training_moves_prompts_and_adapter_but_not_the_encoder(name):
    adapter = build(name).train()
    encoder = text_of(adapter).encoder
    assert not any(module.training for module in encoder.modules())
    frozen = copy.deepcopy(encoder.state_dict())
    learning = {n: p.detach().clone() for n, p in adapter.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2, weight_decay=0.1)
    pyramid, tokens = inputs()
    probe = torch.randn_like(pyramid[-1])
    for _ in range(2):
        optimizer.zero_grad()
        *finer, p5 = adapter(pyramid, tokens)
        assert all(a is b for a, b in zip(finer, pyramid[:3], strict=True))
        (p5 * probe).sum().backward()
        assert all(p.grad is None for p in encoder.parameters())
        optimizer.step()
    assert all(torch.equal(value, frozen[n]) for n, value in encoder.state_dict().items())
    moved = dict(adapter.named_parameters())
    assert {n.split('.')[-1] for n in learning} >= {'detection', 'semantic', 'drivable'}
    assert all((moved[n] - before).abs().max() > 0 for n, before in learning.items())


def count_calls(text):
    calls = []
    encode = text.encode
    text.encode = lambda: (calls.append(1), encode())[1]
    return calls


def test_features_are_computed_once_until_prompts_change():
    text = source()
    calls = count_calls(text)
    with torch.no_grad():
        first = text()
        assert text() is not None and torch.equal(text(), first) and len(calls) == 1
    text()  # gradients may be wanted now
    assert len(calls) == 2

    optimizer = torch.optim.AdamW(text.parameters(), lr=0.1)
    (text() * torch.randn(32, 24)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        stepped = text()
        assert (stepped - first).abs().max() > 1e-3
        close(stepped, F.normalize(text.encode(), dim=1))
        calls.clear()
        text.load_state_dict(source(seed=1).state_dict())
        loaded = text()
        assert len(calls) == 1 and (loaded - stepped).abs().max() > 1e-3
        close(loaded, source(seed=1)())


def test_constant_sources_are_computed_once_in_training_too():
    text = source({'source': 'template', 'encoder': SMALL}).train()
    calls = count_calls(text)
    text(), text()
    assert len(calls) == 1
    frozen = source()
    frozen.prompts.requires_grad_(False)
    calls = count_calls(frozen)
    frozen(), frozen()
    assert len(calls) == 1


def test_moving_averages_and_copies_have_features_of_their_own():
    text = source()
    average = AveragedModel(
        text, multi_avg_fn=lambda a, b, _: torch._foreach_lerp_(a, b, 0.5)
        if a[0].is_floating_point() else torch._foreach_copy_(a, b), use_buffers=True,
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(4):
            for value in text.prompts.parameters():
                value.add_(torch.randn_like(value))
            average.update_parameters(text)
            twin = copy.deepcopy(text)
            assert torch.equal(twin(), text())
            close(average.module(), F.normalize(average.module.encode(), dim=1))
            next(twin.prompts.parameters()).mul_(2)
            assert not torch.equal(twin(), text())
        assert average.module().isfinite().all()
        assert (average.module() - text()).abs().max() > 1e-4


def test_features_cached_in_inference_mode_serve_training_of_the_rest():
    adapter = build('l2v', {'source': 'template', 'encoder': SMALL})
    pyramid, _ = inputs()
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        adapter(pyramid)
    assert text_of(adapter)._kept[1].dtype == torch.float32
    adapter(pyramid)[-1].sum().backward()
    assert adapter.project.weight.grad is not None


# Checkpoints of CLIP


def test_text_encoder_from_a_clip_checkpoint(tmp_path):
    sizes = TextEncoderConfig(**SMALL)
    torch.manual_seed(1)
    trained = TextEncoder(sizes)
    clip = {f'module.{name}': value.half() for name, value in trained.state_dict().items()}
    clip |= {
        'module.logit_scale': torch.ones(()),
        'module.visual.transformer.resblocks.0.ln_1.weight': torch.ones(3),
        'module.visual.positional_embedding': torch.ones(5, 3),
    }
    torch.save({'state_dict': clip, 'epoch': 3}, tmp_path / 'clip.pt')
    encoder = TextEncoder(sizes)
    count = len(trained.state_dict())
    report = load_text_encoder(encoder, tmp_path / 'clip.pt')
    assert f'{count} tensors of the text encoder, 3 of other parts' in report
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name].half().float())

    deeper = TextEncoder(TextEncoderConfig(**SMALL | {'layers': 3}))
    with pytest.raises(UserError, match=r'lacks 12 tensors .* transformer.resblocks.2'):
        load_text_encoder(deeper, tmp_path / 'clip.pt')
    shorter = TextEncoder(TextEncoderConfig(**SMALL | {'layers': 1}))
    with pytest.raises(UserError, match=r'transformer.resblocks.1\S+ \(\d+,\) does not fit'):
        load_text_encoder(shorter, tmp_path / 'clip.pt')
    with pytest.raises(UserError, match='No such file'):
        load_text_encoder(encoder, tmp_path / 'none.pt')
