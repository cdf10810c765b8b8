# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written in one step, so a run killed at any moment goes on from the last."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from unidrive_perception.errors import UserError
from unidrive_training.config import TrainingConfig
from unidrive_training.models.multitask import MultiTaskModel
from unidrive_training.typed import Typed, parse

FILE_NAME = 'checkpoint.pt'


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint by ``state`` in one step."""
    partial = folder / f'{FILE_NAME}.part'
    try:
        torch.save(state, partial)
        os.replace(partial, folder / FILE_NAME)
    except (RuntimeError, OSError) as error:  # the former is what torch makes of the latter
        raise UserError(
            f'{folder}: the checkpoint could not be written; make room and --resume'
        ) from error


def open_run(folder: Path, config: Typed, resume: bool) -> dict[str, Any] | None:
    """Make a run folder, which must be new, or with ``resume`` hold a checkpoint of ``config``:
    that is returned.
    """
    if not resume:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / FILE_NAME).exists():
            raise UserError(f'{folder} holds a checkpoint; add --resume or give a new folder')
        return None
    state = read_checkpoint(folder)
    then, now = _flat(state['config']), _flat(config.model_dump(mode='json'))
    for key in sorted(then.keys() | now.keys()):
        old, new = (values.get(key, 'absent') for values in (then, now))
        if old != new:
            raise UserError(
                f'{folder}: the checkpoint was trained with another config ({key} was {old}, is '
                f'{new}); give that one, or a new folder'
            )
    return state


def _flat(values: object, key: str = '') -> dict[str, object]:
    """Values of nested dicts and lists by dotted keys, as ``--set`` names them."""
    if not isinstance(values, (dict, list)) or not values:
        return {key: values}
    items = values.items() if isinstance(values, dict) else enumerate(values)
    nested = (_flat(value, f'{key}.{name}' if key else str(name)) for name, value in items)
    return {key: value for flat in nested for key, value in flat.items()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state in a checkpoint file or run folder; no code in the file is executed."""
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise UserError(f'{path}: no such checkpoint; give a run folder of `unidrive train`')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(f'{path}: not a readable checkpoint ({error})'.splitlines()[0]) from error
    if not isinstance(state, dict) or 'config' not in state:
        raise UserError(f'{path} is no checkpoint of UniDrive; give a run folder of its training')
    return state


def _trained(state: dict[str, Any], path: Path) -> dict[str, Any]:
    if 'average' not in state:
        raise UserError(f'{path} is a run of `unidrive classify`; give one of `unidrive train`')
    return state


def load_trained_model(path: Path) -> tuple[MultiTaskModel, TrainingConfig, dict[str, Any]]:
    """The averaged model of a checkpoint in evaluation mode, its config, and the run's facts."""
    state = _trained(read_checkpoint(path), path)
    config = parse(TrainingConfig, state['config'], where=str(path))
    model = MultiTaskModel(config.model)
    model.load_state_dict(state['average'])
    facts = {key: state[key] for key in ('iteration', 'seconds')}
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
