# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: what the model sees, drawn over the image."""

from unidrive_perception.overlay.color_mask import color_mask
from unidrive_perception.overlay.drawing import MASKS, OverlayStyle, draw_overlay, picture_grid
from unidrive_perception.overlay.kept import forget

__all__ = ['MASKS', 'OverlayStyle', 'color_mask', 'draw_overlay', 'forget', 'picture_grid']
