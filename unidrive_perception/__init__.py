# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Run time of UniDrive: a model bundle in, ROS 2 messages out. Never imports unidrive_training."""
