# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: imports what the run time needs, where a package built for another NumPy may crash."""

from __future__ import annotations

import importlib
from importlib import metadata

from unidrive_perception.doctor.trials import run_trial, say

MODULES = {
    'numpy': 'numpy',
    'opencv': 'cv2',
    'onnxruntime': 'onnxruntime',
    'rosbags': 'rosbags.typesys',
    'scipy': 'scipy.optimize',
    'yaml': 'yaml',
    'tqdm': 'tqdm',
}
"""What to import of each requirement of the robot."""

RIVALS = {
    'opencv': (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
    'onnxruntime': ('onnxruntime', 'onnxruntime-gpu'),
}
"""Distributions that overwrite each other's files."""


def work(_: list[str]) -> None:
    """Say the version of each package, or what went wrong; then how raw images are converted."""
    for name, module in MODULES.items():
        say(importing=name)  # the last that is said names the one that crashed
        say(**{name: _tried(name, module)})
    _use_numpy_in_opencv()
    say(importing='cv_bridge')
    from unidrive_perception.image_bridge import find_cv_bridge

    bridge = find_cv_bridge()
    say(cv_bridge={'works': bridge.bridge is not None, 'sentence': bridge.sentence})
    say(importing='')


def _tried(name: str, module_name: str) -> dict:
    try:
        module = importlib.import_module(module_name)
        top = importlib.import_module(module_name.split('.')[0])
        version = getattr(top, '__version__', '') or metadata.version(name)
    except Exception as error:  # a package of another NumPy raises all kinds
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name == module_name.split('.')[0]
        )
        reason = (str(error).strip().splitlines() or [''])[0]
        return {'error': reason or type(error).__name__, 'missing': missing}
    rivals = [rival for rival in RIVALS.get(name, ()) if _is_installed(rival)]
    return {'version': version, 'file': getattr(module, '__file__', ''), 'rivals': rivals}


def _use_numpy_in_opencv() -> None:
    """Arrays must pass between the two, which an import alone does not show."""
    say(importing='opencv')
    try:
        import cv2
        import numpy as np

        assert cv2.cvtColor(np.zeros((2, 2, 3), np.uint8), cv2.COLOR_RGB2GRAY).shape == (2, 2)
    except ImportError:
        pass  # said above
    except Exception as error:
        say(opencv={'error': f'it does not take arrays of this NumPy: {error}', 'missing': False})


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == '__main__':
    run_trial(work)
