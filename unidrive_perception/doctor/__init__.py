# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive doctor``: examines a machine and says what to change before the node runs on it.

What may crash, hang or need ROS runs as a *trial* in a process of its own (``*_trial.py``,
``*_node.py``); the ``*_checks.py`` judge what the trials told, and import nothing heavy.
"""
