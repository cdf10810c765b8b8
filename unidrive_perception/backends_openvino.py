# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The program in OpenVINO, an optional package, on a CPU that computes in bfloat16.

In float32 OpenVINO is no faster than ONNX Runtime (``benchmarks/export_paths.py``).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from unidrive_perception.backends import check_program, output_names
from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.errors import UserError


class OpenVinoBackend:
    """Compiled for one image, which is a quarter faster than for any number of them.

    Images of a batch therefore go through one after the other; together they take no less time.
    """

    device = 'openvino-bfloat16'

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Load, check and compile the program."""
        try:
            import openvino
        except ImportError:
            raise UserError(
                f"device '{self.device}' needs OpenVINO (pip install openvino); "
                "or use device 'cpu'"
            ) from None
        self._tasks = list(bundle.labels)
        core = openvino.Core()
        _check_bfloat16(core)
        try:
            program = core.read_model(bundle.program_path)
            check_program(bundle, _ports(program.inputs), _ports(program.outputs))
            spec = bundle.manifest.input
            program.reshape({'images': [1, spec.height, spec.width, 3]})
            compiled = core.compile_model(program, 'CPU', _options(threads))
        except RuntimeError as error:
            reason = ' '.join(str(error).split())
            raise BundleError(
                f'{bundle.program_path}: OpenVINO cannot load it ({reason})'
            ) from error
        self._ports = {port.get_any_name(): port for port in compiled.outputs}
        self._request = compiled.create_infer_request()

    def run(self, images: np.ndarray, tasks: Collection[str]) -> dict[str, np.ndarray]:
        """The outputs of at least one task; all of the program is computed."""
        names = output_names(self._tasks, tasks)
        rows = [self._request.infer({'images': row[None]}) for row in images]
        return {name: np.concatenate([row[self._ports[name]] for row in rows]) for name in names}


def _options(threads: int) -> dict[str, object]:
    options = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': 'bf16',
        'ENABLE_CPU_PINNING': False,  # other programs of the robot use the cores too
    }
    return {**options, 'INFERENCE_NUM_THREADS': threads} if threads else options


def _check_bfloat16(core) -> None:
    """OpenVINO would compute in float32 without a word."""
    if 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        raise UserError(
            "device 'openvino-bfloat16' needs a CPU with AMX or AVX512-BF16, which this one "
            "lacks; use device 'cpu'"
        )


def _ports(ports) -> dict[str, tuple[str, list]]:
    """Name → type and shape, ``None`` where any length goes."""
    return {
        port.get_any_name(): (
            port.element_type.to_dtype().name,
            [side.get_length() if side.is_static else None for side in port.partial_shape],
        )
        for port in ports
    }
