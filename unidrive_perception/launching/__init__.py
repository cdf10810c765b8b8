# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the launch files say, without ROS."""
