# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The model bundle, the device it runs on, and whether it keeps up with the cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.machine_checks import free_memory
from unidrive_perception.doctor.python_checks import PIP
from unidrive_perception.doctor.stream_checks import rate_of

RUNS = 10
USUAL_RATE = 30.0
GPU_FILES = ('dev/nvidia0', 'dev/nvhost-gpu', 'proc/driver/nvidia/version')
NODE = 'ros2 run unidrive_perception perception_node --ros-args -p'
EXPORT = 'unidrive export RUN OUT   # or leave model_path empty for the bundle that comes with us'


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    args = examination.args
    if not args.quick:  # else it is under way already
        examination.start_model(RUNS)
    said, problem = examination.model
    yield bundle(said, problem)
    yield providers(said, examination.device, has_gpu())
    if args.quick:
        yield skipped('speed', 'not measured with --quick')
    elif 'total_ms' in said:
        yield speed(said, *camera_rate(examination))
        yield memory(said, free_memory()[0])
    elif 'bundle' in said and 'error' not in said:
        yield did_not_run(problem)


def bundle(said: Mapping[str, Any], problem: str) -> Finding:
    """Whether the bundle is whole."""
    if 'bundle' in said:
        told = said['bundle']
        found = f'{told["name"]}, input {told["size"]}, {", ".join(told["tasks"])}; hash is right'
        return ok('bundle', found, **told)
    if 'error' in said:
        return fail('bundle', said['error'], EXPORT)
    return skipped('bundle', f'not examined: {problem}')


def providers(said: Mapping[str, Any], device: str, gpu: bool) -> Finding:
    """Where the model runs, and why not on a GPU that is there."""
    if 'providers' not in said:
        return skipped('device', 'onnxruntime does not run')
    version, cuda = said['version'], 'CUDAExecutionProvider' in said['providers']
    used = said.get('device', '')
    install = f'{PIP.replace("install", "uninstall")} -y onnxruntime && {PIP} onnxruntime-gpu'
    if 'bundle' in said and 'error' in said:  # the bundle is well, the device or program is not
        return fail(
            'device', said['error'], install if gpu and not cuda else f'{NODE} device:=cpu'
        )
    if gpu and not cuda and device != 'cpu':
        found = f'cpu; there is an NVIDIA GPU, and onnxruntime {version} is built without CUDA'
        return warn('device', found, install, used=used)
    if cuda and used == 'cpu' and device != 'cpu':
        found = f'cpu; onnxruntime {version} has CUDA and cannot open it'
        return warn('device', found, 'nvidia-smi   # driver and CUDA libraries', used=used)
    why = '' if gpu else '; no NVIDIA GPU here'
    where = used or ('cuda' if cuda and device != 'cpu' else 'cpu')
    return ok('device', f'{where}, onnxruntime {version}{why}', used=used)


def speed(said: Mapping[str, Any], wanted: float, whose: str) -> Finding:
    """Milliseconds per image, and whether that is enough for the cameras."""
    total = said['total_ms']
    rate = 1e3 / total
    found = f'{total:.0f} ms per image ({said["inference_ms"]:.0f} of it the model), {rate:.1f} Hz'
    figures = {'total_ms': total, 'rate': rate, 'wanted_rate': wanted, 'runs': said['runs']}
    if rate < wanted:
        share = 100 * (1 - rate / wanted)
        found += f'; of {wanted:.0f} Hz {whose} {share:.0f} % are passed over'
        remedy = (
            f'{NODE} max_rate:={rate * 0.8:.1f}   # evenly; a GPU or a smaller bundle gives more'
        )
        return warn('speed', found, remedy, **figures)
    return ok('speed', f'{found}; enough for {wanted:.0f} Hz {whose}', **figures)


def did_not_run(problem: str) -> Finding:
    """Not one image, though the bundle is whole."""
    if 'no answer' in problem:
        return skipped('speed', f'{problem}; this machine is busy')
    return fail('speed', f'the model did not run: {problem}', f'{NODE} device:=cpu')


def memory(said: Mapping[str, Any], free: int) -> Finding:
    """Whether what the model takes is there."""
    needed = said['memory']
    found = f'{needed / 2**20:.0f} MB needed, {free / 2**20:.0f} MB free'
    if needed > free:
        who = 'ps -eo rss,args --sort=-rss | head   # what takes it'
        return fail('memory', found, who, needed=needed, free=free)
    return ok('memory', found, needed=needed, free=free)


def camera_rate(examination: Examination) -> tuple[float, str]:
    """Images per second of all live cameras together, or what cameras usually give."""
    view, _ = examination.graph
    rates = [rate_of(stream) for stream in view.streams.values()] if view else []
    if not sum(rates):
        return USUAL_RATE, 'of a usual camera'
    beside = ', measured beside the running node' if view.perception else ''
    return sum(rates), ('of the live cameras' if len(rates) > 1 else 'of the live camera') + beside


def has_gpu(root: Path = Path('/')) -> bool:
    """Whether the driver of an NVIDIA GPU is here."""
    return any((root / name).exists() for name in GPU_FILES)
