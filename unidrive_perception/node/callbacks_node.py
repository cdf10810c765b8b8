# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a callback of the node is told of, and ends neither node nor executor."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from unidrive_perception.errors import UserError

AGAIN_S = 10.0
"""Between two traces of one callback."""


def transition(on_exception: TransitionCallbackReturn) -> Callable:
    """Make a lifecycle callback tell of its exceptions, which rclpy swallows without a word.

    Where ``on_exception`` is FAILURE, the node's ``_undo(name, state)`` takes back what was begun.
    """

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def run(self: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return callback(self, state)
            except UserError as error:
                self.get_logger().error(f'{callback.__name__} failed: {error}')
            except Exception:
                self.get_logger().error(f'{callback.__name__} failed\n{traceback.format_exc()}')
            if on_exception == TransitionCallbackReturn.FAILURE:
                self._undo(callback.__name__, state)
            return on_exception

        return run

    return decorate


def never_ends_the_node(callback: Callable) -> Callable:
    """Log what goes wrong in a callback, which returns None then, instead of letting it out."""

    @functools.wraps(callback)
    def run(self: LifecycleNode, *arguments: Any) -> Any:
        try:
            return callback(self, *arguments)
        except Exception:
            trace = traceback.format_exc()
            self.get_logger().error(
                f'{callback.__name__} failed\n{trace}', throttle_duration_sec=AGAIN_S
            )

    return run
