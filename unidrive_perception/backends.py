# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs a bundle's program, chosen by the device.

The program (ONNX) takes ``images`` uint8 (N, H, W, 3) RGB, letterboxed; normalisation, mask
assembly and argmax are inside it. It gives, for the tasks it has:

- ``boxes`` float32 (N, Q, 4) xyxy in input pixels, ``scores`` float32 (N, Q) falling,
  ``class_ids`` int64 (N, Q);
- ``semantic`` and ``drivable`` uint8 (N, H / s, W / s) class ids, s in 1, 2, 4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnxruntime

from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.devices import DEVICES
from unidrive_perception.errors import UserError

OUTPUTS = {
    'detection': {'boxes': 'float32', 'scores': 'float32', 'class_ids': 'int64'},
    'semantic': {'semantic': 'uint8'},
    'drivable': {'drivable': 'uint8'},
}
"""Outputs of the program for each task, and their types."""

_ONNX_TYPES = {
    'tensor(uint8)': 'uint8',
    'tensor(int64)': 'int64',
    'tensor(float)': 'float32',
}


class Backend(Protocol):
    """A loaded program that has been checked against the manifest."""

    device: str
    """Where it runs: one of :data:`DEVICES`, never ``auto``."""

    def run(self, images: np.ndarray, tasks: Collection[str]) -> dict[str, np.ndarray]:
        """The outputs of at least one task for at least one image."""


def open_backend(bundle: Bundle, device: str, threads: int) -> Backend:
    """Load the program; raises :class:`BundleError` or :class:`UserError` with one sentence."""
    if device not in DEVICES:
        raise UserError(f'device must be one of {", ".join(DEVICES)}, not {device!r}')
    if device == 'openvino-bfloat16':
        from unidrive_perception.backends_openvino import OpenVinoBackend  # which imports this

        return OpenVinoBackend(bundle, threads)
    return OnnxRuntimeBackend(bundle, device, threads)


class OnnxRuntimeBackend:
    """The program in ONNX Runtime, on the CPU or on CUDA."""

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        """Load and check the program."""
        self._tasks = list(bundle.labels)
        self._session = _open_session(bundle, device, threads)
        inputs, outputs = (
            {port.name: (_ONNX_TYPES.get(port.type, port.type), port.shape) for port in ports}
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        )
        check_program(bundle, inputs, outputs)

    @property
    def device(self) -> str:
        """Where the program runs: ``cpu`` or ``cuda``."""
        return 'cuda' if 'CUDAExecutionProvider' in self._session.get_providers() else 'cpu'

    def run(self, images: np.ndarray, tasks: Collection[str]) -> dict[str, np.ndarray]:
        """The outputs of at least one task; what only the other tasks need is not computed."""
        names = output_names(self._tasks, tasks)
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = len(tasks) < len(self._tasks)
        return dict(zip(names, self._session.run(names, {'images': images}, options), strict=True))


def output_names(bundle_tasks: Sequence[str], wanted: Collection[str]) -> list[str]:
    """The outputs of the ``wanted`` tasks among those of the bundle, in its order."""
    return [name for task in bundle_tasks if task in wanted for name in OUTPUTS[task]]


Ports = Mapping[str, tuple[str, Sequence]]
"""Name of an input or output → its type and its shape."""


def check_program(bundle: Bundle, inputs: Ports, outputs: Ports) -> None:
    """The program must have the inputs and outputs that the manifest promises."""
    path, spec = bundle.program_path, bundle.manifest.input
    kind, shape = inputs.get('images', ('', ()))
    expected = ('uint8', [spec.height, spec.width, 3])
    if len(inputs) != 1 or (kind, list(shape)[1:]) != expected:
        raise BundleError(f'{path}: its input must be images {expected}, found {_shown(inputs)}')
    for task in bundle.labels:
        for name, kind in OUTPUTS[task].items():
            if outputs.get(name, ('',))[0] != kind:
                raise BundleError(
                    f'{path}: the manifest has the {task} task, so the program must have an '
                    f'output {name} of {kind}, found {_shown(outputs)}'
                )


def _shown(ports: Ports) -> str:
    return ', '.join(f'{name} {kind} {list(shape)}' for name, (kind, shape) in ports.items())


def _open_session(bundle: Bundle, device: str, threads: int) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    if device == 'cuda' and 'CUDAExecutionProvider' not in available:
        raise UserError(
            "device 'cuda' needs onnxruntime with CUDA (pip install onnxruntime-gpu); "
            f"this one has {', '.join(available)}; use device 'auto' or 'cpu'"
        )
    wanted = ['CPUExecutionProvider']
    if device != 'cpu' and 'CUDAExecutionProvider' in available:
        wanted.insert(0, 'CUDAExecutionProvider')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait gain 7 % on an idle machine, and lose a third where another
    # program has a core (docs/benchmarks.md, "Export paths").
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3  # warnings of the optimiser are not for users
    try:
        session = onnxruntime.InferenceSession(
            str(bundle.program_path), sess_options=options, providers=wanted
        )
    except Exception as error:  # onnxruntime raises its own types, which are not public
        reason = ' '.join(str(error).split())
        raise BundleError(
            f'{bundle.program_path}: onnxruntime cannot load it ({reason})'
        ) from error
    # onnxruntime falls back to the CPU without an error when the GPU cannot be opened
    if device == 'cuda' and 'CUDAExecutionProvider' not in session.get_providers():
        raise UserError(
            "device 'cuda': onnxruntime could not open a CUDA device; check the driver and "
            "the CUDA libraries, or use device 'auto' or 'cpu'"
        )
    return session
