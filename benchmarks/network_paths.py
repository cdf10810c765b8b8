# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The ways to run the default bundle's network that ``export_paths.py`` compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from unidrive_perception.bundle import Bundle, default_bundle

CONFIG = Path(__file__).resolve().parents[1] / 'config/training/nano.yaml'
NAMES = ('boxes', 'scores', 'class_ids', 'semantic', 'drivable')
REFERENCE = 'ONNX Runtime'
Run = Callable[[np.ndarray], dict[str, np.ndarray]]
"""(N, H, W, 3) uint8 images → outputs of the program."""


@dataclass(frozen=True)
class Programs:
    """What the paths start from, and their threads."""

    threads: int
    folder: Path
    bundle: Path = field(default_factory=default_bundle)

    @property
    def int8(self) -> Path:
        """ONNX of the bundle's network with convolutions in int8."""
        return self.folder / 'int8.onnx'

    @property
    def random(self) -> Path:
        """ONNX of the network with random weights."""
        return self.folder / 'random.onnx'


def onnx_runtime(
    programs: Programs,
    path: Path | None = None,
    threads: int = 0,
    level: str = 'ORT_ENABLE_ALL',
    provider: str = 'CPUExecutionProvider',
    **entries: str,
) -> Run:
    """As the node runs it, but for the options given; ``_`` in their names stands for a dot."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or programs.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    for name, value in {'intra_op.allow_spinning': '0', **entries}.items():
        options.add_session_config_entry(f'session.{name}', value)
    session = onnxruntime.InferenceSession(
        path or Bundle.load(programs.bundle).program_path,
        options,
        providers=[provider],
    )
    if provider not in session.get_providers():  # it falls back to the CPU without a word
        raise RuntimeError(f'this onnxruntime has no {provider} that works')
    return lambda images: dict(zip(NAMES, session.run(NAMES, {'images': images}), strict=True))


def int8(programs: Programs) -> Run:
    """Convolutions in int8."""
    return onnx_runtime(programs, programs.int8)


def openvino_bfloat16(programs: Programs) -> Run:
    """The node's device ``openvino-bfloat16``."""
    from unidrive_perception.backends import open_backend

    bundle = Bundle.load(programs.bundle)
    backend = open_backend(bundle, 'openvino-bfloat16', programs.threads)
    return lambda images: backend.run(images, bundle.labels)


def openvino_float32(programs: Programs, batch: int = -1) -> Run:
    """Compiled for any batch, or for one image, as many times as there are images."""
    import openvino

    options = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': 'f32',
        'INFERENCE_NUM_THREADS': programs.threads,
        'ENABLE_CPU_PINNING': False,
    }
    bundle, core = Bundle.load(programs.bundle), openvino.Core()
    network, spec = core.read_model(bundle.program_path), bundle.manifest.input
    network.reshape({'images': [batch, spec.height, spec.width, 3]})
    request = core.compile_model(network, 'CPU', options).create_infer_request()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = request.infer({'images': images})
        return {port.get_any_name(): value for port, value in outputs.items()}

    return run if batch < 0 else one_by_one(run)


def one_by_one(run: Run) -> Run:
    """Give a path that takes one image all of a batch, one after the other."""

    def run_all(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = [run(image[None]) for image in images]
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}

    return run_all


def random_model():
    """The network with weights that every process draws alike."""
    import torch

    from unidrive_training.config import load_config
    from unidrive_training.models.multitask import MultiTaskModel

    torch.manual_seed(0)
    model = MultiTaskModel(load_config(CONFIG).model).eval()
    model.fold()
    return model.requires_grad_(False)


def torch_module(programs: Programs, compiled: bool = False, device: str = 'cpu') -> Run:
    """PyTorch as it is, or compiled for one image, as many times as there are images."""
    import torch

    torch.set_num_threads(programs.threads)
    model = random_model().to(device, memory_format=torch.channels_last)
    if compiled:
        torch._inductor.config.freezing = True  # weights are constants, batch norms folded
        model = torch.compile(model, dynamic=False)
    run = torch_run(model, device)
    return one_by_one(run) if compiled else run


def torch_aot(programs: Programs) -> Run:
    """torch.export, then a shared library by AOTInductor (its freezing fails on this network)."""
    import torch

    torch.set_num_threads(programs.threads)
    spec = Bundle.load(programs.bundle).manifest.input
    example = torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8)
    batch = {'images': {0: torch.export.Dim('batch', min=1, max=64)}}
    package = str(programs.folder / 'aot.pt2')
    with torch.no_grad():
        exported = torch.export.export(random_model(), (example,), dynamic_shapes=batch)
        torch._inductor.aoti_compile_and_package(exported, package_path=package)
    return torch_run(torch._inductor.aoti_load_package(package))


def torch_run(model: Callable, device: str = 'cpu') -> Run:
    """Call ``model``, which is on ``device``, with NumPy arrays."""
    import torch

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = model(torch.from_numpy(images).to(device))
        return {name: value.cpu().numpy() for name, value in outputs.items()}

    return run


HAS_GPU = Path('/proc/driver/nvidia/version').exists()
"""Told without torch: each path is timed from its start, with what it imports itself."""

RANDOM = {
    'torch eager': torch_module,
    'torch.compile': partial(torch_module, compiled=True),
    'torch.export + AOTInductor': torch_aot,
}
CUDA: dict[str, Callable[[Programs], Run]] = {
    'ONNX Runtime, CUDA': partial(onnx_runtime, provider='CUDAExecutionProvider'),
}
RANDOM_CUDA = {
    'torch eager, CUDA': partial(torch_module, device='cuda'),
    'torch.compile, CUDA': partial(torch_module, compiled=True, device='cuda'),
}
if HAS_GPU:  # never run so far: no machine of ours has had one when this was written
    RANDOM |= RANDOM_CUDA
PATHS: dict[str, Callable[[Programs], Run]] = {
    REFERENCE: onnx_runtime,
    'ONNX Runtime, one thread': partial(onnx_runtime, threads=1),
    'ONNX Runtime, spinning': partial(onnx_runtime, **{'intra_op.allow_spinning': '1'}),
    'ONNX Runtime, spinning 30 µs': partial(
        onnx_runtime, **{'intra_op.allow_spinning': '1', 'intra_op.spin_duration_us': '30'}
    ),
    'ONNX Runtime, denormals are 0': partial(onnx_runtime, **{'set_denormal_as_zero': '1'}),
    'ONNX Runtime, basic graph options': partial(onnx_runtime, level='ORT_ENABLE_BASIC'),
    'ONNX Runtime, int8 convolutions': int8,
    'OpenVINO, any batch': openvino_float32,
    'OpenVINO': partial(openvino_float32, batch=1),
    'OpenVINO, bfloat16': openvino_bfloat16,
    **RANDOM,
    **(CUDA if HAS_GPU else {}),
}
