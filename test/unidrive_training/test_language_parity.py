# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompts, text encoder and post-model prompting against numbers of CoOp and DenseCLIP."""

import json

import pytest
import torch
from safetensors.torch import load_file

from unidrive_perception.labels import ClassInfo, LabelTable
from unidrive_training.models import weights
from unidrive_training.models.backbones.clip_resnet import ClipResNet
from unidrive_training.models.language.context_decoder import ContextDecoderConfig
from unidrive_training.models.language.post_prompting import PostModelPrompts, PostPromptingConfig
from unidrive_training.models.language.prompts import Prompts, spoken
from unidrive_training.models.language.text_encoder import (
    TextEncoder,
    TextEncoderConfig,
    padded,
    tokenise,
)
from unidrive_training.models.language.text_sources import LearnedFeatures, LearnedText

VOCABULARY = 49408


def read_case(folder):
    return (
        json.loads((folder / 'config.json').read_text()),
        load_file(folder / 'weights.safetensors'),
        load_file(folder / 'io.safetensors'),
    )


def table(task, names):
    return {task: LabelTable(task, tuple(ClassInfo(i, n, (0, 0, 0)) for i, n in enumerate(names)))}


def with_token_table(state, prefix=''):
    """The case keeps the rows of the token embedding that it uses."""
    state = dict(state)
    ids, rows = (state.pop(f'{prefix}token_embedding.used_{name}') for name in ('ids', 'rows'))
    full = torch.zeros(VOCABULARY, rows.shape[1])
    full[ids] = rows
    return state | {f'{prefix}token_embedding.weight': full}


