# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable ``perception_node``: starts :class:`~.lifecycle_node.PerceptionNode`.

What the node imports is imported late, so that an interpreter that lacks it (a virtual environment
that is not active, a ROS distribution that is not sourced) is told of in one sentence.
"""

from __future__ import annotations

import sys


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit code."""
    try:
        from unidrive_perception.lifecycle_node import run
    except ImportError as error:
        print(
            f'perception_node: {sys.executable} cannot import what the node needs ({error}); '
            'source the ROS 2 distribution and start the node with the Python that has UniDrive '
            'and its requirements installed',
            file=sys.stderr,
        )
        return 1
    return run(args)


if __name__ == '__main__':
    sys.exit(main())
