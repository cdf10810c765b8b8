# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive demo``: the node, player and recorder in a live ROS 2 graph, a table, pictures."""
