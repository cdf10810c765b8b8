# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Backbones, one family per file; each gives C2..C5 (strides 4, 8, 16, 32)."""

from unidrive_training.models.backbones import (  # noqa: F401 (registers)
    clip_resnet,
    deit,
    regnet,
    resnet,
    swin,
)
