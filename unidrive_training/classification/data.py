# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Images to classify: CIFAR, its long-tailed choices, and folders of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import CIFAR10, CIFAR100, ImageFolder
from torchvision.transforms import v2

from unidrive_perception.errors import UserError
from unidrive_training.classification.config import DataConfig
from unidrive_training.data.bdd100k import read_image

_CIFAR = {'cifar10': CIFAR10, 'cifar100': CIFAR100}


@dataclass(frozen=True)
class LabelledImages:
    """Images as they come from the disk, the class id of each (N,), and the names of the classes.

    ``source[i]`` is (image, class id).
    """

    source: Dataset
    class_ids: np.ndarray
    classes: list[str]


def read_images(
    config: DataConfig, folder: Path, download: bool = False
) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test images in a folder.

    CIFAR is downloaded into it only if ``download``. Raises UserError when they are not there.
    """
    if config.dataset in _CIFAR:
        return tuple(_read_cifar(config.dataset, folder, t, download) for t in (True, False))
    train, test = (_read_folder(folder / split) for split in ('train', 'val'))
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise UserError(
            f'{folder}: train and val must have the same class folders; '
            f'{differing[0]} is in one of them only'
        )
    return train, test


def _read_cifar(name: str, folder: Path, train: bool, download: bool) -> LabelledImages:
    dataset = _CIFAR[name]
    try:
        source = dataset(folder, train=train, download=download)
    except RuntimeError as error:
        raise UserError(
            f'{folder}: no complete {dataset.__name__} here ({dataset.base_folder}); download and '
            f'unpack {dataset.url} there, or add --download'
        ) from error
    return LabelledImages(source, np.array(source.targets), source.classes)


def _read_folder(folder: Path) -> LabelledImages:
    try:
        source = ImageFolder(folder, loader=read_image)
    except FileNotFoundError as error:  # no folder, no class, or a class without images
        raise UserError(
            f'{folder}: must hold a folder of images per class, such as {folder.name}/CLASS/1.jpg '
            f'({error})'
        ) from error
    return LabelledImages(source, np.array(source.targets), source.classes)


def long_tail_counts(images: int, classes: int, imbalance: float) -> list[int]:
    """Images per class of the long-tailed CIFAR of Cao et al. (LDAM, 2019), largest first.

    n_i = n_max · (1 / imbalance)^(i / (C - 1)), cut to an integer; n_max is the mean class size.
    """
    return [
        int(images / classes * (1 / imbalance) ** (i / max(1, classes - 1)))
        for i in range(classes)
    ]


def long_tail(class_ids: np.ndarray, imbalance: float, seed: int) -> np.ndarray:
    """Indices of a long-tailed choice of images, the same ones as LDAM's code for its seed."""
    rng = np.random.RandomState(seed)
    classes = np.unique(class_ids)
    chosen = []
    counts = long_tail_counts(len(class_ids), len(classes), imbalance)
    for class_id, count in zip(classes, counts, strict=True):
        members = np.flatnonzero(class_ids == class_id)
        rng.shuffle(members)
        chosen.append(members[:count])
    return np.concatenate(chosen)


class Views(Dataset):
    """Item i: the i-th chosen image as a (3, S, S) uint8 tensor, and its class id.

    A random view is a function of (``key``, i), whichever process makes it.
    """

    def __init__(
        self, images: LabelledImages, chosen: np.ndarray, view: v2.Transform, key: tuple[int, ...]
    ) -> None:
        self._images, self._chosen = images, chosen
        self._view, self._key = view, key

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        torch.manual_seed(seed_of(*self._key, index))
        image, class_id = self._images.source[int(self._chosen[index])]
        return self._view(image), class_id


def seed_of(*key: int) -> int:
    """A seed for torch of its own for each key."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def training_loader(
    images: LabelledImages,
    config: DataConfig,
    seed: int,
    epoch: int,
    batch_size: int,
    workers: int,
) -> DataLoader:
    """The shuffled batches of an epoch, a function of (seed, epoch).

    A rest of one image is left out: a batch norm cannot learn from one image of 1 × 1.
    """
    chosen = np.arange(len(images.class_ids))
    if config.imbalance > 1:
        chosen = long_tail(images.class_ids, config.imbalance, seed)
    order = np.random.default_rng((seed, epoch)).permutation(len(chosen))
    if len(order) > 1 and len(order) % batch_size == 1:
        order = order[:-1]
    views = Views(images, chosen, _training_view(config), (seed, epoch))
    return DataLoader(views, batch_size, sampler=order.tolist(), num_workers=workers)


def test_loader(
    images: LabelledImages, config: DataConfig, batch_size: int, workers: int
) -> DataLoader:
    """All images in order, each in one view."""
    views = Views(images, np.arange(len(images.class_ids)), _test_view(config), (0,))
    return DataLoader(views, batch_size, num_workers=workers)


def _training_view(config: DataConfig) -> v2.Transform:
    """Cut out at random, small images shifted by up to an eighth; mirrored half of the time."""
    size = config.image_size
    crop = [v2.RandomResizedCrop(size)]
    if config.dataset != 'folder':
        crop = [v2.Resize((size, size)), v2.RandomCrop(size, padding=size // 8)]
    return v2.Compose([v2.ToImage(), *crop, v2.RandomHorizontalFlip()])


def _test_view(config: DataConfig) -> v2.Transform:
    size = config.image_size
    if config.dataset != 'folder':
        return v2.Compose([v2.ToImage(), v2.Resize((size, size))])
    return v2.Compose([v2.ToImage(), v2.Resize(size * 8 // 7), v2.CenterCrop(size)])
