# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs :class:`~.lifecycle_node.PerceptionNode` until a signal ends it."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import traceback

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from unidrive_perception.errors import UserError
from unidrive_perception.executable import init_ros
from unidrive_perception.node.lifecycle_node import PerceptionNode
from unidrive_perception.node.watchdog import Watchdog

STARTING_S = 60.0
"""Within which the node must be there, before its parameters tell its own limit."""


def run(argv: list[str]) -> int:
    """Run the node until Ctrl-C or SIGTERM; exit code 0, or 1 when it could not start.

    Raises :class:`UserError` for what the command line or the parameter file says wrong.
    """
    watchdog = Watchdog()
    watchdog.start(STARTING_S, functools.partial(print, file=sys.stderr))
    # rclpy's handlers would take the publishers away in the middle of an image, Python's own would
    # raise KeyboardInterrupt anywhere (while a model is being loaded).
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    node, code = None, 1
    try:
        init = functools.partial(rclpy.init, signal_handler_options=SignalHandlerOptions.NO)
        init_ros(init, argv)
        node = PerceptionNode(ended, watchdog.patience)
        watchdog.start(node.watchdog_s, node.get_logger().fatal)
        is_up = not node.autostart or node.start()
        if is_up:
            _spin(node, ended, watchdog)
        code = 0 if is_up or ended.is_set() else 1
    except ParameterException as error:
        raise UserError(str(error)) from error
    finally:
        if node:
            node.close()
        rclpy.try_shutdown()
        watchdog.stop()
        if node and node.has_threads:
            # Python would wait for a model that nobody wants any more, or break off in its midst.
            if sys.exc_info()[0]:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
    return code


def _spin(node: PerceptionNode, ended: threading.Event, watchdog: Watchdog) -> None:
    """Serve the node until ``ended`` is set, or somebody has shut ROS down.

    What rclpy itself raises, as for a request that it cannot read, does not end the node.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ended.is_set():  # the node's timers let it look several times a second
        watchdog.feed()
        try:
            executor.spin_once()
        except ExternalShutdownException:
            return
        except Exception:
            if not rclpy.ok():
                raise
            trace = traceback.format_exc()
            node.get_logger().error(f'a callback of ROS failed\n{trace}', throttle_duration_sec=1)
