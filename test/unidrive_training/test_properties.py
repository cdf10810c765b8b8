# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What holds for the whole model, whichever parts a config puts together."""

import onnxruntime
import pytest
import torch
from test_tuning import SMALL, batch

from unidrive_perception.errors import UserError
from unidrive_training.export import check_program, export_program, same_detections
from unidrive_training.models.multitask import ModelConfig, MultiTaskModel

SEGMENTATION = SMALL['heads']['semantic']
SEMANTIC_FPN = {'name': 'semantic_fpn', 'channels': 16, 'groups': 4, 'output_stride': 2}
CLIP = {'layers': [1, 1, 1, 1], 'width': 8, 'heads': 4, 'output_dim': 12, 'image_size': 96}
TEXT = SMALL['language']['text']
VARIANTS = {
    'prompts, pre-adapter, L2V': SMALL,
    'post-adapter, class maps, convolutional heads': SMALL
    | {
        'prompts': None,
        'adapter': {'name': 'post'},
        'language': {'name': 'class_maps', 'text': TEXT},
        'heads': {
            'detection': {'name': 'faster_rcnn', 'channels': 16, 'proposals': 40},
            'semantic': SEMANTIC_FPN,
            'drivable': SEMANTIC_FPN,
        },
    },
    'CLIP, vision to language': SMALL
    | {
        'backbone': {'name': 'clip_rn50', **CLIP},
        'adapter': {'name': 'pre_vector'},
        'language': {
            'name': 'post_prompting',
            'text': TEXT,
            'context_decoder': {'width': 8, 'heads': 2, 'layers': 1},
        },
        'heads': {'drivable': SEGMENTATION | {'queries': 5, 'output_stride': 4}},
    },
}


@pytest.fixture(params=VARIANTS)
def model(request):
    torch.manual_seed(0)
    model = MultiTaskModel(ModelConfig(**VARIANTS[request.param]))
    # Fresh batch norms, and prompts that do nothing, would hide mistakes.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return model.eval()


def same(actual, expected):
    """Equal results, up to rounding where kernels depend on the number of images."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape and actual[name].dtype == value.dtype
        if value.dtype == torch.uint8:
            assert (actual[name] != value).float().mean() <= 1e-4
        elif name != 'class_ids':
            torch.testing.assert_close(actual[name], value, atol=5e-3, rtol=0)
    if 'scores' in expected:
        for row in range(len(expected['scores'])):
            both = [
                {n: v[row : row + 1].numpy() for n, v in found.items()}
                for found in (expected, actual)
            ]
            assert same_detections(*both)


def test_a_batch_equals_its_images(model):
    images, _ = batch(images=3)
    together = model.predict(images)
    for row in range(3):
        same({n: v[row : row + 1] for n, v in together.items()}, model.predict(images[row, None]))


def test_padding_never_changes_a_result(model):
    """Images of three sizes on one canvas, with rubbish in the padding, or each on its own."""
    sizes = torch.tensor([[64.0, 96.0], [50.0, 64.0], [32.0, 90.0]])
    images, _ = batch(images=3)
    canvas = torch.randint(0, 256, (3, 128, 160, 3), dtype=torch.uint8)
    for row, (height, width) in enumerate(sizes.int().tolist()):
        canvas[row, :height, :width] = images[row, :height, :width]
    together = model.predict(canvas, sizes)
    canvas[0, 64:], canvas[1, 50:], canvas[2, :, 90:] = 0, 255, 7
    same(model.predict(canvas, sizes), together)
    for row, (height, width) in enumerate(sizes.int().tolist()):
        rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
        alone = model.predict(canvas[row : row + 1, :rows, :columns], sizes[row : row + 1])
        for task in {'semantic', 'drivable'} & alone.keys():
            stride = rows // alone[task].shape[1]
            full = torch.full_like(together[task][row : row + 1], 255)
            full[:, : rows // stride, : columns // stride] = alone[task]
            alone[task] = full
            inside = together[task][row, : -(-height // stride), : -(-width // stride)]
            assert (inside != 255).all()
        same({name: value[row : row + 1] for name, value in together.items()}, alone)


def test_whole_images_need_no_sizes(model):
    images, targets = batch()
    sizes = torch.tensor([[64.0, 96.0]] * 2)
    same(model.predict(images, sizes), model.predict(images))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = model.losses(images, targets)
        torch.manual_seed(0)
        torch.testing.assert_close(model.losses(images, targets, sizes), expected)


def test_the_exported_program_equals_the_model(model, tmp_path):
    images, _ = batch(images=3)
    expected = model.predict(images)
    model.fold()
    same(model.predict(images), expected)
    assert not any('.encoder.' in name or 'contexts' in name for name in model.state_dict())
    path = tmp_path / 'model.onnx'
    export_program(model, (64, 96), path)
    check_program(model, (64, 96), path)  # boxes within 0.01 px, 99.99 % of the pixels
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    actual = session.run(names, {'images': images.numpy()})
    same({n: torch.from_numpy(v) for n, v in zip(names, actual, strict=True)}, expected)


def test_parts_that_do_not_fit_together_are_named():
    def build(**changes):
        return MultiTaskModel(ModelConfig(**(SMALL | changes)))

    language = {'name': 'post_prompting', 'text': TEXT}
    with pytest.raises(UserError, match=r"'post_prompting' needs the attention pool.*clip_rn50"):
        build(language=language)
    with pytest.raises(UserError, match=r'texts of 12 numbers.*image tokens of 20'):
        clip = {'name': 'clip_rn50', **CLIP, 'output_dim': 20}
        build(backbone=clip, language=language)
    with pytest.raises(UserError, match=r"adapter: unknown name 'post-fpn'; known names: .*pre_"):
        build(adapter={'name': 'post-fpn'})
