# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Training: schedules, steps, checkpoints."""
