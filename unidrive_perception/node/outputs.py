# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the results of one image, and builds only those messages that somebody listens to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unidrive_perception.node.frame_messages import FrameMessages


class Outputs:
    """The result publishers of one camera; each needs ``publish`` and ``get_subscription_count``.

    Beside those of :data:`~.frame_messages.TOPIC_TYPES` there is ``timing``.
    """

    def __init__(self, publishers: Mapping[str, Any]) -> None:
        """Publish with ``publishers``, by topic name in the order of publishing."""
        self.publishers = publishers

    def wanted(self) -> list[str]:
        """The topics that somebody has subscribed to."""
        return [n for n, p in self.publishers.items() if p.get_subscription_count()]

    def publish(self, messages: FrameMessages) -> None:
        """Publish those of ``messages`` that are wanted.

        One that fails keeps none of the others back; the first error is raised at the end.
        """
        errors = []
        for name in self.wanted():
            try:
                message = None if name == 'timing' else messages.get(name)
                if message is not None:
                    self.publishers[name].publish(message)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
