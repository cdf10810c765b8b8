# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which samples make a batch, by task schedule, on partly labelled data."""

import shutil
from collections import Counter

import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.data.augment import Augmentation
from unidrive_training.data.bdd100k import Bdd100kWriter
from unidrive_training.data.schedules import task_of_each_step
from unidrive_training.data.sources import Source
from unidrive_training.data.stream import TrainingData, TrainingStream

TASKS = ('detection', 'semantic', 'drivable')
COUNTS = {'detection': 12, 'semantic': 4, 'drivable': 8}
MASK = np.zeros((32, 64), np.uint8)
BOX = {'boxes': np.array([[5.0, 5.0, 40.0, 25.0]]), 'class_ids': np.array([2])}


@pytest.fixture(scope='module')
def disjoint(tmp_path_factory):
    """24 images, each labelled for one task only, and one that is labelled for none."""
    root = tmp_path_factory.mktemp('disjoint')
    rng = np.random.default_rng(0)
    with Bdd100kWriter(root, 'train') as writer:
        for task, count in COUNTS.items():
            for i in range(count):
                label = BOX if task == 'detection' else {task: MASK}
                image = rng.integers(0, 256, (32, 64, 3), np.uint8)
                writer.add(f'{task}{i}', image, **label)
        writer.add('nothing', rng.integers(0, 256, (32, 64, 3), np.uint8))
    return root


def stream(root, schedule, steps=60, tasks=TASKS, **options):
    data = TrainingData([Source(root=root)], tasks, schedule)
    return TrainingStream(data, 4, (32, 64), Augmentation(), 0, (0, steps), **options)


def tasks_of(targets):
    return [task for task in TASKS for _ in targets.of(task)]


def test_an_image_without_a_label_is_in_no_batch(disjoint):
    assert len(TrainingData([Source(root=disjoint)], TASKS)) == 24
    assert len(TrainingData([Source(root=disjoint)], ['semantic'])) == 4


@pytest.mark.parametrize('schedule', ['joint', 'zeroing'])
def test_batches_of_all_tasks(disjoint, schedule):
    """Six batches of four are an epoch of the 24 images."""
    batches = stream(disjoint, schedule)
    for epoch in range(2):
        seen = Counter(t for i in range(6) for t in tasks_of(batches[6 * epoch + i][1]))
        assert seen == COUNTS


@pytest.mark.parametrize('schedule', ['uniform', 'weighted', 'round-robin'])
def test_batches_of_one_task(disjoint, schedule):
    batches = stream(disjoint, schedule)
    kinds = [set(tasks_of(batches[i][1])) for i in range(60)]
    assert all(len(kind) == 1 for kind in kinds)
    assert set.union(*kinds) == set(TASKS)
    if schedule == 'round-robin':
        assert kinds == [{task} for task in TASKS] * 20
    # All four semantic images make a batch: an epoch of that task.
    number = next(i for i, kind in enumerate(kinds) if kind == {'semantic'})
    assert len({image.numpy().tobytes() for image in batches[number][0]}) == 4


def test_an_image_of_two_tasks_is_asked_for_one_at_a_time(scenes):
    data = TrainingData([Source(root=scenes)], TASKS, 'round-robin')
    batches = TrainingStream(data, 4, (96, 160), Augmentation(), 0, (0, 9))
    assert [tasks_of(batches[i][1]) for i in range(3)] == [[task] * 4 for task in TASKS]


def test_shares_of_the_tasks():
    def shares(schedule, epochs):
        drawn = Counter(task_of_each_step(schedule, COUNTS, epochs, 6000, seed=1))
        return [drawn[task] / 6000 for task in TASKS]

    assert shares('uniform', {}) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert shares('weighted', {}) == pytest.approx([12 / 24, 4 / 24, 8 / 24], abs=0.02)
    assert shares('weighted', {'semantic': 3}) == pytest.approx(
        [12 / 32, 12 / 32, 8 / 32], abs=0.02
    )


def test_the_order_is_a_matter_of_the_seed():
    orders = [task_of_each_step('uniform', COUNTS, {}, 50, seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_sources_share_a_batch_by_weight(disjoint, scenes):
    sources = [Source(root=disjoint, weight=1), Source(root=scenes, weight=3)]
    data = TrainingData(sources, TASKS)
    batches = TrainingStream(data, 8, (96, 160), Augmentation(), 0, (0, 5))
    for i in range(5):
        full = [row for row in range(8) if all(row in batches[i][1].of(t) for t in TASKS)]
        assert len(full) == 6


def test_a_folder_without_a_wanted_label_is_named(disjoint):
    source = Source(root=disjoint, tasks=('semantic',))
    with pytest.raises(UserError, match=r'no image of train has a label of detection; leave'):
        TrainingData([source], ['detection'])


def test_classes_that_were_annotated(disjoint, tmp_path):
    with Bdd100kWriter(tmp_path, 'train', annotated=['car', 'rider']) as writer:
        writer.add('a', np.zeros((32, 64, 3), np.uint8), **BOX)
    data = TrainingData([Source(root=tmp_path)], ['detection'])
    assert data.annotated() == ['rider', 'car']
    both = TrainingData([Source(root=tmp_path), Source(root=disjoint)], ['detection'])
    assert len(both.annotated()) == 10


def test_a_task_that_nothing_is_labelled_for_is_named(disjoint):
    source = Source(root=disjoint, tasks=('semantic', 'drivable'))
    with pytest.raises(UserError, match=r'label of detection; add data .*heads\.detection=null'):
        TrainingData([source], TASKS)


def test_a_broken_label_is_skipped_with_its_image_or_stopped_at(disjoint, tmp_path):
    """Masks that are cut off decode to nothing, images to half a picture."""
    root = tmp_path / 'data'
    shutil.copytree(disjoint, root)
    for path in (
        root / 'labels/sem_seg/masks/train/semantic0.png',
        root / 'images/100k/train/drivable3.jpg',
    ):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r'(drivable3|semantic0).*cut off.*first of 2 broken'):
        TrainingData([Source(root=root)], TASKS)
    data = TrainingData([Source(root=root)], TASKS, broken='skip')
    assert len(data) == 22 and data.labelled() == COUNTS | {'semantic': 3, 'drivable': 7}
    batches = TrainingStream(data, 1, (32, 64), Augmentation(), 0, (0, 22))
    assert sum(len(tasks_of(batches[i][1])) for i in range(22)) == 22
