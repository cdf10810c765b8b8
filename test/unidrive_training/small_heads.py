# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads of the papers, so small that a test can build and train them."""

DETECTION = {
    'name': 'sparse_rcnn',
    'proposals': 12,
    'stages': 2,
    'dynamic_channels': 4,
    'attention_heads': 2,
    'feedforward': 32,
}
SEMANTIC = {
    'name': 'maskformer',
    'queries': 21,
    'channels': 16,
    'mask_channels': 16,
    'pixel_channels': 16,
    'groups': 4,
    'layers': 2,
    'attention_heads': 2,
    'feedforward': 32,
}
DRIVABLE = SEMANTIC | {'queries': 5}
