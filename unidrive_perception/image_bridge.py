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
from typing import Any

PROBE = """
import numpy as np
from cv_bridge import CvBridge
bridge = CvBridge()
pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
message = bridge.cv2_to_imgmsg(pixels, 'bgr8')
assert (bridge.imgmsg_to_cv2(message, 'rgb8') == pixels[..., ::-1]).all()
"""


@functools.cache
def find_cv_bridge() -> Any:
    """Return a CvBridge where it is installed and converts a small image rightly, else None.

    Takes about a second the first time where it is installed.
    """
    if importlib.util.find_spec('cv_bridge') is None:
        return None
    try:
        probe = subprocess.run(
            [sys.executable, '-c', PROBE], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if probe.returncode:
        return None
    from cv_bridge import CvBridge

    return CvBridge()
