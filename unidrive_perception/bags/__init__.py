# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags without ROS: read and write."""