def check(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def coop(oracles):
    config, state, io = read_case(oracles / 'clip_text_coop')
    sizes = TextEncoderConfig(
        width=config['width'],
        heads=config['heads'],
        layers=config['layers'],
        context_length=config['context_length'],
        embed_dim=config['embed_dim'],
    )
    return config, sizes, weights.clip_text(with_token_table(state)), io


@pytest.mark.parametrize(
    ('task', 'case', 'options'),
    [
        ('semantic', 'end16', {}),
        ('drivable', 'end16', {}),
        ('detection', 'end16', {}),
        ('detection', 'mid16', {'position': 'middle'}),
        ('detection', 'front16', {'position': 'front'}),
        ('detection', 'csc16', {'class_specific': True}),
    ],
)
def test_learned_prompts_are_those_of_coop(coop, task, case, options):
    config, sizes, state, io = coop
    io = {name[len(f'{task}.{case}.') :]: v for name, v in io.items() if f'{task}.{case}.' in name}
    settings = LearnedText(contexts=config['n_ctx'], encoder=sizes, **options)
    source = LearnedFeatures(settings, table(task, config['classes'][task]))
    source.encoder.load_state_dict(state)
    source.prompts.load_state_dict(weights.coop_prompts({'prompt_learner.ctx': io['ctx']}, task))

    embeddings, ends = source.prompts.embeddings(
        source.encoder.token_embedding.weight, sizes.context_length
    )
    assert torch.equal(ends, io['eot_index'])
    check(embeddings, io['prompt_embeddings'])
    check(source.encoder(embeddings, ends), io['text_features'])

    features = source.raw()
    check(features, io['text_features'])
    check(source(), io['text_features_l2'])
    loss = (source() * io['probe_weights']).sum()
    check(loss, io['probe_loss'])
    loss.backward()
    check(source.prompts.contexts[task].grad, io['grad.ctx'])


def test_tokens_and_hand_crafted_prompts_are_those_of_clip(coop):
    config, sizes, state, io = coop
    encoder = TextEncoder(sizes)
    encoder.load_state_dict(state)
    templates = {'photo': 'a photo of a {}.', 'scene': 'there is a {} in the scene.'}
    for task, names in config['classes'].items():
        tokens = padded([tokenise(spoken(name)) for name in names], 77)
        assert torch.equal(tokens, io[f'names.{task}.tokens'])
        for kind, template in templates.items():
            tokens = padded([tokenise(template.format(name)) for name in names], 77)
            assert torch.equal(tokens, io[f'handcrafted.{task}.{kind}.tokens'])
            check(encoder.encode_tokens(tokens), io[f'handcrafted.{task}.{kind}.encode_text'])


def test_dense_clip_prompts_without_period(oracles):
    config, _, io = read_case(oracles / 'denseclip')
    names = config['classes']
    tokens = padded([tokenise(name) for name in names], config['name_len'])
    assert torch.equal(tokens, io['texts'])
    sizes = TextEncoderConfig(width=64, context_length=config['ctx_len'] + config['name_len'])
    prompts = Prompts(LearnedText(layout='denseclip'), sizes, table('semantic', names))
    _, ends = prompts.embeddings(torch.zeros(VOCABULARY, 64), sizes.context_length)
    assert torch.equal(ends, io['texts'].argmax(1) + config['ctx_len'])
    contexts = prompts.contexts['semantic']
    assert 0.8 < contexts.std() < 1.0 and contexts.abs().max() <= 2


@pytest.fixture(scope='module')
def dense_clip(oracles):
    config, state, io = read_case(oracles / 'denseclip')
    settings = PostPromptingConfig(
        text={
            'source': 'learned',
            'layout': 'denseclip',
            'contexts': config['ctx_len'],
            'encoder': {
                'width': config['text_width'],
                'heads': config['text_heads'],
                'layers': config['text_layers'],
                'context_length': config['ctx_len'] + config['name_len'],
                'embed_dim': config['visual_dim'],
            },
        },
        context_decoder=ContextDecoderConfig(
            width=config['decoder_width'],
            heads=config['decoder_heads'],
            layers=config['decoder_layers'],
        ),
    )
    prompts = PostModelPrompts(settings, table('semantic', config['classes'])).eval()
    state = with_token_table(state, 'text_encoder.')
    mapped = weights.denseclip(state)
    prompts.load_state_dict(mapped)
    return config, state, mapped, prompts, io


def test_post_model_prompting_is_that_of_dense_clip(dense_clip):
    _, state, mapped, prompts, io = dense_clip
    tokens = io['context_decoder.in_visual']
    text = prompts.text.raw()
    check(text[None], io['text_raw'])
    decoded = prompts.context_decoder(text.expand(len(tokens), -1, -1), tokens)
    check(decoded, io['context_decoder.out'])
    after, scores = prompts(tokens)
    check(after, io['text_embeddings_after_gamma'])
    scores = scores.unflatten(2, io['score_map'].shape[2:])
    check(scores, io['score_map'])
    check(torch.cat([io['x5'], scores], 1), io['x5_concat_score'])

    loss = (scores * io['score_probe']).sum()
    check(loss, io['probe_loss'])
    prompts.zero_grad()
    loss.backward()
    check(prompts.text.prompts.contexts['semantic'].grad[None], io['grad.contexts'])
    check(prompts.gamma.grad, io['grad.gamma'])
    ours = {value.data_ptr(): name for name, value in mapped.items()}
    gradients = {name: parameter.grad for name, parameter in prompts.named_parameters()}
    norms = [name for name in io if name.startswith('grad_norm.')]
    for name in norms:
        official = state[name[len('grad_norm.') :]]
        check(gradients[ours[official.data_ptr()]].norm(), io[name])
    assert len(norms) == sum('context_decoder.' in name for name in state)


def test_detection_maps_of_dense_clip_are_divided_by_the_temperature(dense_clip, monkeypatch):
    config, _, _, prompts, io = dense_clip
    monkeypatch.setattr(prompts, 'temperature', config['tau'])
    _, scores = prompts(io['context_decoder.in_visual'])
    expected = io['score_map_detection_div_tau']
    torch.testing.assert_close(
        scores.unflatten(2, expected.shape[2:]), expected, rtol=1e-4, atol=1e-5 / config['tau']
    )


def test_score_maps_from_the_image(dense_clip):
    config, state, _, prompts, io = dense_clip
    backbone = ClipResNet(
        ClipResNet.Config(
            layers=config['resnet_layers'],
            width=config['resnet_width'],
            output_dim=config['visual_dim'],
            heads=config['attnpool_heads'],
            image_size=96,  # its positional grid is 3×3
        )
    ).eval()
    backbone.add_pooling()
    image_half = {name.removeprefix('backbone.'): value for name, value in state.items()}
    backbone.load_state_dict(weights.clip_resnet(image_half))
    c5 = backbone(io['image'])[-1]
    check(c5, io['x5'])
    tokens = backbone.attention_pool(c5)
    check(tokens, io['context_decoder.in_visual'])
    _, scores = prompts(tokens)
    check(scores.unflatten(2, c5.shape[2:]), io['score_map'])
