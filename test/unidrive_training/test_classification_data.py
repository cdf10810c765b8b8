# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Images to classify: long tails, CIFAR from disk, views, what is missing."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from small_classifier import folder, tiny  # noqa: F401
from torchvision.datasets import CIFAR100

from unidrive_perception.errors import UserError
from unidrive_training.classification.data import (
    long_tail,
    long_tail_counts,
    read_images,
    training_loader,
)


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
    batches = list(training_loader(train, config, 0, 0, batch_size=6, workers=0))
    assert sum(len(class_ids) for _, class_ids in batches) == sum(long_tail_counts(40, 4, 10))
    images = batches[0][0]
    assert images.shape == (6, 3, 64, 64) and images.dtype == torch.uint8


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


@pytest.mark.parametrize(
    ('batch_size', 'sizes'), [(13, [13, 13, 13]), (8, [8] * 5), (19, [19, 19, 2]), (1, [1] * 40)]
)
def test_no_batch_is_a_rest_of_one_image(folder, batch_size, sizes):
    """40 images: a batch norm of a 1 × 1 map, which 32 pixels make, cannot learn from one."""
    train, _ = read_images(tiny().data, folder)
    loader = training_loader(train, tiny().data, 0, 0, batch_size, 0)
    assert [len(class_ids) for _, class_ids in loader] == sizes and len(loader) == len(sizes)


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
