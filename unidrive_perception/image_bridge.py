# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds out whether cv_bridge is here and works.

A cv_bridge that was built for another NumPy ends the whole process when it is first used
(ros-perception/vision_opencv issue 535), so another process tries it first.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from typing import Any, NamedTuple

PROBE = """
import numpy as np
from cv_bridge import CvBridge
bridge = CvBridge()
pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
message = bridge.cv2_to_imgmsg(pixels, 'bgr8')
assert (bridge.imgmsg_to_cv2(message, 'rgb8') == pixels[..., ::-1]).all()
"""


class CvBridgeFound(NamedTuple):
    """A healthy CvBridge or None, and ``sentence`` for the log: what converts images, and why."""

    bridge: Any
    sentence: str


@functools.cache
def find_cv_bridge() -> CvBridgeFound:
    """Find a CvBridge that is installed and converts a small image rightly.

    Takes about a second the first time where it is installed.
    """
    if importlib.util.find_spec('cv_bridge') is None:
        return _without('it is not installed')
    try:
        probe = subprocess.run(
            [sys.executable, '-c', PROBE], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _without(f'it could not be tried: {error}')
    if probe.returncode:
        said = probe.stderr.strip().splitlines() or ['it said nothing']
        return _without(f'a trial of it ended with exit code {probe.returncode}: {said[-1]}')
    from cv_bridge import CvBridge

    return CvBridgeFound(CvBridge(), 'cv_bridge converts raw images')


def _without(reason: str) -> CvBridgeFound:
    return CvBridgeFound(None, f'OpenCV converts raw images, without cv_bridge: {reason}')
