# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable ``bag_recorder``: starts :class:`~.node.recorder_node.BagRecorder`."""

from __future__ import annotations

import sys

from unidrive_perception.executable import start


def main(args: list[str] | None = None) -> int:
    """Record until Ctrl-C; returns the exit code."""
    return start('bag_recorder', 'unidrive_perception.node.recorder_node', args)


if __name__ == '__main__':
    sys.exit(main())
