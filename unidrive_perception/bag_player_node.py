# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable ``bag_player``: starts :class:`~.node.player_node.BagPlayer`."""

from __future__ import annotations

import sys

from unidrive_perception.executable import start


def main(args: list[str] | None = None) -> int:
    """Play until the end or Ctrl-C; returns the exit code."""
    return start('bag_player', 'unidrive_perception.node.player_node', args)


if __name__ == '__main__':
    sys.exit(main())
