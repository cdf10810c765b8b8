# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Does the steps of an experiment that are not done yet, one after the other."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from unidrive_perception.errors import UserError
from unidrive_training.aside import write_json, write_text
from unidrive_training.engine.run_lock import hold
from unidrive_training.environment import environment
from unidrive_training.evaluation.metrics_file import DETAILS, METRICS, read_metrics
from unidrive_training.experiment.child import command_line, run_child
from unidrive_training.experiment.config import Experiment
from unidrive_training.experiment.ledger import Ledger, State
from unidrive_training.experiment.steps import Step, config_file
from unidrive_training.experiment.summary import durations, scores


def show(experiment: Experiment, out: Path, steps: Sequence[Step], processes: int) -> None:
    """Print what a run would do, with the training configs ready for whoever does it by hand."""
    ledger = Ledger(experiment, out, steps)
    _write_configs(out, steps)
    for number, step in enumerate(steps, 1):
        print(f'[{number}/{len(steps)}] {step.name}: {ledger.states[step.name].value}')
        print(f'    {command_line(step, processes)}')


def run_steps(experiment: Experiment, out: Path, steps: Sequence[Step], processes: int) -> None:
    """Do what is not done yet, then print how long it all took and what the models score.

    Raises UserError, with the command's own sentence, when a step fails.
    """
    with hold(out, 'another `unidrive run` is at work here') as lock:  # its children, too
        ledger = Ledger(experiment, out, steps)
        _write_configs(out, steps)
        for number, step in enumerate(steps, 1):
            state = ledger.states[step.name]
            print(f'[{number}/{len(steps)}] {step.name}: {state.value}', flush=True)
            if state is State.DONE:
                ledger.keep(step)
            else:
                print(f'    {command_line(step, processes)}', flush=True)
                _do(step, out, ledger, processes, lock)
                _record(experiment, out, steps, ledger)
        _record(experiment, out, steps, ledger)
        print(durations(steps, ledger))
        if table := scores(steps):
            print(f'\n{table}')


def _do(step: Step, out: Path, ledger: Ledger, processes: int, lock: int) -> None:
    if step.name == 'report':
        _gather(out)
    if ledger.states[step.name] is State.OUTDATED or not step.resumes:
        _remove(step.output)
    step.output.parent.mkdir(parents=True, exist_ok=True)
    ledger.begin(step)
    started = time.monotonic()
    try:
        status, sentence = run_child(step, processes, lock)
    finally:
        spent = ledger.spend(step, time.monotonic() - started)
    if status != 0:
        raise UserError(
            f'{step.name}: {sentence or _ending(status)}; when that is mended, start the same '
            f'`unidrive run` again (the step alone: {command_line(step, processes)})'
        )
    # A training counts by itself, also what others started and what was killed.
    ledger.finish(step, read_metrics(step.output)['facts']['seconds'] if step.config else spent)


def _write_configs(out: Path, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.config:
            path = config_file(out, step.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            values = step.config.model_dump(mode='json')
            write_text(path, yaml.safe_dump(values, sort_keys=False))


def _gather(out: Path) -> None:
    """Make OUT look like a run folder to `unidrive report` and `compare`: the student's run, with
    the scores of the evaluation where there is one.
    """
    for source in (out / 'student', out / 'evaluation'):
        for name in ('config.yaml', 'environment.json', METRICS, DETAILS):
            if (source / name).exists():
                partial = out / f'.{name}.part'
                shutil.copyfile(source / name, partial)
                os.replace(partial, out / name)
        for name in ('tensorboard', 'worst'):
            if (source / name).exists():
                _remove(out / name)  # a folder, where OUT was copied
                (out / name).symlink_to(Path(source.name, name))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _ending(status: int) -> str:
    if status >= 0:
        return f'ended with status {status}, for the reason above'
    return f'was ended by {signal.Signals(-status).name} (by the system, when memory runs out)'


def _record(experiment: Experiment, out: Path, steps: Sequence[Step], ledger: Ledger) -> None:
    """OUT/experiment.json: everything that is needed to do it again, and how long it took."""
    record = {
        'name': experiment.name,
        'seed': experiment.seed,
        'experiment': experiment.model_dump(mode='json', exclude_none=True),
        **environment(),
        'steps': [
            {
                'name': step.name,
                'command': command_line(step, 1),  # any number of processes does the same
                'seconds': ledger.seconds(step.name),
            }
            for step in steps
        ],
    }
    write_json(out / 'experiment.json', record)
