# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Images a second of the training loader, beside a torchvision ``ImageFolder`` loop.

``python3 benchmarks/loader.py`` draws 1280×720 JPEG images with all three labels and reads them at
two input sizes. "Per core" is per second of CPU time of the workers and the main process, which a
busy machine disturbs little. Nothing is kept in memory between batches, except by the system.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, RandomHorizontalFlip, Resize, ToTensor

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_training.data.augment import Augmentation, augment
from unidrive_training.data.bdd100k import read_image, read_mask, read_split
from unidrive_training.data.resized import ResizedCopies
from unidrive_training.data.sample import load_sample
from unidrive_training.data.sources import Source
from unidrive_training.data.stream import TrainingData, TrainingStream, collate
from unidrive_training.scenes.dataset import SceneSet, write_dataset

BATCH = 8
STRONG = Augmentation(
    scale=(0.8, 1.25), flip=0.5, brightness=0.3, contrast=0.3, saturation=0.4, hue=0.03
)
Size = tuple[int, int]
MakeLoader = Callable[[int, int], Iterable]
"""(batches, workers) → the loader."""


def main() -> None:
    """Draw the images and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=100, help='how many are drawn')
    parser.add_argument('--read', type=int, default=200, help='how many are read for a figure')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='unidrive_loader_') as folder:
        root = Path(folder)
        size = {'image_size': (720, 1280), 'stride': 5}
        write_dataset(root, 'train', SceneSet(drives=-(-args.images // 10), frames=10, **size))
        compare(root, args.read // BATCH)
        profile(root)


def compare(root: Path, batches: int) -> None:
    """The table of rates."""
    copies = root / 'copies'
    notes = [fill(root, copies, round(640 * largest)) for largest in (1, STRONG.scale[1])]
    print('\n| input | loader | workers | images/s | images/s per core |')
    print('| --- | --- | --- | --- | --- |')
    for size in ((736, 1280), (384, 640)):
        small = max(size) < 1280
        cases = {
            'torchvision, image only': image_folder(root, size),
            'ours': ours(root, size, batches),
            'ours, augmented': ours(root, size, batches, STRONG),
            'ours, resized copies': small and ours(root, size, batches, Augmentation(), copies),
            'ours, augmented, resized copies': small and ours(root, size, batches, STRONG, copies),
        }
        for name, make in cases.items():
            for workers in (1, 2) if make else ():
                wall, cpu = rates(make(batches, workers), batches)
                what = f'{size[1]}×{size[0]} | {name} | {workers}'
                print(f'| {what} | {wall:.0f} | {cpu:.0f} |', flush=True)
    print(*notes, sep='\n')


def rates(loader: Iterable, batches: int) -> tuple[float, float]:
    """Images per second of the clock (from the third batch on), and per second of CPU time."""
    before = cpu_seconds()
    for number, _ in enumerate(loader):
        if number == 1:
            start = time.perf_counter()
    elapsed = time.perf_counter() - start
    # The workers have ended, so their time is counted.
    return (batches - 2) * BATCH / elapsed, batches * BATCH / (cpu_seconds() - before)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def image_folder(root: Path, size: Size) -> MakeLoader:
    """The usual loop: one float32 image and a class number."""
    transform = Compose([Resize(size), RandomHorizontalFlip(), ToTensor()])
    dataset = ImageFolder(root / 'images' / '100k', transform)

    def make(batches: int, workers: int) -> Iterable:
        chosen = np.random.default_rng(0).integers(len(dataset), size=batches * BATCH).tolist()
        return DataLoader(dataset, BATCH, sampler=chosen, num_workers=workers)

    return make


def ours(
    root: Path,
    size: Size,
    batches: int,
    augmentation: Augmentation = Augmentation(),  # noqa: B008 it is immutable
    copies: Path | None = None,
) -> MakeLoader:
    """One uint8 image, boxes and two masks."""
    data = TrainingData([Source(root=root)], tuple(BDD100K_LABELS))
    stream = TrainingStream(
        data, BATCH, size, augmentation, 0, (0, batches), cache_gb=0, copies=copies
    )
    return lambda batches, workers: stream.loader(0, batches, workers)


def fill(root: Path, folder: Path, longest_side: int) -> str:
    """Make the resized copies that a stream will ask for; what that took."""
    copies, records = ResizedCopies(folder, longest_side), read_split(root, 'train')
    before = cpu_seconds()
    for record in records:
        load_sample(record, longest_side, copies)
    seconds = (cpu_seconds() - before) / len(records)
    used = sum(path.stat().st_size for path in folder.rglob('*.*')) / len(records)
    return (
        f'{longest_side} pixels: {seconds * 1e3:.0f} ms to make the copies of an image, '
        f'{used / 1e3:.0f} kB in the folder per image'
    )


def profile(root: Path) -> None:
    """The table of parts, in this process alone."""
    cv2.setNumThreads(0)
    size, rng = (736, 1280), np.random.default_rng(0)
    colours = STRONG.model_copy(update={'scale': (1.0, 1.0), 'flip': 0.0})
    times: dict[str, list[float]] = {}

    def timed(name: str, step: Callable, *args) -> object:
        start = time.perf_counter()
        result = step(*args)
        times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        return result

    batch = []
    for record in read_split(root, 'train')[:40]:
        timed('decode the JPEG', read_image, record.image)
        timed('decode the JPEG at half size', read_image, record.image, 2)
        timed('decode a mask', read_mask, record.semantic)
        sample = load_sample(record)
        timed('view, scale alone', augment, sample, size, Augmentation(), rng)
        timed('view, colours as well', augment, sample, size, colours, rng)
        batch.append(timed('view, all', augment, sample, size, STRONG, rng))
        if len(batch) == BATCH:
            timed(f'make a batch of {BATCH}', collate, batch)
            batch = []
    print('\n| 1280×736, one image, one thread | median |\n| --- | --- |')
    for name, values in times.items():
        print(f'| {name} | {statistics.median(values):.1f} ms |')


if __name__ == '__main__':
    main()
