# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A mask as a picture: every pixel in the colour of its class."""

from __future__ import annotations

import cv2
import numpy as np

from unidrive_perception.labels import LabelTable


def color_mask(mask: np.ndarray, table: LabelTable) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a (H, W) uint8 mask of class ids; unknown pixels are black."""
    return cv2.applyColorMap(mask, table.palette().reshape(256, 1, 3))
