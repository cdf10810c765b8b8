# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Proves loader and settings on a synthetic folder of BDD100K's size, which few have at hand.

``python3 benchmarks/bdd100k_dry_run.py`` makes 70000 + 7000 training images (3000 in both sets) as
hard links to some drawn ones, masks alike, and a detection JSON of some 18 boxes an image, in a
temporary folder; reads them, applies the three settings and makes a batch. ``--share 0.01`` does
so at a hundredth of the size, settings included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from unidrive_perception.labels import BDD100K_LABELS, DETECTION
from unidrive_training.data.augment import Augmentation
from unidrive_training.data.bdd100k import read_split
from unidrive_training.data.settings import Setting, apply_setting, load_setting
from unidrive_training.data.sources import Source
from unidrive_training.data.stream import TrainingData, TrainingStream
from unidrive_training.scenes.dataset import SceneSet, write_dataset

STREET, SEMANTIC, BOTH = 70_000, 7_000, 3_000
BOXES = 18
DRAWN = 12  # images; a file system allows some 65000 links to one file
SETTINGS = ('full', 'disjoint-normal', 'disjoint-balance')
TASKS = tuple(BDD100K_LABELS)


def main() -> int:
    """Make the folder, measure, print a line per figure, delete the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--share', type=float, default=1.0, help="of BDD100K's number of images")
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--folder', type=Path, help='where the temporary folder is made')
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix='unidrive_bdd100k_', dir=args.folder))
    try:
        _, took = _timed(make_tree, root, args.share)
        files, inodes, size = _disk(root)
        print(f'folder: {files} files, {inodes} inodes, {size / 1e6:.0f} MB, made in {took}')
        boxes = [_fresh(measure_index, root, form) for form in ('list', 'frames')]
        if boxes[0] != boxes[1]:
            raise SystemExit('the two forms of the detection JSON are read differently')
        for name in SETTINGS:
            _fresh(measure_setting, root, name, args.share)
        _fresh(measure_batches, root, args.share, args.workers)
    finally:
        print(f'deleted in {_timed(shutil.rmtree, root)[1]}')
    return 0


def make_tree(root: Path, share: float, image_size: tuple[int, int] = (720, 1280)) -> None:
    """BDD100K's layout as of its site, without its validation split."""
    drawn = root / 'drawn'
    write_dataset(drawn, 'train', SceneSet(DRAWN // 4, 4, stride=20, image_size=image_size))
    street, semantic, both = (round(number * share) for number in (STREET, SEMANTIC, BOTH))
    names = [_name(number) for number in range(street + semantic - both)]
    for folder, suffix, chosen in (
        ('images/100k', '.jpg', names[:street]),
        ('images/10k', '.jpg', names[street - both :]),
        ('labels/drivable/masks', '.png', names[:street]),
        ('labels/sem_seg/masks', '.png', names[street - both :]),
    ):
        source = 'images/100k' if suffix == '.jpg' else folder
        files = sorted((drawn / source / 'train').iterdir())
        (root / folder / 'train').mkdir(parents=True)
        for number, name in enumerate(chosen):
            os.link(files[number % len(files)], root / folder / 'train' / f'{name}{suffix}')
    det = root / 'labels' / 'det_20'
    det.mkdir()
    categories = {'categories': [{'name': name} for name in DETECTION.names]}
    with open(det / 'list', 'w') as one, open(det / 'frames', 'w') as other:
        one.write('[')
        other.write('{"frames": [')
        for number, frame in enumerate(_frames(names[:street])):
            for file in (one, other):
                file.write(f'{"," if number else ""}\n{frame}')
        one.write(']\n')
        other.write(f'], "config": {json.dumps(categories)}}}\n')


def _name(number: int) -> str:
    digits = hashlib.sha256(str(number).encode()).hexdigest()
    return f'{digits[:8]}-{digits[8:16]}'


def _frames(names: list[str]) -> Iterator[str]:
    rng = np.random.default_rng(0)
    for name in names:
        count = rng.poisson(BOXES)
        corners = rng.uniform((0, 0), (1200, 660), (count, 2))
        boxes = np.hstack((corners, corners + rng.uniform(4, 60, (count, 2)))).round(6).tolist()
        labels = [
            {
                'id': str(number),
                'attributes': {'occluded': False, 'truncated': False, 'trafficLightColor': 'NA'},
                'category': DETECTION.names[category],
                'box2d': dict(zip(('x1', 'y1', 'x2', 'y2'), box, strict=True)),
            }
            for number, (box, category) in enumerate(
                zip(boxes, rng.integers(len(DETECTION), size=count), strict=True)
            )
        ]
        attributes = {'weather': 'clear', 'timeofday': 'daytime', 'scene': 'city street'}
        frame = {'name': f'{name}.jpg', 'attributes': attributes, 'timestamp': 10000}
        yield json.dumps(frame | {'labels': labels})


def measure_index(root: Path, form: str) -> str:
    """Read the whole index with a detection JSON of this form; a hash of all boxes."""
    path = root / 'labels' / 'det_20' / 'det_train.json'
    path.unlink(missing_ok=True)
    os.link(path.with_name(form), path)
    before = _peak()
    records, took = _timed(read_split, root, 'train')
    used = _peak() - before
    digest = hashlib.sha256()
    count = 0
    for record in records:
        if record.boxes is not None:
            count += len(record.boxes.boxes)
            for part in (record.boxes.boxes, record.boxes.class_ids, record.boxes.annotated):
                digest.update(part.tobytes())
    print(
        f'index, JSON as {form} ({path.stat().st_size / 1e6:.0f} MB): {len(records)} images, '
        f'{count} boxes in {took}, {used:.0f} MB of memory at most'
    )
    return digest.hexdigest()


def measure_setting(root: Path, name: str, share: float) -> None:
    """Counts of a setting, and that no image has two tasks where it says so."""
    setting = _setting(name, share)
    records = read_split(root, 'train')
    kept, took = _timed(apply_setting, setting, records)
    counts = Counter(task for record in kept for task in record.tasks())
    tasks = ', '.join(f'{task} {counts[task]}' for task in TASKS)
    most = max(len(record.tasks()) for record in kept)
    print(f'{name}: {len(kept)} images; {tasks}; at most {most} an image; {took}')


def measure_batches(root: Path, share: float, workers: int) -> None:
    """From nothing to the first batch of 16, and what the index costs each worker."""
    path = root / 'setting.yaml'
    path.write_text(_setting('full', share).model_dump_json())
    data, took = _timed(TrainingData, [Source(root=root, setting=str(path))], TASKS)
    stream = TrainingStream(data, 16, (736, 1280), Augmentation(), 0, (0, 1000), cache_gb=0)
    start = time.perf_counter()
    batches = iter(stream.loader(0, 4, workers))
    images, _ = next(batches)
    first = time.perf_counter() - start
    list(batches)
    print(f'training data: {len(data)} images in {took}, headers of all files looked at')
    print(f'first batch {tuple(images.shape)}: {first:.1f} s later')
    if sys.platform == 'linux':
        used = _in_child('fork', _touch, data.records[0])
        print(f'index in a forked worker: {used:.0f} MB of its own once all of it was read')
    pickled, took = _timed(pickle.dumps, data.records[0])
    print(f'index for a spawned worker: {len(pickled) / 1e6:.0f} MB, written in {took}')


def _touch(records: list) -> float:
    """MB that a process has for itself after reading all records, as reading changes counters."""
    before = _own()
    for record in records:
        str(record.image)
        if record.boxes is not None:
            record.boxes.boxes.sum()
    return _own() - before


def _setting(name: str, share: float) -> Setting:
    setting = load_setting(name)
    scaled = {
        task: amount if isinstance(amount, float) else round(amount * share)
        for task, amount in setting.labelled.items()
    }
    return setting.model_copy(update={'labelled': scaled})


def _timed(step: Callable, *args: Any) -> tuple[Any, str]:
    """The result, and how long it took; CPU time tells more where others compute too."""
    start, cpu = time.perf_counter(), time.process_time()
    result = step(*args)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return result, f'{wall:.1f} s ({cpu:.1f} s of CPU time)'


def _fresh(step: Callable, *args: Any) -> Any:
    """In a new process, whose memory tells of this step alone."""
    return _in_child('spawn', step, *args)


def _in_child(method: str, step: Callable, *args: Any) -> Any:
    context = get_context(method)
    result, send = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(send, step, *args))
    child.start()
    send.close()
    try:
        return result.recv()
    except EOFError:
        raise SystemExit(f'{step.__name__} failed') from None
    finally:
        child.join()


def _report(send: Connection, step: Callable, *args: Any) -> None:
    set_start_method(None, force=True)  # a spawned process would spawn its loader's workers
    send.send(step(*args))


def _peak() -> float:
    """MB that this process has held at most."""
    if sys.platform == 'linux':  # whose getrusage includes the parent's
        return _sum_of_lines('/proc/self/status', 'VmHWM:')
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _own() -> float:
    """MB that this process shares with no other."""
    return _sum_of_lines('/proc/self/smaps_rollup', 'Private_')


def _sum_of_lines(path: str, start: str) -> float:
    with open(path) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(start)) / 1e3


def _disk(root: Path) -> tuple[int, int, int]:
    """Files, inodes and bytes."""
    status = [path.stat() for path in root.rglob('*') if path.is_file()]
    sizes = {entry.st_ino: entry.st_size for entry in status}
    return len(status), len(sizes), sum(sizes.values())


if __name__ == '__main__':
    sys.exit(main())
