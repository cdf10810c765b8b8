# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Backbones, one family per file; each gives C2..C5 (strides 4, 8, 16, 32)."""
