# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Text features on disk: one vector per class name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from unidrive_perception.errors import UserError


def write_text_features(path: str | Path, names: list[str], features: np.ndarray) -> None:
    """Keep features (K, D) of K class names as a .safetensors file, a (D,) array per name.

    So features that come as rows in the class order of some dataset can be picked by name::

        write_text_features('coco.safetensors', coco_names, np.load('coco_features.npy'))
    """
    if len(names) != len(features):
        raise UserError(f'{len(names)} class names for {len(features)} rows of text features')
    rows = np.ascontiguousarray(features, np.float32)
    save_file(dict(zip(names, rows, strict=True)), path)


def read_text_features(path: str | Path, names: list[str]) -> Tensor:
    """(K, D) float32 features of ``names`` (a name may occur in several tasks).

    ``.safetensors`` or ``.npz``: a (D,) array per class name; the file may hold more names.
    ``.npy``: (K, D), rows in the order of ``names``.
    Raises UserError on a missing file, missing classes or vectors that do not fit.
    """
    found = _read(Path(path))
    if isinstance(found, np.ndarray):
        if found.ndim != 2 or len(found) != len(names):
            raise UserError(
                f'{path} holds an array of shape {found.shape}; give one row for each of the '
                f'{len(names)} classes: {", ".join(names)}'
            )
        return torch.from_numpy(found.astype(np.float32))
    missing = sorted({name for name in names if name not in found})
    if missing:
        raise UserError(f'{path} has no text features of {", ".join(missing)}; add them')
    shapes = {found[name].shape for name in names}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise UserError(
            f'{path} must hold one vector per class, all of one length; shapes there: '
            f'{", ".join(map(str, sorted(shapes)))}'
        )
    return torch.from_numpy(np.stack([found[name] for name in names]).astype(np.float32))


def _read(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    if path.suffix not in ('.safetensors', '.npz', '.npy'):
        raise UserError(f'{path}: text features are read from .safetensors, .npz or .npy files')
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        found = np.load(path)
        return found if path.suffix == '.npy' else dict(found)
    except OSError as error:
        raise UserError(f'{path}: {error.strerror or error}') from error
    except (ValueError, EOFError, SafetensorError) as error:
        raise UserError(f'{path} is no readable file of text features ({error})') from error
