# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Datasets: the BDD100K layout on disk, samples in memory, converters into the layout."""
