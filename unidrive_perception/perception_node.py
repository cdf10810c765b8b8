# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable ``perception_node``: starts :class:`~.node.lifecycle_node.PerceptionNode`."""

from __future__ import annotations

import signal
import sys

from unidrive_perception.executable import start


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit code."""
    # until the node has handlers of its own: what it imports takes a second
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    return start('perception_node', 'unidrive_perception.node.run_node', args)


if __name__ == '__main__':
    sys.exit(main())
