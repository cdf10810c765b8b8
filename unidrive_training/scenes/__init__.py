# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Generated street scenes with exact truth: ``Drive(seed).frame(index)``."""

from unidrive_training.scenes.render import Drive, SceneFrame

__all__ = ['Drive', 'SceneFrame']
