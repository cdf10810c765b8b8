# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the perception node keeps for one camera while it is active. No ROS here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.rate_limit import RateLimit
from unidrive_perception.tracking import Tracker


@dataclass
class CameraStream:
    """One camera on its way through the node.

    ``decode`` makes (H, W, 3) uint8 RGB of a message; ``info()`` gives the newest CameraInfo, or
    None. ``is_dated`` says that its stamps were compared with the clock. In s of the steady clock,
    ``clock_until`` is how long a clock is waited for, ``admitted`` when the last image came that
    is not passed over; ``quiet_until`` and ``no_jump_until`` are when the next sentences may come
    about a bad image and about stamps that jump back.
    """

    name: str
    topic: str
    decode: Callable[[Any], np.ndarray]
    outputs: Outputs
    health: CameraHealth
    info: Callable[[], Any] = lambda: None
    limit: RateLimit = field(default_factory=RateLimit)
    tracker: Tracker = field(default_factory=Tracker)
    admitted: float = -math.inf
    is_dated: bool = False
    clock_until: float = math.inf
    quiet_until: float = 0.0
    no_jump_until: float = 0.0


@dataclass
class Received:
    """An image message and when it came, in seconds of the steady clock."""

    message: Any
    arrived: float


@dataclass
class Decoded:
    """An image that is ready for the model."""

    stream: CameraStream
    message: Any
    arrived: float
    rgb: np.ndarray
    decode_ms: float
