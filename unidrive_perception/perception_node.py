# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The executable ``perception_node``: starts :class:`~.node.lifecycle_node.PerceptionNode`."""

from __future__ import annotations

import signal
import sys

from unidrive_perception.command_line import Parser
from unidrive_perception.errors import quoted
from unidrive_perception.executable import split_ros_args, start
from unidrive_perception.node.memory import limit_heaps

NAME = 'perception_node'
EXAMPLE = '--ros-args -r image:=/camera/image_raw -p score_threshold:=0.4'


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; returns the exit code."""
    if unknown := unknown_arguments(sys.argv[1:] if args is None else args):
        print(
            f'{NAME}: error: {quoted(unknown[0])} is no argument of it: parameters and remappings '
            f'stand behind --ros-args, as in {NAME} {EXAMPLE}',
            file=sys.stderr,
        )
        return 2
    limit_heaps()  # before anything is imported that has threads: each begins with a heap
    # until the node has handlers of its own: what it imports takes a second
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    return start(NAME, 'unidrive_perception.node.run_node', args)


def unknown_arguments(args: list[str]) -> list[str]:
    """What of a command line is not for ROS: the node has no arguments of its own but --help."""
    parser = Parser(
        prog=NAME,
        usage=f'{NAME} [--help] [--ros-args -r OLD:=NEW ... -p PARAMETER:=VALUE ...]',
        description='Perception of camera images as a ROS 2 node.',
        epilog=f'Example: {NAME} {EXAMPLE}. Parameters: config/perception.param.yaml.',
        allow_abbrev=False,
    )
    own, _ = split_ros_args(args)
    return parser.parse_known_args(own)[1]


if __name__ == '__main__':
    sys.exit(main())
