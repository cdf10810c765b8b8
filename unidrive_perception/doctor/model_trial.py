# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: loads a model bundle and runs it, where a driver or a large program may crash."""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime

from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.doctor.trials import run_trial, say
from unidrive_perception.errors import UserError

LONGEST_S = 3.0


def work(args: list[str]) -> None:
    """``args``: folder (empty: default), device, threads, images to predict, their width, height.

    Says the providers and the bundle, then the device, and a line after each image.
    """
    folder, device, *numbers = args
    threads, count, width, height = map(int, numbers)
    say(version=onnxruntime.__version__, providers=onnxruntime.get_available_providers())
    try:
        bundle = Bundle.load(folder or default_bundle())
        spec = bundle.manifest.input
        say(
            bundle={
                'folder': str(bundle.folder),
                'name': bundle.manifest.name,
                'size': f'{spec.width}×{spec.height}',
                'tasks': list(bundle.manifest.tasks),
            }
        )
        if count:
            _predict(bundle, device, threads, count, (height, width))
    except UserError as error:
        say(error=str(error))


def _predict(bundle: Bundle, device: str, threads: int, count: int, size: tuple[int, int]) -> None:
    from unidrive_perception.predictor import Predictor

    predictor = Predictor(bundle, device, threads)
    say(device=predictor.device)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    predictor.predict(image)
    end = time.monotonic() + LONGEST_S
    total, inference = [], []
    while len(total) < count and (not total or time.monotonic() < end):
        start = time.perf_counter()
        prediction = predictor.predict(image)
        total.append((time.perf_counter() - start) * 1e3)
        inference.append(prediction.timing.inference_ms)
        say(
            runs=len(total),
            total_ms=statistics.median(total),
            inference_ms=statistics.median(inference),
            memory=_peak_memory(),
        )


def _peak_memory() -> int:
    """Most bytes of memory that this process has held; 0 where that is unknown."""
    try:
        found = re.search(r'VmHWM:\s*(\d+) kB', Path('/proc/self/status').read_text())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 0


if __name__ == '__main__':
    run_trial(work)
