# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Training as users start it, in processes that are killed, and in several at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import tiny_config

from unidrive_training.engine.checkpoint import checkpoints, read_checkpoint

TRAIN = ['-m', 'unidrive_training.cli', 'train']
TWO = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
ENVIRONMENT = os.environ | {'OMP_NUM_THREADS': '1'}


def write_config(scenes, path, iterations, **settings):
    """Without noise of its own in every process, and with batch norm over all of them."""
    config = tiny_config(scenes, iterations, precision='float32', **settings)
    values = config.model_dump(mode='json')
    values['model']['heads']['detection']['denoising'] = 0
    values['model']['sync_batchnorm'] = True
    path.write_text(yaml.safe_dump(values))
    return path


def command(config, run, launcher=()):
    return [sys.executable, *launcher, *TRAIN, str(config), str(run), '--device', 'cpu']


def train(config, run, launcher=()):
    subprocess.run(
        command(config, run, launcher), check=True, timeout=300, env=ENVIRONMENT,
        capture_output=True,
    )  # fmt: skip
    return run


def losses(run):
    events = EventAccumulator(str(run / 'tensorboard'))
    events.Reload()
    return torch.tensor([event.value for event in events.Scalars('loss/total')])


@pytest.fixture(scope='module')
def config(scenes, tmp_path_factory):
    return write_config(
        scenes, tmp_path_factory.mktemp('config') / 'a.yaml', 12, checkpoint_every=2
    )


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """A run that nobody disturbed."""
    return train(config, tmp_path_factory.mktemp('runs') / 'whole')


def same_weights(run, other):
    states = read_checkpoint(run), read_checkpoint(other)
    for part in ('model', 'average'):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), name


def wait_for_checkpoint(run, process):
    deadline = time.monotonic() + 120
    while not checkpoints(run):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_at_any_moment_the_same_command_goes_on_exactly(config, whole, tmp_path):
    run = tmp_path / 'killed'
    for delay in (0.0, 0.4):  # the first time about when a checkpoint is written
        process = subprocess.Popen(
            command(config, run), env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        wait_for_checkpoint(run, process)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert read_checkpoint(run)['iteration'] < 12
    train(config, run)
    same_weights(run, whole)
    again = subprocess.run(
        command(config, run), check=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert 'is trained already: 12 iterations' in again.stdout


def test_two_processes_have_the_losses_of_one(config, whole, tmp_path):
    both = losses(train(config, tmp_path / 'two', TWO))
    one = losses(whole)
    assert len(one) == 12 and one[-1] < one[0]
    torch.testing.assert_close(both[:4], one[:4], rtol=1e-4, atol=0)
    # Rounding grows: a matching that is nearly a tie may tip.
    torch.testing.assert_close(both, one, rtol=0.02, atol=0)


def test_two_processes_have_the_losses_of_one_where_batches_come_in_parts(scenes, tmp_path):
    """Gradients are exchanged after the last part only."""
    config = write_config(scenes, tmp_path / 'a.yaml', 2, accumulate=2)
    one, two = (losses(train(config, tmp_path / str(len(n)), n)) for n in ([], TWO))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=0)


def children(process):
    tasks = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    return [int(pid) for pid in tasks.read_text().split()]


def test_a_rank_that_dies_ends_the_job_and_the_job_goes_on(config, tmp_path):
    undisturbed = train(config, tmp_path / 'whole', TWO)
    run = tmp_path / 'killed'
    process = subprocess.Popen(
        command(config, run, TWO), env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    wait_for_checkpoint(run, process)
    os.kill(children(process)[1], signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b'Signal 9 (SIGKILL) received' in error
    train(config, run, TWO)
    same_weights(run, undisturbed)
