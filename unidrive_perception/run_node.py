# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs :class:`~.lifecycle_node.PerceptionNode` until a signal ends it."""

from __future__ import annotations

import signal

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from unidrive_perception.errors import UserError
from unidrive_perception.executable import init_ros
from unidrive_perception.lifecycle_node import PerceptionNode
from unidrive_perception.memory import limit_arenas


def run(argv: list[str]) -> int:
    """Run the node until Ctrl-C or SIGTERM; exit code 0, or 1 when it could not start.

    Raises :class:`UserError` for what the command line or the parameter file says wrong.
    """
    limit_arenas()
    # rclpy's handlers end the spin below. Python's own would also raise KeyboardInterrupt anywhere
    # (while a model is being loaded), and a second signal would cut the clean-up short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    node = None
    init_ros(rclpy.init, argv)
    try:
        node = PerceptionNode()
        if node.autostart and not node.start():
            return 1
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except ParameterException as error:
        raise UserError(str(error)) from error
    except Exception:
        if rclpy.ok():
            raise  # else: a signal came just before a wait, which then finds its context invalid
    finally:
        if node:
            node.close()
        rclpy.try_shutdown()
    return 0
