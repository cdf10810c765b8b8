# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a callback of the node is told of, and ends neither node nor executor."""

from __future__ import annotations

import functools
import math
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from unidrive_perception.errors import Ended, UserError

AGAIN_S = 10.0
"""Between two traces of one callback."""

DONE = {
    'on_configure': 'configured',
    'on_activate': 'active',
    'on_deactivate': 'inactive: the model stays loaded',
    'on_cleanup': 'unconfigured: the model is freed',
    'on_shutdown': 'finalized',
    'on_error': 'unconfigured, after an error',
}
"""What the log says once a transition is done."""


def transition(on_exception: TransitionCallbackReturn) -> Callable:
    """Let a lifecycle callback tell of its end, and of its exceptions: rclpy swallows them.

    Where ``on_exception`` is FAILURE, the node's ``_undo(name, state)`` takes back what was begun.
    """

    def decorate(callback: Callable) -> Callable:
        name = callback.__name__

        @functools.wraps(callback)
        def run(self: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                result = callback(self, state)
            except Ended as reason:
                self.get_logger().info(str(reason))
            except UserError as error:
                self.get_logger().error(f'{name} failed: {error}')
            except Exception:
                self.get_logger().error(f'{name} failed\n{traceback.format_exc()}')
            else:
                if result == TransitionCallbackReturn.SUCCESS:
                    self.get_logger().info(DONE[name])
                else:
                    self.get_logger().error(f'{name} ended with {result.name}')
                return result
            if on_exception == TransitionCallbackReturn.FAILURE:
                self._undo(name, state)
            return on_exception

        return run

    return decorate


def never_ends_the_node(callback: Callable) -> Callable:
    """Log what goes wrong in a callback, which returns None then, instead of letting it out.

    The same error at the same place is logged again after ``AGAIN_S``.
    """
    quiet_until: dict[tuple[type, str, int], float] = {}  # rclpy's throttle is one for all errors

    @functools.wraps(callback)
    def run(self: Any, *arguments: Any) -> Any:
        try:
            return callback(self, *arguments)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what, now = (type(error), where.filename, where.lineno), time.monotonic()
            if now >= quiet_until.get(what, -math.inf):
                quiet_until[what] = now + AGAIN_S
                trace = traceback.format_exc()
                self.get_logger().error(f'{callback.__name__} failed\n{trace}')

    return run
