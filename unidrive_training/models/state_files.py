# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Named tensors in the files that training programs write; nothing in them is executed."""

from __future__ import annotations

import argparse
import codecs
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unidrive_perception.errors import UserError

_numpy_scalar = np.float64(0).__reduce__()[0]


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The named tensors in a checkpoint: a .safetensors file, a torch.save file (a state dict, or
    a mapping that holds one as ``state_dict``, ``model`` or ``online_backbone``), a TorchScript
    archive (OpenAI's) or a .pkl file of NumPy arrays (detectron2's model zoo).

    Nothing pickled but tensors and plain values is read. Raises UserError.
    """
    path = Path(path)
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        if _is_torchscript(path):
            return dict(torch.jit.load(path, map_location='cpu').state_dict())
        if path.suffix == '.pkl':
            content = _read_arrays(path)
        else:
            with torch.serialization.safe_globals(_HARMLESS):
                content = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise UserError(f'{path}: {error.strerror or error}') from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f'{path} is no checkpoint, or holds Python objects beside its tensors, which are not '
            'read because they could run code; where you trust the file, save its state dict '
            "alone: torch.save({'state_dict': torch.load(FILE, weights_only=False)['state_dict']},"
            ' NEW)'
        ) from error
    except (RuntimeError, ValueError, KeyError, SafetensorError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f'{path} is no readable checkpoint of tensors ({reason})') from error
    for key in ('state_dict', 'model', 'online_backbone'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError(f'{path} holds a {type(content).__name__}; give a file with a state dict')
    tensors = {n: torch.as_tensor(v) for n, v in content.items() if isinstance(v, np.ndarray)}
    return tensors | {name: v for name, v in content.items() if isinstance(v, Tensor)}


def _read_arrays(path: Path) -> Any:
    """A pickle of NumPy arrays and plain values; anything else in it is an error, not run."""

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            module = module.replace('numpy.core', 'numpy._core')  # the name from NumPy 2 on
            if (module, name) in _ARRAY_PARTS:
                return _ARRAY_PARTS[module, name]
            raise pickle.UnpicklingError(f'{module}.{name}')

    with path.open('rb') as file:
        return Arrays(file, encoding='latin1').load()  # zoo files come from Python 2 as well


_ARRAY_PARTS = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('numpy._core.multiarray', '_reconstruct'): np.array([0]).__reduce__()[0],
    ('numpy._core.multiarray', 'scalar'): np.float32(0).__reduce__()[0],
    ('_codecs', 'encode'): codecs.encode,
    ('collections', 'OrderedDict'): OrderedDict,
}

# Plain values that training programs save beside their tensors: options and NumPy numbers.
_HARMLESS = [
    argparse.Namespace,
    codecs.encode,  # bytes, in old pickles
    np.dtype,
    *(type(np.dtype(name)) for name in ('float32', 'float64', 'int64', 'bool')),
    (_numpy_scalar, 'numpy.core.multiarray.scalar'),  # the name up to NumPy 1, and from 2 on
    (_numpy_scalar, 'numpy._core.multiarray.scalar'),
]


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())
