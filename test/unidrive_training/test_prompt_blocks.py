# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompt blocks: Eq. 1, the parameter counts of the paper, options, export."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unidrive_perception.errors import UserError
from unidrive_training.models.prompt_blocks import PromptBlock, PromptBlocks, PromptConfig

RESNET50 = [256, 512, 1024, 2048]
REGNETX_32 = [336, 672, 1344, 2520]


def millions(channels, **options):
    with torch.device('meta'):
        blocks = PromptBlocks(PromptConfig(**options), channels)
    return sum(parameter.numel() for parameter in blocks.parameters()) / 1e6


def head(features, classes):
    return (features + 1) * classes / 1e6


def filled(block):
    """Random weights and statistics everywhere, also where the initialisation is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in block.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) - 0.3)
                if 'running_var' in name:
                    value.add_(0.5)
    return block.eval()


def test_resnet50_has_the_published_number_of_parameters():
    assert millions(RESNET50) == pytest.approx(3.613, abs=0.002)
    assert round(millions(RESNET50), 2) == 3.61
    # Table 9: one, two and three blocks per stage with a 100-way head. Table 4: a 10-way head.
    for blocks, published in ((1, 3.82), (2, 7.43), (3, 11.05)):
        total = millions(RESNET50, blocks=blocks) + head(2048, 100)
        assert total == pytest.approx(published, abs=0.01)
    assert millions(RESNET50) + head(2048, 10) == pytest.approx(3.634, abs=0.002)
    # Table 2: the largest head has 120 classes.
    assert round(millions(RESNET50) + head(2048, 120), 2) == 3.86


@pytest.mark.parametrize('kernel, published', [(3, 3.76), (5, 3.82), (7, 3.91)])
def test_the_kernel_costs_what_table_12_says(kernel, published):
    assert round(millions(RESNET50, kernel=kernel) + head(2048, 100), 2) == published


def test_regnet_has_the_published_number_of_parameters():
    assert millions(REGNETX_32) + head(2520, 120) == pytest.approx(5.91, abs=0.01)


@pytest.mark.parametrize(
    'channels, width, published, nearness',  # Tables 4 and 5 without their heads
    [
        ([384] * 5, 0.5, 0.773 - head(384, 10), 0.036),  # DeiT-S
        ([768] * 5, 0.5, 3.236 - head(768, 200), 0.011),  # DeiT-B
        ([192, 384, 768, 768], 0.5, 1.458 - head(768, 10), 0.004),  # Swin-S, patches merged
        ([256, 512, 1024, 1024], 0.5, 2.749 - head(1024, 200), 0.004),  # Swin-B, patches merged
        ([96, 192, 384, 768], 0.875, 1.458 - head(768, 10), 0.035),  # Swin-S, before merging
        ([128, 256, 512, 1024], 0.875, 2.749 - head(1024, 200), 0.035),  # Swin-B, before merging
    ],
)
def test_transformers_have_nearly_the_published_number(channels, width, published, nearness):
    assert millions(channels, groups=1, width=width) == pytest.approx(published, rel=nearness)


def test_a_block_adds_beta_times_its_prompt():
    block = filled(PromptBlock(PromptConfig(groups=2, reduction=4, kernel=3), 8))
    x = torch.randn(2, 8, 5, 6)

    def norm(y, bn):
        y = (y - bn.running_mean[:, None, None]) / torch.sqrt(bn.running_var + bn.eps)[
            :, None, None
        ]
        return y * bn.weight[:, None, None] + bn.bias[:, None, None]

    first, norm1, _, depthwise, norm2, _, se, last, norm3 = block.prompt
    halves = [
        torch.einsum('oc,bchw->bohw', w[:, :, 0, 0], part)
        for w, part in zip(first.weight.chunk(2), x.chunk(2, 1), strict=True)
    ]
    y = norm(torch.cat(halves, 1) + first.bias[:, None, None], norm1).relu()
    y = F.conv2d(y, depthwise.weight, depthwise.bias, padding=1, groups=8)
    y = norm(y, norm2).relu()
    squeezed = F.relu(y.mean((2, 3)) @ se.fc1.weight[:, :, 0, 0].T)
    y = y * torch.sigmoid(squeezed @ se.fc2.weight[:, :, 0, 0].T)[:, :, None, None]
    y = norm(F.conv2d(y, last.weight, last.bias, groups=2), norm3)
    expected = x + block.beta * y
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
    assert not torch.equal(expected, x)


def test_several_blocks_follow_each_other():
    blocks = filled(PromptBlocks(PromptConfig(blocks=3, reduction=4), [8, 16]))
    x = torch.randn(1, 16, 4, 4)
    expected = x
    for block in blocks.places[1]:
        expected = expected + block.beta * block.prompt(expected)
    assert len(blocks.places[1]) == 3
    torch.testing.assert_close(blocks(1, x), expected)


def test_places_that_are_not_chosen_are_the_identity():
    blocks = filled(PromptBlocks(PromptConfig(places=[1]), [8, 8, 8]))
    x = torch.randn(2, 8, 4, 4)
    assert blocks(0, x) is x and blocks(2, x) is x
    assert not torch.equal(blocks(1, x), x)
    assert millions([768] * 5, places=[0, 1]) == pytest.approx(2 * millions([768]))


@pytest.mark.parametrize('training', [False, True])
def test_untrained_blocks_change_nothing_and_can_learn(training):
    torch.manual_seed(0)
    blocks = PromptBlocks(PromptConfig(reduction=1), [8]).train(training)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(blocks(0, x), x)
    optimizer = torch.optim.SGD(blocks.parameters(), lr=1.0)
    before = [p.detach().clone() for p in blocks.parameters()]
    # The first step opens the last norm, the second reaches beta, from then on all learn.
    for _ in range(3):
        optimizer.zero_grad()
        (blocks(0, x) - x.roll(1, 1)).square().mean().backward()
        optimizer.step()
    for parameter, old in zip(blocks.parameters(), before, strict=True):
        # Batch norm in training takes away what a bias before it adds.
        assert (training and parameter.dim() == 1) or not torch.equal(parameter, old)


def test_a_constant_beta_is_no_parameter():
    block = PromptBlock(PromptConfig(beta=0.25, learn_beta=False), 8)
    assert 'beta' not in dict(block.named_parameters())
    assert block.beta == 0.25 and 'beta' in block.state_dict()
    assert isinstance(PromptBlock(PromptConfig(), 8).beta, nn.Parameter)


def test_channels_last_and_bfloat16():
    block = filled(PromptBlock(PromptConfig(), 16))
    x = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    expected = block(x)
    block = block.to(memory_format=torch.channels_last)
    assert block(x).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        assert block(x).dtype == torch.float32
        assert block(x.bfloat16()).dtype == torch.bfloat16
        torch.testing.assert_close(block(x), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    'options, message',
    [
        ({'kernel': 4}, 'kernel 4 must be odd'),
        ({'places': [0, 2]}, 'places holds 2'),
        ({'groups': 3}, 'groups 3 must divide the 8 channels'),
        ({'width': 0.25}, 'the 2 of its depthwise'),
    ],
)
def test_what_does_not_fit_is_said(options, message):
    with pytest.raises(UserError, match=message):
        PromptBlocks(PromptConfig(**options), [8, 16])


def test_a_block_exports(tmp_path):
    block = filled(PromptBlock(PromptConfig(), 16))
    x = torch.randn(2, 16, 8, 12)
    path = tmp_path / 'block.onnx'
    batch = torch.export.Dim('batch', min=1, max=16)
    torch.onnx.export(
        block,
        (x,),
        path,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for count in (1, 3):
        x = torch.randn(count, 16, 8, 12)
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(got, block(x).detach().numpy(), atol=1e-5)
