# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The three language adapters: on a pyramid, folded, exported."""

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from language_parts import ADAPTERS, SMALL, TABLES, build, close, inputs, text_of

from unidrive_training.models.language.text_encoder import TextEncoder
from unidrive_training.models.registry import LANGUAGE


@pytest.mark.parametrize('name', ADAPTERS)
def test_batch_equals_single_images(name):
    adapter = build(name).eval()
    pyramid, tokens = inputs(batch=3)
    with torch.no_grad():
        together = adapter(pyramid, tokens)[-1]
        for i in range(3):
            alone = adapter([x[i : i + 1] for x in pyramid], tokens[i : i + 1])[-1]
            close(alone[0], together[i])
        channels_last = [x.to(memory_format=torch.channels_last) for x in pyramid]
        close(adapter(channels_last, tokens)[-1], together)


@pytest.mark.parametrize('name', ADAPTERS)
def test_half_precision_training(name):
    adapter = build(name)
    pyramid, tokens = inputs()
    with torch.autocast('cpu', torch.bfloat16):
        p5 = adapter(pyramid, tokens)[-1]
    p5.float().pow(2).sum().backward()
    contexts = text_of(adapter).prompts.contexts['semantic']
    assert contexts.grad.isfinite().all() and contexts.grad.abs().max() > 0


def test_l2v_on_the_pyramid_of_a_resnet50():
    spec = {'name': 'l2v', 'text': {'source': 'learned', 'encoder': SMALL | {'embed_dim': 1024}}}
    adapter = LANGUAGE.build(spec, channels=256, tables=TABLES).eval()
    pyramid = [torch.randn(1, 256, 12 * s, 20 * s) for s in (8, 4, 2, 1)]
    with torch.no_grad():
        assert adapter(pyramid)[-1].shape == (1, 256, 12, 20)
    parameters = {n: p.numel() for n, p in adapter.named_parameters() if p.requires_grad}
    layer = 2 * (4 * 256 * 256 + 4 * 256) + 2 * 256 * 2048 + 2048 + 256 + 3 * 512
    contexts = 3 * 16 * SMALL['width']
    assert sum(parameters.values()) == contexts + (1024 * 256 + 256) + 3 * layer + 512


def test_class_maps_are_cosines():
    adapter = build('class_maps').eval()
    pyramid, _ = inputs()
    text = F.normalize(adapter.project(adapter.text()), dim=1)
    z5 = F.normalize(pyramid[-1], dim=1)
    maps = torch.einsum('kc,bchw->bkhw', text, z5)
    expected = F.conv2d(torch.cat([pyramid[-1], maps], 1), adapter.reduce.weight)
    close(adapter(pyramid)[-1], expected + adapter.reduce.bias[:, None, None])


def test_post_prompting_begins_with_the_texts_as_they_are():
    adapter = build('post_prompting').eval()
    assert adapter.needs_tokens
    assert torch.equal(adapter.prompting.gamma, torch.full((24,), 1e-4))
    _, tokens = inputs()
    text, _ = adapter.prompting(tokens)
    close(text, adapter.prompting.text.raw().expand(2, -1, -1), atol=1e-3)


@pytest.mark.parametrize('name', ADAPTERS)
def test_folded_equals_unfolded_without_encoder_and_prompts(name):
    adapter = build(name).eval()
    pyramid, tokens = inputs()
    with torch.no_grad():
        expected = adapter(pyramid, tokens)[-1]
        adapter.fold()
        close(adapter(pyramid, tokens)[-1], expected)
    rest = [n for n, _ in [*adapter.named_parameters(), *adapter.named_buffers()] if 'text.' in n]
    assert len(rest) == 1 and rest[0].endswith('text.features')
    assert not any(isinstance(module, TextEncoder) for module in adapter.modules())
    adapter.fold()  # a second time changes nothing


class Exported(torch.nn.Module):
    """P5 and tokens in, P5 out: what an adapter does in a program."""

    def __init__(self, adapter):
        super().__init__()
        self.adapter = adapter

    def forward(self, p5, tokens):
        # Tokens that an adapter does not use stay an input.
        return self.adapter([p5], tokens)[-1] + 0 * tokens.sum()


@pytest.mark.parametrize('name', ADAPTERS)
def test_exported_program_equals_the_adapter(name, tmp_path):
    adapter = build(name).eval()
    adapter.fold()
    batch = {0: torch.export.Dim('batch', min=1, max=64)}
    pyramid, tokens = inputs()
    program = torch.onnx.export(
        Exported(adapter).eval(),
        (pyramid[-1], tokens),
        input_names=['p5', 'tokens'],
        opset_version=18,
        dynamic_shapes={'p5': batch, 'tokens': batch},
        dynamo=True,
        verbose=False,
    )
    program.save(tmp_path / 'adapter.onnx')
    session = onnxruntime.InferenceSession(
        tmp_path / 'adapter.onnx', providers=['CPUExecutionProvider']
    )
    for count in (1, 3):
        pyramid, tokens = inputs(batch=count, seed=count)
        feed = {'p5': pyramid[-1].numpy(), 'tokens': tokens.numpy()}
        (actual,) = session.run(None, feed)
        with torch.no_grad():
            close(torch.from_numpy(actual), adapter(pyramid, tokens)[-1], atol=1e-4)
