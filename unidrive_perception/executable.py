# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts the executables that need ROS.

What they import is imported late, so that an interpreter that lacks it (a virtual environment that
is not active, a ROS distribution that is not sourced) is told of in one sentence.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from unidrive_perception.errors import UserError
from unidrive_perception.transport import dds_environment


def start(name: str, module: str, args: list[str] | None) -> int:
    """Call ``run(args)`` of ``module``; returns the exit code: 2 for an error of the user's."""
    os.environ.update(dds_environment())
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')  # it prints a line for each bad image
    try:
        run = importlib.import_module(module).run
        return run(sys.argv if args is None else [name, *args])
    except ImportError as error:
        if (error.name or '').partition('.')[0] == __package__:
            raise  # a mistake of ours
        print(
            f'{name}: error: {sys.executable} cannot import what it needs ({error}); source the '
            f'ROS 2 distribution and use the Python that has UniDrive and its requirements',
            file=sys.stderr,
        )
        return 1
    except UserError as error:
        print(f'{name}: error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before ROS has taken over the signal
        return 130


def init_ros(init: Callable, args: list[str]) -> None:
    """Call ``init``, which is ``rclpy.init`` (only nodes import rclpy), with ROS's arguments.

    Raises UserError for what ROS itself refuses: the command line, the parameter file, or its
    environment.
    """
    try:
        init(args=args)
    except Exception as error:
        # Those of ROS are of several types, most of them private; others are mistakes of ours.
        if type(error).__module__.partition('.')[0] != 'rclpy':
            raise
        raise UserError(' '.join(str(error).split())) from error


def split_ros_args(args: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into our own arguments and those for ROS.

    ROS's stand in blocks, as many as one likes: from ``--ros-args`` to ``--`` or the end.
    rclpy.utilities.remove_ros_args would take ``--remap /a:=/b`` for a rule in ROS's old syntax.
    """
    own, ros = [], []
    is_ros = False
    for arg in args:
        if is_ros and arg == '--':
            is_ros = False
            continue
        is_ros = is_ros or arg == '--ros-args'
        (ros if is_ros else own).append(arg)
    return own, ros
