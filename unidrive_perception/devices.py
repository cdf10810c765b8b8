# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a model may run; imports nothing, so that launch files and the doctor can ask."""

DEVICES = ('auto', 'cpu', 'cuda', 'openvino-bfloat16')
"""``auto``: ``cuda`` where it can be had, else ``cpu``. The last is the CPU too, in OpenVINO with
bfloat16, which moves boxes and scores a little.
"""
