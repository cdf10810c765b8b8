# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written aside and renamed, so a run killed at any moment goes on from the last
complete one. The last few are kept, and the best.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from unidrive_perception.errors import UserError
from unidrive_training.config import TrainingConfig
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.typed import Typed, at_default, first_change, flat, parse

BEST = 'best.pt'
_NUMBERED = re.compile(r'checkpoint_(\d+)\.pt')


def save_checkpoint(folder: Path, state: dict[str, Any], number: int, keep: int = 1) -> None:
    """Write the checkpoint of step ``number``; of those before, the last ``keep`` - 1 stay."""
    _write(folder / checkpoint_name(number), state)
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)


def checkpoint_name(number: int) -> str:
    """The file of step ``number`` in a run folder."""
    return f'checkpoint_{number:07d}.pt'


def save_best(folder: Path, state: dict[str, Any]) -> None:
    """Replace the best checkpoint."""
    _write(folder / BEST, state)


def _write(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_name(f'{path.name}.part')
    try:
        with partial.open('wb') as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the name without the content
        os.replace(partial, path)
    except (RuntimeError, OSError) as error:  # the former is what torch makes of the latter
        partial.unlink(missing_ok=True)
        raise UserError(
            f'{path.parent}: the checkpoint could not be written ({str(error).splitlines()[0]}); '
            'make room and start the same command again'
        ) from error


def checkpoints(folder: Path) -> list[Path]:
    """The numbered checkpoints of a run folder, the oldest first."""
    return sorted(
        (path for path in folder.glob('checkpoint_*.pt') if _NUMBERED.fullmatch(path.name)),
        key=lambda path: int(_NUMBERED.fullmatch(path.name)[1]),
    )


def open_run(folder: Path, config: Typed, free: Collection[str] = ()) -> dict[str, Any] | None:
    """Make a run folder; where it holds a checkpoint of ``config``, that is returned, to go on.

    Settings called ``free`` may have changed. Raises UserError naming another that has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for partial in folder.glob('*.pt.part'):  # of a run that was killed
        partial.unlink(missing_ok=True)
    state = _newest(folder)
    if state is None:
        return None
    if change := config_change(state['config'], config, free):
        raise UserError(
            f'{folder}: the checkpoint was trained with another config ({change}); give that '
            'one, or a new folder'
        )
    return state


def config_change(then: dict[str, Any], now: Typed, free: Collection[str] = ()) -> str | None:
    """In what a stored config differs from one of now, but for settings called ``free``."""
    whole = now.model_dump(mode='json')
    old, new = (
        flat({key: value for key, value in values.items() if key not in free})
        for values in (then, whole)
    )
    return first_change(old, new, at_default(now))


def _newest(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint that can be read; the others are named."""
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except UserError as error:
            if path == found[0]:
                raise
            print(f'warning: {error}; going on from the one before', file=sys.stderr)
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint file, or in the last one of a run folder; no code in the file is
    executed.
    """
    if path.is_dir():
        path = (checkpoints(path) or [path / 'checkpoint_*.pt'])[-1]
    if not path.is_file():
        raise UserError(f'{path}: no such checkpoint; give a run folder of `unidrive train`')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what torch makes of a damaged file is anything
        raise UserError(f'{path}: not a readable checkpoint ({error})'.splitlines()[0]) from error
    if not isinstance(state, dict) or 'config' not in state:
        raise UserError(f'{path} is no checkpoint of UniDrive; give a run folder of its training')
    return state


def _trained(state: dict[str, Any], path: Path) -> dict[str, Any]:
    if 'average' not in state:
        raise UserError(f'{path} is a run of `unidrive classify`; give one of `unidrive train`')
    return state


def load_trained_model(path: Path) -> tuple[MultiTaskModel, TrainingConfig, dict[str, Any]]:
    """The averaged model of a checkpoint in evaluation mode, its config, and facts:
    ``iteration``, ``seconds``, ``annotated`` (detection classes that the data had labels of).
    """
    state = _trained(read_checkpoint(path), path)
    config = parse(TrainingConfig, state['config'], where=str(path))
    model = MultiTaskModel(config.model)
    model.load_state_dict(state['average'])
    facts = {key: state[key] for key in ('iteration', 'seconds', 'annotated')}
    return model.eval(), config, facts


def load_average(model: MultiTaskModel, path: Path) -> list[str]:
    """Start ``model`` from the averaged weights of another run, where name and shape are equal.

    Returns the names that start from scratch instead; UserError when nothing fits.
    """
    weights = _trained(read_checkpoint(path), path)['average']
    own = model.state_dict()
    fitting = {n: w for n, w in weights.items() if n in own and own[n].shape == w.shape}
    if not fitting:
        raise UserError(f'{path}: no weight fits this model; give a run of a similar config')
    model.load_state_dict(fitting, strict=False)
    return sorted(own.keys() - fitting.keys())
