# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The multi-task model, one concept per file."""
