# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs a bundle's program.

The program (ONNX) takes ``images`` uint8 (N, H, W, 3) RGB, letterboxed; normalisation, mask
assembly and argmax are inside it. It gives, for the tasks it has:

- ``boxes`` float32 (N, Q, 4) xyxy in input pixels, ``scores`` float32 (N, Q) falling,
  ``class_ids`` int64 (N, Q);
- ``semantic`` and ``drivable`` uint8 (N, H / s, W / s) class ids, s in 1, 2, 4.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnxruntime

from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.errors import UserError

DEVICES = ('auto', 'cpu', 'cuda')

_PROGRAM_OUTPUTS = {
    'detection': {
        'boxes': 'tensor(float)',
        'scores': 'tensor(float)',
        'class_ids': 'tensor(int64)',
    },
    'semantic': {'semantic': 'tensor(uint8)'},
    'drivable': {'drivable': 'tensor(uint8)'},
}


class Backend:
    """The program in ONNX Runtime, checked against the manifest."""

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        """Load it; raises :class:`BundleError` or :class:`UserError` with one sentence."""
        self._tasks = list(bundle.labels)
        self._session = _open_session(bundle, device, threads)
        _check_program(bundle, self._session)

    @property
    def device(self) -> str:
        """Where the program runs: ``cpu`` or ``cuda``."""
        return 'cuda' if 'CUDAExecutionProvider' in self._session.get_providers() else 'cpu'

    def run(self, images: np.ndarray, tasks: Collection[str]) -> dict[str, np.ndarray]:
        """The outputs of at least one task; what only the other tasks need is not computed."""
        names = [name for task in self._tasks if task in tasks for name in _PROGRAM_OUTPUTS[task]]
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = len(tasks) < len(self._tasks)
        return dict(zip(names, self._session.run(names, {'images': images}, options), strict=True))


def _check_program(bundle: Bundle, session: onnxruntime.InferenceSession) -> None:
    """The program must have the inputs and outputs that the manifest promises."""
    path, spec = bundle.program_path, bundle.manifest.input
    inputs = {i.name: i for i in session.get_inputs()}
    expected = ('tensor(uint8)', [spec.height, spec.width, 3])
    image = inputs.get('images')
    if len(inputs) != 1 or image is None or (image.type, image.shape[1:]) != expected:
        found = ', '.join(f'{i.name} {i.type} {i.shape}' for i in inputs.values())
        raise BundleError(f'{path}: its input must be images {expected}, found {found}')
    outputs = {o.name: o.type for o in session.get_outputs()}
    for task in bundle.labels:
        for name, kind in _PROGRAM_OUTPUTS[task].items():
            if outputs.get(name) != kind:
                raise BundleError(
                    f'{path}: the manifest has the {task} task, so the program must have an '
                    f'output {name} of {kind}, found {outputs}'
                )


def _open_session(bundle: Bundle, device: str, threads: int) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    if device not in DEVICES:
        raise UserError(f'device must be one of {", ".join(DEVICES)}, not {device!r}')
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
    # Threads that wait by spinning doubled the CPU time per image, and on a machine with other
    # work the latency too.
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
