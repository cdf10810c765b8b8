# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Image classification: long tails, what learns under each plan, training, resuming, errors."""

import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torchvision.datasets import CIFAR100

from unidrive_perception.errors import UserError
from unidrive_training.classification import published
from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.classification.data import (
    long_tail,
    long_tail_counts,
    read_images,
    training_loader,
)
from unidrive_training.classification.published import parameter_table, published_millions
from unidrive_training.classification.trainer import ClassifierTrainer, Scores, learning_rate
from unidrive_training.cli import main
from unidrive_training.config import load_config
from unidrive_training.engine.checkpoint import read_checkpoint
from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.models.prompt_blocks import PromptConfig

SHIPPED = sorted((Path(__file__).parents[2] / 'config' / 'classification').glob('*.yaml'))
SMALL = {  # options that make a backbone tiny
    'resnet18': {'width': 8},
    'resnet50': {'width': 8},
    'deit_s': {'channels': 24, 'heads': 2, 'blocks': 4, 'image_size': 64},
    'swin_s': {'channels': 16, 'heads': [1, 1, 2, 2], 'depths': [1, 1, 2, 1], 'window': 4},
}
PROMPTS = {  # those of the shipped configs
    'resnet': {},
    'regnet': {},
    'deit': {'groups': 1, 'width': 0.5},
    'swin': {'groups': 1, 'width': 0.875},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Noise that is rather red in one class and rather blue in the other."""
    root = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for split, count in (('train', 20), ('val', 10)):
        for channel, name in ((0, 'blue'), (2, 'red')):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                image[..., channel] = image[..., channel] // 2 + 128
                cv2.imwrite(str(root / split / name / f'{number}.png'), image)
    return root


def tiny(**settings) -> ClassificationConfig:
    """The shipped config for folders with a tiny backbone of random weights."""
    values = yaml.safe_load(next(path for path in SHIPPED if 'folder' in path.name).read_text())
    values |= {
        'backbone': {'name': 'resnet18', 'width': 8},
        'pretrained': None,
        'data': {'dataset': 'folder', 'image_size': 32},
        'epochs': 3,
        'batch_size': 8,
        'warmup': 4,
        'learning_rate': 1e-2,
        'bfloat16': False,
        'workers': 0,
    }
    return ClassificationConfig.model_validate(values | settings)


def trainer(config, folder, out, **options) -> ClassifierTrainer:
    return ClassifierTrainer(config, *read_images(config.data, folder), out, 'cpu', **options)


@pytest.mark.parametrize(
    'classes, imbalance, total',  # Table 1
    [(10, 100, 12_406), (10, 50, 13_996), (100, 100, 10_847), (100, 50, 12_608)],
)
def test_long_tails_have_the_published_sizes(classes, imbalance, total):
    counts = long_tail_counts(50_000, classes, imbalance)
    assert sum(counts) == total
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 50_000 // classes and counts[-1] == 50_000 // classes // imbalance


def test_a_long_tail_is_chosen_as_in_ldam():
    class_ids = np.random.default_rng(5).permutation(np.repeat(np.arange(10), 50))
    chosen = long_tail(class_ids, 50, seed=3)
    np.random.seed(3)
    expected = []
    for i in range(10):
        members = np.where(class_ids == i)[0]
        np.random.shuffle(members)
        expected.append(members[: int(50 * 0.02 ** (i / 9))])
    np.testing.assert_array_equal(chosen, np.concatenate(expected))
    assert set(chosen) != set(long_tail(class_ids, 50, seed=4))


def test_cifar_is_read_from_disk(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    base = tmp_path / CIFAR100.base_folder
    base.mkdir()
    for name, count in (('train', 40), ('test', 4)):
        entry = {
            'data': rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            'fine_labels': list(np.arange(count) % 4),
        }
        (base / name).write_bytes(pickle.dumps(entry))
    (base / 'meta').write_bytes(pickle.dumps({'fine_label_names': list('abcd')}))
    monkeypatch.setattr(CIFAR100, '_check_integrity', lambda self: True)
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda *_: True)
    config = tiny(data={'dataset': 'cifar100', 'image_size': 64, 'imbalance': 10}).data
    train, test = read_images(config, tmp_path)
    assert train.classes == list('abcd') and len(test.class_ids) == 4
    batches = list(training_loader(train, config, 0, 0, batch_size=8, workers=0))
    assert sum(len(class_ids) for _, class_ids in batches) == sum(long_tail_counts(40, 4, 10))
    images = batches[0][0]
    assert images.shape == (8, 3, 64, 64) and images.dtype == torch.uint8


def test_views_depend_on_the_epoch_and_not_on_the_worker(folder):
    config = tiny().data
    train, _ = read_images(config, folder)

    def batches(epoch, workers):
        loader = training_loader(train, config, 0, epoch, 8, workers)
        return torch.cat([images for images, _ in loader])

    first = batches(0, 0)
    torch.randn(5)
    assert torch.equal(first, batches(0, 2))
    assert not torch.equal(first, batches(1, 0))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize('tuning', ['prompt-blocks', 'head', 'partial-1', 'partial-2', 'finetune'])
def test_a_step_of_a_shipped_config_reaches_what_learns_and_nothing_else(path, tuning):
    settings = [f'tuning={tuning}', 'pretrained=null', 'data.image_size=64']
    if tuning != 'prompt-blocks':
        settings.append('prompts=null')
    config = load_config(path, settings, ClassificationConfig)
    config.check()
    torch.manual_seed(0)
    small = config.backbone | SMALL[config.backbone['name']]
    model = ImageClassifier(small, config.prompts, 5)
    model.apply_plan(config.tuning)
    model.train()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    F.cross_entropy(model(images), torch.tensor([1, 4])).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    parts = {
        'prompt-blocks': ('head.', 'backbone.prompts.'),
        'head': ('head.',),
        'finetune': ('head.', 'backbone.'),
    }
    if tuning in parts:
        names = [name for name, _ in model.named_parameters()]
        assert reached == {name for name in names if name.startswith(parts[tuning])}
    else:
        layers = model.backbone.last_layers(int(tuning[-1]))
        last = {id(p) for layer in layers for p in layer.parameters()}
        assert last and last < {id(p) for p in model.backbone.parameters()}
        wanted = last | {id(p) for p in model.head.parameters()}
        assert {id(p) for p in model.parameters() if p.requires_grad} == wanted


@pytest.mark.parametrize('tuning', ['prompt-blocks', 'head'])
def test_a_frozen_backbone_is_the_same_after_training(folder, tmp_path, tuning):
    prompts = {} if tuning == 'prompt-blocks' else None
    run = trainer(tiny(tuning=tuning, prompts=prompts, epochs=1), folder, tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.run()
    learned = ('head.', 'backbone.prompts.')
    for name, value in run.model.state_dict().items():
        same = torch.equal(value, before[name])
        if not name.startswith(learned):  # weights, and the statistics of batch norms
            assert same, name
        elif name.endswith(('head.weight', 'beta', 'running_mean')):
            assert not same, name


@pytest.mark.parametrize('backbone', sorted({name for name, _ in published._FIGURES}))
def test_what_learns_counts_as_much_as_published(backbone):
    prompts = PromptConfig(**PROMPTS[backbone.partition('_')[0].rstrip('x0123456789')])
    transformer = backbone.startswith(('deit', 'swin'))
    with torch.device('meta'):
        model = ImageClassifier({'name': backbone}, prompts, 1)
    blocks = model.backbone.prompts
    for (name, classes), figures in published._FIGURES.items():
        for plan, millions in zip(published._PLANS, figures, strict=True):
            if name != backbone or millions is None:
                continue
            model.head = nn.Linear(model.backbone.feature_channels, classes, device='meta')
            prompted = plan == 'prompt-blocks'
            model.backbone.prompts = blocks if prompted else None
            model.apply_plan(plan)
            count = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
            # The paper's heads are off by up to 0.005 M: ten times the rounded one of ten classes.
            nearness = 0.035 if prompted and transformer else 0.002
            assert count == pytest.approx(millions, rel=nearness, abs=0.0055), (classes, plan)
            assert published_millions(name, classes, plan, prompts if prompted else None)


def test_the_table_shows_the_paper_beside_our_count():
    with torch.device('meta'):
        model = ImageClassifier({'name': 'resnet50'}, PromptConfig(), 100)
    model.apply_plan('prompt-blocks')
    published_here = published_millions('resnet50', 100, 'prompt-blocks', PromptConfig())
    table = parameter_table(model, published_here)
    assert '3,612,164' in table and '3.817 M; the paper: 3.823 M' in table
    assert published_millions('resnet50', 7, 'head', None) is None
    assert published_millions('resnet50', 100, 'prompt-blocks', PromptConfig(blocks=2)) is None
    assert published_millions('resnet50', 100, 'finetune', PromptConfig()) is None


def test_it_learns_to_tell_two_classes(folder, tmp_path, capsys):
    config = tiny(epochs=6).model_dump(mode='json')
    path = tmp_path / 'config.yaml'
    path.write_text(yaml.safe_dump(config))
    arguments = [str(path), str(tmp_path / 'run'), '--data', str(folder), '--device', 'cpu']
    assert main(['classify', *arguments]) == 0
    printed = capsys.readouterr().out
    assert 'prompt blocks' in printed and 'random weights' in printed
    last = printed.strip().splitlines()[-1]
    assert float(last.split()[1].rstrip(',')) >= 0.9, last
    assert main(['classify', *arguments]) == 0  # trained: its scores again
    again = capsys.readouterr().out.strip().splitlines()[-1]
    assert again.split(' after')[0] == last.split(' after')[0]


class _Killed(Exception):
    pass


@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_a_resumed_run_equals_an_uninterrupted_one(folder, tmp_path, monkeypatch, optimizer):
    config = tiny(optimizer=optimizer)
    whole = trainer(config, folder, tmp_path / 'whole')
    scores = whole.run()
    train_epoch = ClassifierTrainer._train_epoch

    def killed(self):
        if self.epoch == 2:
            raise _Killed
        return train_epoch(self)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(ClassifierTrainer, '_train_epoch', killed)
        trainer(config, folder, tmp_path / 'cut').run()
    resumed = trainer(config, folder, tmp_path / 'cut')
    assert resumed.epoch == 2
    assert resumed.run() == scores
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    other = config.model_copy(update={'seed': 1})
    with pytest.raises(UserError, match=r'another config \(seed was 0, is 1\)'):
        trainer(other, folder, tmp_path / 'cut')


def test_a_pretrained_backbone_is_loaded(folder, tmp_path, capsys):
    torch.manual_seed(7)
    backbone = ImageClassifier({'name': 'resnet18', 'width': 8}, None, 2).backbone
    torch.save(backbone.state_dict(), tmp_path / 'backbone.pth')
    file = {'file': str(tmp_path / 'backbone.pth'), 'format': 'torchvision'}
    run = trainer(tiny(pretrained=file, epochs=1), folder, tmp_path / 'run')
    run.run()
    kept = read_checkpoint(tmp_path / 'run')['model']
    for name, value in backbone.state_dict().items():
        assert torch.equal(kept[f'backbone.{name}'], value)
    assert 'backbone.pth' in capsys.readouterr().out


def test_scores_weigh_images_or_classes():
    scores = Scores.of(np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]]))
    assert scores.top1 == pytest.approx(9 / 12)
    assert scores.mean_class == pytest.approx((0.8 + 0.5) / 2)


def test_the_rate_rises_and_falls():
    config = tiny(warmup=4, learning_rate=1.0)
    rates = [learning_rate(config, i, 20) for i in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] < 0.02


def _class(root: Path, name: str, content: bytes | None) -> None:
    for split in ('train', 'val'):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        if content is not None:
            (root / split / name / '1.png').write_bytes(content)


def test_missing_data_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r'no complete CIFAR100 .*cifar-100-python.tar.gz'):
        read_images(tiny(data={'dataset': 'cifar100'}).data, tmp_path)
    assert not list(tmp_path.iterdir())  # nothing was downloaded
    data = tiny().data
    with pytest.raises(UserError, match='must hold a folder of images per class'):
        read_images(data, tmp_path / 'absent')
    _class(tmp_path, 'a', None)
    with pytest.raises(UserError, match='must hold a folder of images per class'):
        read_images(data, tmp_path)
    _class(tmp_path, 'a', b'no image')
    train, _ = read_images(data, tmp_path)
    with pytest.raises(UserError, match=r'a/1.png: cannot be read as an image'):
        next(iter(training_loader(train, data, 0, 0, 4, 0)))
    (tmp_path / 'val' / 'b').mkdir()
    (tmp_path / 'val' / 'b' / '1.png').write_bytes(b'')
    with pytest.raises(UserError, match='b is in one of them only'):
        read_images(data, tmp_path)


@pytest.mark.parametrize(
    'settings, message',
    [
        (['tuning=prompts'], "tuning: Input should be 'finetune'.*got 'prompts'"),
        (['tuning=head'], 'prompts=null'),
        (['tuning=adapt'], 'trains no classifier'),
        (['prompts=null'], 'needs prompt blocks'),
        (['tuning=scratch'], 'pretrained=null'),
        (['prompts.size=3'], 'prompts.size: no such setting'),
        (['pretrained.file=absent.pth'], 'absent.pth: No such file'),
        (['pretrained=null', 'prompts.places=[4]'], 'places 0 to 3'),
        (['pretrained=null', 'backbone.name=resnet'], "unknown name 'resnet'; known"),
    ],
)
def test_settings_that_cannot_work_are_said(folder, tmp_path, capsys, settings, message):
    path = next(path for path in SHIPPED if 'folder' in path.name)
    arguments = ['classify', str(path), str(tmp_path / 'run'), '--data', str(folder)]
    for setting in settings:
        arguments += ['--set', setting]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
