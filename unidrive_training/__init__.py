# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Offline part of UniDrive: data, models, training, evaluation, export. Never imports rclpy."""
