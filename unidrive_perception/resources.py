# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds the files that come with UniDrive, in its source tree or where colcon installed them."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = 'unidrive_perception'


def config_path(*parts: str) -> Path:
    """Path of something in ``config/``: beside this code if it is there, else as installed.

    Where it is in neither, the path in the source tree is returned, for the error message.
    """
    relative = Path('config', *parts)
    prefixes = filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep))
    candidates = [Path(__file__).resolve().parents[1] / relative]
    candidates += [Path(prefix, 'share', PACKAGE) / relative for prefix in prefixes]
    return next((path for path in candidates if path.exists()), candidates[0])
