# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The training loop of a classifier: epochs, scores after each, checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.classification.data import (
    LabelledImages,
    seed_of,
    test_loader,
    training_loader,
)
from unidrive_training.engine.checkpoint import open_run, save_checkpoint
from unidrive_training.models.classifier import ImageClassifier
from unidrive_training.models.pretrained import load_backbone
from unidrive_training.models.weight_files import weight_path


@dataclass(frozen=True)
class Scores:
    """``top1``: share of images that are right; ``per_class``: of each class, NaN for one without
    images; ``mean_class``: the mean of those.
    """

    top1: float
    mean_class: float
    per_class: tuple[float, ...]

    @staticmethod
    def of(confusion: np.ndarray) -> Scores:
        """Scores of a (K, K) confusion matrix, rows are truth."""
        hits, counts = np.diag(confusion), confusion.sum(1)
        shares = np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)
        top1 = float(hits.sum() / counts.sum())
        return Scores(top1, float(np.nanmean(shares)), tuple(shares.tolist()))

    def __str__(self) -> str:
        return in_words(self.top1, self.mean_class)


def in_words(top1: float, mean_class: float) -> str:
    """Scores as a run prints them."""
    return f'top-1 {top1:.4f}, mean over classes {mean_class:.4f}'


class ClassifierTrainer:
    """Trains one classifier into one run folder."""

    def __init__(
        self,
        config: ClassificationConfig,
        train: LabelledImages,
        test: LabelledImages,
        folder: Path,
        device: str,
    ) -> None:
        config.check()
        self.config, self.folder, self.device = config, folder, torch.device(device)
        self.train_images, self.test_images = train, test
        torch.manual_seed(config.seed)
        self.model = ImageClassifier(config.backbone, config.prompts, len(train.classes))
        state = open_run(folder, config)
        if config.pretrained and state is None:
            path = weight_path(config.pretrained, config.backbone['name'], 'pretrained')
            print(load_backbone(self.model.backbone, path, config.pretrained.format))
        self.model.to(self.device, memory_format=torch.channels_last)
        self.model.apply_plan(config.tuning)
        self.optimizer = _optimizer(self.model, config)
        self.epoch = 0
        self.seconds = 0.0
        if state is not None:
            self._restore(state)

    def run(self) -> Scores:
        """Train every epoch; the scores of the trained model on the test images."""
        started = time.monotonic() - self.seconds
        scores = None
        with SummaryWriter(self.folder / 'tensorboard', purge_step=self.epoch + 1) as writer:
            while self.epoch < self.config.epochs:
                loss = self._train_epoch()
                self.epoch += 1
                scores = self.evaluate()
                self.seconds = time.monotonic() - started
                values = {'loss': loss, 'top1': scores.top1, 'mean_class': scores.mean_class}
                for name, value in values.items():
                    writer.add_scalar(name, value, self.epoch)
                tqdm.write(f'epoch {self.epoch}: loss {loss:.3f}, {scores}')
                save_checkpoint(self.folder, self._state(), self.epoch)
        return scores or self.evaluate()

    @property
    def iterations(self) -> int:
        """Steps of the optimizer so far."""
        return self.epoch * len(self._loader())

    def _loader(self) -> DataLoader:
        """The batches of the epoch that is next."""
        config = self.config
        return training_loader(
            self.train_images,
            config.data,
            config.seed,
            self.epoch,
            config.batch_size,
            config.workers,
        )

    def _train_epoch(self) -> float:
        """One pass over the training images; the mean loss."""
        config, loader = self.config, self._loader()
        losses = []
        for step, (images, class_ids) in enumerate(tqdm(loader, desc=config.name, leave=False)):
            iteration = self.epoch * len(loader) + step
            torch.manual_seed(seed_of(config.seed, iteration))  # dropout, also after a resume
            for group in self.optimizer.param_groups:
                group['lr'] = learning_rate(config, iteration, config.epochs * len(loader))
            losses.append(self._step(images, class_ids))
        return float(np.mean(losses))

    def _step(self, images: Tensor, class_ids: Tensor) -> float:
        """One optimizer step; the loss."""
        self.model.train()
        loss = F.cross_entropy(self._logits(images), class_ids.to(self.device))
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f'loss is {value} in epoch {self.epoch + 1}; lower the learning rate or '
                '--set bfloat16=false, and give a new run folder'
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value

    def _logits(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) uint8 → (B, K) float32."""
        images = images.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            return self.model(images).float()

    @torch.no_grad()
    def evaluate(self) -> Scores:
        """Scores on the test images."""
        self.model.eval()
        config, count = self.config, len(self.test_images.classes)
        loader = test_loader(self.test_images, config.data, config.batch_size, config.workers)
        confusion = np.zeros((count, count), np.int64)
        for images, class_ids in tqdm(loader, desc='test', leave=False):
            predicted = self._logits(images).argmax(1).cpu()
            np.add.at(confusion, (class_ids.numpy(), predicted.numpy()), 1)
        return Scores.of(confusion)

    def _state(self) -> dict[str, Any]:
        return {
            'config': self.config.model_dump(mode='json'),
            'classes': self.train_images.classes,
            'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'epoch': self.epoch,
            'seconds': self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state['classes'] != self.train_images.classes:
            raise UserError(f'{self.folder}: the checkpoint was trained on other classes')
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.epoch, self.seconds = state['epoch'], state['seconds']


def learning_rate(config: ClassificationConfig, iteration: int, iterations: int) -> float:
    """Linear warm-up, then a cosine to zero at the end."""
    if iteration < config.warmup:
        return config.learning_rate * (iteration + 1) / config.warmup
    progress = (iteration - config.warmup) / max(1, iterations - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _optimizer(model: nn.Module, config: ClassificationConfig) -> torch.optim.Optimizer:
    """Over what learns; weight decay on matrices and kernels only."""
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {'params': [p for p in learned if p.dim() > 1], 'weight_decay': config.weight_decay},
        {'params': [p for p in learned if p.dim() <= 1], 'weight_decay': 0.0},
    ]
    if config.optimizer == 'sgd':
        return torch.optim.SGD(groups, config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, config.learning_rate)
