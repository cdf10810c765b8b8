# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""QoS of the perception node's topics: errors of ``qos_overrides`` as a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rclpy.exceptions import ParameterException

from unidrive_perception.errors import UserError


@contextlib.contextmanager
def qos_overrides_of(topic: str, entity: str) -> Iterator[None]:
    """Turn what rclpy raises for a wrong QoS override of ``topic`` into a UserError.

    ``entity``: 'subscription' or 'publisher'.
    """
    try:
        yield
    except (ParameterException, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f'the parameters qos_overrides.{topic}.{entity}.* do not fit ({error}): history is '
            'keep_last or keep_all, depth an integer, reliability reliable or best_effort'
        ) from error
