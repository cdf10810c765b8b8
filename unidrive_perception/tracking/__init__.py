# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Stable ids for the objects of one camera: ByteTrack-style association of boxes over time."""

from unidrive_perception.tracking.tracker import LOST_BUFFER_S, WEAK_SHARE, Tracker

__all__ = ['LOST_BUFFER_S', 'WEAK_SHARE', 'Tracker']
