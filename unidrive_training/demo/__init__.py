# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive demo``: the node, a player and a recorder in a live ROS 2 graph; then a table and
pictures.
"""
