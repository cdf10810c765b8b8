# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Untrained teachers and images to label, for tests."""

import json
import os
import shutil

import cv2
import pytest
import torch
from tiny_training import tiny_config

from unidrive_perception.labels import DETECTION
from unidrive_training.cli import main
from unidrive_training.config import TrainingConfig
from unidrive_training.data.bdd100k import Bdd100kWriter, read_mask, read_split
from unidrive_training.engine.checkpoint import save_checkpoint
from unidrive_training.models.multitask import MultiTaskModel

BOX_SCORE, MASK_CONFIDENCE = 0.5, 0.3
COMMAND = ['-m', 'unidrive_training.cli', 'pseudo-label']
ONE_THREAD = os.environ | {'OMP_NUM_THREADS': '1'}


def save_teacher(folder, name, tasks, input_size, seed=0):
    """An untrained teacher in a run folder; it is sure of a box now and then."""
    values = tiny_config(folder, 1).model_dump(mode='json') | {'name': name}
    values['model']['heads'] = {task: values['model']['heads'][task] for task in tasks}
    values['phases'][-1]['input_size'] = input_size
    torch.manual_seed(seed)
    model = MultiTaskModel(TrainingConfig.model_validate(values).model)
    if 'detection' in tasks:
        for stage in model.heads['detection'].stages:
            torch.nn.init.normal_(stage.class_logits.weight, std=0.25)
            torch.nn.init.normal_(stage.class_logits.bias, mean=-2.6)
    folder.mkdir()
    state = {'config': values, 'average': model.state_dict(), 'iteration': 1, 'seconds': 1.0}
    save_checkpoint(folder, state | {'annotated': DETECTION.names}, 1)
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A teacher of boxes and one of both masks, which see images of other sizes."""
    root = tmp_path_factory.mktemp('teachers')
    return {
        'boxes': save_teacher(root / 'boxes', 'box_teacher', ['detection'], (64, 128)),
        'masks': save_teacher(root / 'masks', 'pixels', ['semantic', 'drivable'], (96, 160)),
    }


@pytest.fixture(scope='module')
def data(scenes, tmp_path_factory):
    """14 images: 4 with semantic masks, 3 with boxes, 2 with all, the rest without labels."""
    root = tmp_path_factory.mktemp('partly') / 'data'
    with Bdd100kWriter(root, 'train') as writer:
        for i, record in enumerate(read_split(scenes, 'train')[:14]):
            labels = {}
            if i < 4 or i >= 12:
                labels['semantic'] = read_mask(record.semantic)
            if i >= 12:
                labels['drivable'] = read_mask(record.drivable)
            if 4 <= i < 7 or i >= 12:
                labels |= {'boxes': record.boxes.boxes, 'class_ids': record.boxes.class_ids}
            writer.add(f'{i:02}', record.image, **labels)
    odd = cv2.resize(cv2.imread(str(root / 'images/100k/train/09.jpg')), (150, 200))
    cv2.imwrite(str(root / 'images/100k/train/09.jpg'), odd)
    return root


def arguments(data, out, runs, *more):
    given = [str(data), str(out), '--teacher', f'detection={runs["boxes"]}']
    for task in ('semantic', 'drivable'):
        given += ['--teacher', f'{task}={runs["masks"]}']
    return [*given, '--device', 'cpu', '--workers', '0', *more]


@pytest.fixture(scope='module')
def labelled(data, runs, tmp_path_factory):
    """What the teachers make of the data, in one process, undisturbed."""
    out, threads = tmp_path_factory.mktemp('pseudo') / 'labels', torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(['pseudo-label', *arguments(data, out, runs)]) == 0
    finally:
        torch.set_num_threads(threads)
    return out


def contents(folder):
    """Path → bytes of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def frames(folder):
    return json.loads((folder / 'labels/det_20/det_train.json').read_text())['frames']


def part_of(data, root, names):
    """A folder with some of the images and all labels."""
    images = root / 'images' / '100k' / 'train'
    images.mkdir(parents=True)
    (root / 'labels').symlink_to(data / 'labels')
    for name in names:
        shutil.copy(data / f'images/100k/train/{name}.jpg', images)
    return images
