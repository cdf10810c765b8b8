# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The perception node's ``/diagnostics``."""

from __future__ import annotations

from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from unidrive_perception.node.diagnostics import ERROR, OK, STALE, WARN, Report, resident_mb
from unidrive_perception.node.memory import heap_in_use_mb, python_blocks
from unidrive_perception.node.model_slot import ModelSlot


class StatusPublisher:
    """Publishes one status for the node and one for each camera."""

    def __init__(self, node: Node) -> None:
        """Offer the topic."""
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def publish(self, own: Report, cameras: dict[str, Report]) -> None:
        """Publish the report of the node and those of the ``cameras``, by topic."""
        reports = {'node': own, **cameras}
        message = DiagnosticArray(status=[self._status(*item) for item in reports.items()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self, subject: str, report: Report) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([report.level]),
            name=f'{self._node.get_fully_qualified_name()}: {subject}',
            message=report.message,
            hardware_id=subject,
            values=[KeyValue(key=key, value=value) for key, value in report.values.items()],
        )


HUNG_S = 10.0
"""An image that is in work for so long will not come back."""


def hang_report(slot: ModelSlot, busy_s: float) -> Report | None:
    """The report of a node whose images in work have taken too long, ``busy_s`` seconds so far."""
    if busy_s <= HUNG_S or not slot.model:
        return None
    return Report(
        ERROR,
        f'an image has been in work for {busy_s:.0f} s: the model hangs on '
        f'{slot.model.device}; start the node again, perhaps with another device',
        {},
    )


def own_report(slot: ModelSlot, is_working: bool, state: str, hung: Report | None) -> Report:
    """The report of the node itself: its model, memory and ``state`` in one sentence.

    ``hung`` is that of :func:`hang_report`.
    """
    values = {
        'memory [MB]': f'{resident_mb():.0f}',
        'heap in use [MB]': f'{heap_in_use_mb():.2f}',
        'Python blocks': str(python_blocks()),
    }
    if slot.model:
        manifest = slot.model.bundle.manifest
        values['model'] = manifest.name
        values['model sha256'] = manifest.program.sha256
        values['model path'] = str(slot.model.bundle.folder)
        values['device'] = slot.model.device
    if hung:
        return replace(hung, values=values)
    if slot.loading:
        return Report(WARN, f'{slot.loading} is being loaded', values)
    return Report(OK if is_working else STALE, state, values)
