# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The perception node: transitions, cameras and publishers, and ROS-free pieces that work."""
