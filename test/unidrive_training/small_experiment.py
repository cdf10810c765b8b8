# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A small experiment, for tests."""

import os
import subprocess
import sys
import time

import pytest
import yaml
from tiny_training import tiny_config

from unidrive_training.experiment.checks import check
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.ledger import Ledger
from unidrive_training.experiment.steps import plan

SCENES = {'drives': 2, 'frames': 2, 'stride': 10, 'val_drives': 1, 'size': '320x180'}
TASKS = ('detection', 'semantic', 'drivable')


@pytest.fixture
def run_file(tmp_path):
    """Writes a small experiment with every kind of step; ``changes`` replace keys of the top."""
    base = tiny_config(tmp_path, 2).model_dump(mode='json', exclude={'data', 'name'})
    (tmp_path / 'tiny.yaml').write_text(yaml.safe_dump(base))
    frames = tmp_path / 'frames'
    frames.mkdir()
    training = {'base': 'tiny.yaml', 'data': ['scenes']}
    taught = training | {'backbone_from': 'pretrain'}

    def write(**changes):
        values = {
            'name': 'small',
            'seed': 5,
            'data': {
                'scenes': {'scenes': SCENES, 'weight': 2},
                'drive': {'frames': [str(frames)]},
            },
            'pretrain': training,
            'teachers': dict.fromkeys(TASKS, taught),
            'pseudo_labels': {'data': ['drive'], 'box_score': 0.4},
            'student': taught | {'data': {'scenes': 3, 'drive': 1}},
            'evaluation': {'data': ['scenes']},
        } | changes
        path = tmp_path / 'small.yaml'
        path.write_text(yaml.safe_dump(values, sort_keys=False))  # with aliases
        return path

    return write


def steps_of(path, out, *overrides):
    """Experiment and steps, checked."""
    experiment = load_experiment(path, list(overrides))
    steps = plan(experiment, out)
    check(experiment, steps)
    return experiment, steps


def pretend(path, out, *overrides):
    """A ledger in which every step is done."""
    experiment, steps = steps_of(path, out, *overrides)
    ledger = Ledger(experiment, out, steps)
    for step in steps:
        step.output.mkdir(parents=True)
        ledger.begin(step)
        ledger.finish(step, 0)
    return experiment, steps


def states_of(path, out, *overrides):
    experiment, steps = steps_of(path, out, *overrides)
    return {name: state.name for name, state in Ledger(experiment, out, steps).states.items()}


def run(path, out, *overrides):
    """The command in a process of its own."""
    command = [sys.executable, '-m', 'unidrive_training.cli', 'run', str(path), str(out)]
    return subprocess.Popen(
        [*command, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.02)
