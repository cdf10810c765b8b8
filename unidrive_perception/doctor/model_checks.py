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
from unidrive_perception.doctor.remedies import AGAIN, run_node
from unidrive_perception.doctor.stream_checks import rate_of

RUNS = 10
USUAL_RATE = 30.0
GPU_FILES = ('dev/nvidia0', 'dev/nvhost-gpu', 'proc/driver/nvidia/version')
BUNDLES = 'unidrive export RUN OUT   # makes a bundle of a training run; without --model: ours'


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    args = examination.args
    if not args.quick:  # else it is under way already
        examination.start_model(RUNS)
    said, problem, late = examination.model
    yield bundle(said, problem, late)
    yield providers(said, examination.device, has_gpu())
    if args.quick:
        yield skipped('speed', 'not measured with --quick')
    elif 'total_ms' in said:
        view, _ = examination.graph
        beside = bool(view and view.perception)
        yield speed(said, *camera_rate(examination), beside)
        yield memory(said, free_memory()[0])
    elif 'bundle' in said and 'error' not in said:
        yield did_not_run(problem, late)


def bundle(said: Mapping[str, Any], problem: str = '', late: bool = False) -> Finding:
    """Whether the bundle is whole."""
    if 'bundle' in said:
        told = said['bundle']
        found = f'{told["name"]}, input {told["size"]}, {", ".join(told["tasks"])}; hash is right'
        return ok('bundle', found, **told)
    if 'error' in said:
        return fail('bundle', said['error'], BUNDLES)
    if late:
        return warn('bundle', f'not examined: its trial {problem}', AGAIN)
    return skipped('bundle', f'not examined: {problem}')


def providers(said: Mapping[str, Any], device: str, gpu: bool) -> Finding:
    """Where the model runs, and why not on a GPU that is there."""
    if 'providers' not in said:
        return skipped('device', 'onnxruntime does not run')
    version, cuda = said['version'], 'CUDAExecutionProvider' in said['providers']
    used = said.get('device', '')
    install = f'{PIP.replace("install", "uninstall")} -y onnxruntime && {PIP} onnxruntime-gpu'
    if 'bundle' in said and 'error' in said:  # the bundle is well, the device or program is not
        remedy = install if gpu and not cuda else run_node('-p device:=cpu')
        return fail('device', said['error'], remedy)
    if device == 'cuda' and not cuda:
        found = f"device 'cuda' is asked for, and onnxruntime {version} is built without CUDA"
        return fail('device', found, install if gpu else run_node('-p device:=cpu'))
    if gpu and not cuda and device != 'cpu':
        found = f'cpu; there is an NVIDIA GPU, and onnxruntime {version} is built without CUDA'
        return warn('device', found, install, used=used)
    if cuda and used == 'cpu' and device != 'cpu':
        found = f'cpu; onnxruntime {version} has CUDA and cannot open it'
        return warn('device', found, 'nvidia-smi   # driver and CUDA libraries', used=used)
    why = '' if gpu else '; no NVIDIA GPU here'
    if used:
        return ok('device', f'{used}, onnxruntime {version}{why}', used=used)
    if device not in ('auto', 'cpu', 'cuda'):
        return skipped('device', f'{device} is not tried here')
    where = 'cuda' if cuda and device != 'cpu' else 'cpu'
    return ok('device', f'{where} by what onnxruntime {version} offers, not tried{why}', used='')


def speed(said: Mapping[str, Any], wanted: float, whose: str, beside: bool = False) -> Finding:
    """Milliseconds per image, and whether that is enough for the cameras.

    ``beside``: a node of ours runs, with which this had to share. Whether that keeps up is what
    it says itself.
    """
    total = said['total_ms']
    rate = 1e3 / total
    found = f'{total:.0f} ms per image ({said["inference_ms"]:.0f} of it the model), {rate:.1f} Hz'
    figures = {'total_ms': total, 'rate': rate, 'wanted_rate': wanted, 'runs': said['runs']}
    if beside:
        found += ', beside a running node, which itself says on /diagnostics whether it keeps up'
        return ok('speed', found, **figures)
    if rate < wanted:
        share = 100 * (1 - rate / wanted)
        found += f'; of {wanted:.0f} Hz {whose} {share:.0f} % are dropped'
        more = 'a GPU or a smaller bundle gives' if _is_model_slow(said) else 'smaller images give'
        remedy = run_node(f'-p max_rate:={rate * 0.8:.1f}') + f'   # evenly; {more} more'
        return warn('speed', found, remedy, **figures)
    return ok('speed', f'{found}; enough for {wanted:.0f} Hz {whose}', **figures)


def _is_model_slow(said: Mapping[str, Any]) -> bool:
    """Whether most of the time goes into the model, not into what is before and behind it."""
    return said['inference_ms'] > said['total_ms'] / 2


def did_not_run(problem: str, late: bool) -> Finding:
    """Not one image, though the bundle is whole."""
    if late:
        return warn('speed', f'not measured: the trial {problem}', AGAIN)
    return fail('speed', f'the model did not run: {problem}', run_node('-p device:=cpu'))


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
    return sum(rates), 'of the live cameras' if len(rates) > 1 else 'of the live camera'


def has_gpu(root: Path = Path('/')) -> bool:
    """Whether the driver of an NVIDIA GPU is here."""
    return any((root / name).exists() for name in GPU_FILES)
