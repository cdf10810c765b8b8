# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The services of the node under test, called from this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.time import Time
from std_srvs.srv import SetBool

from unidrive_msgs.msg import FrameTiming
from unidrive_perception.transport import USER_CHOICES

PATIENCE_S = 60.0


class NodeServices:
    """Clients of a node named ``/perception``; each call waits for the answer."""

    def __init__(self) -> None:
        """Join the ROS graph, over UDP only.

        What is killed around the node must not stop this process: ``docs/reliability.md``.
        """
        nothing = dict.fromkeys(USER_CHOICES)
        with _environment({**nothing, 'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}):
            rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
            self._node = rclpy.create_node('soak')
        self._clients = {
            name: self._node.create_client(kind, f'/perception/{name}')
            for name, kind in (
                ('change_state', ChangeState),
                ('set_parameters_atomically', SetParametersAtomically),
                ('enable', SetBool),
            )
        }
        self._told: DiagnosticArray | None = None
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._hear_told, 1)

    def _hear_told(self, message: DiagnosticArray) -> None:
        self._told = message

    def strangers(self) -> list[str]:
        """Other nodes in this ROS graph."""
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            rclpy.spin_once(self._node, timeout_sec=0.1)
        return [name for name in self._node.get_node_names() if name != self._node.get_name()]

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()
        rclpy.shutdown()

    def wait_until_there(self) -> None:
        """Wait until the node has begun to offer its services."""
        for name in self._clients:
            self._wait_for(name)

    def change_state(self, label: str) -> bool:
        """Ask for a transition, e.g. ``deactivate``."""
        request = ChangeState.Request(transition=Transition(label=label))
        return self._call('change_state', request).success

    def set_parameters(self, values: Mapping[str, Any]) -> str:
        """Set them; returns why the node refused, or ''."""
        parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        result = self._call('set_parameters_atomically', request).result
        return '' if result.successful else result.reason

    def enable(self, wanted: bool) -> bool:
        """Pause the node, or let it go on."""
        return self._call('enable', SetBool.Request(data=wanted)).success

    def told(self) -> dict[str, str]:
        """What the node says of itself in ``/diagnostics`` from now on; raises TimeoutError."""
        start, end = self._node.get_clock().now(), time.monotonic() + PATIENCE_S
        while self._told is None or Time.from_msg(self._told.header.stamp) < start:
            rclpy.spin_once(self._node, timeout_sec=0.1)
            if time.monotonic() > end:
                raise TimeoutError('no diagnostics of the node')
        own = next(status for status in self._told.status if status.hardware_id == 'node')
        return {item.key: item.value for item in own.values}

    def hear_timings(self, cameras: Sequence[str], count: int) -> None:
        """Wait for so many results of each camera; raises TimeoutError."""
        with self.timings(cameras) as hear:
            hear(count, PATIENCE_S)

    @contextmanager
    def timings(self, cameras: Sequence[str]) -> Iterator[Callable[[int, float], None]]:
        """Listen meanwhile; gives a function that waits as :meth:`hear_timings` does.

        It takes the count and how many seconds that may take.
        """
        heard: dict[str, list] = {camera: [] for camera in cameras}
        subscriptions = [
            self._node.create_subscription(
                FrameTiming, f'/perception/{camera}/timing', messages.append, 1
            )
            for camera, messages in heard.items()
        ]

        def hear(count: int, patience_s: float) -> None:
            for messages in heard.values():
                messages.clear()
            end = time.monotonic() + patience_s
            while silent := [camera for camera, each in heard.items() if len(each) < count]:
                rclpy.spin_once(self._node, timeout_sec=0.1)
                if time.monotonic() > end:
                    raise TimeoutError(f'no results of {", ".join(silent)}')

        try:
            yield hear
        finally:
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)

    def _call(self, name: str, request: Any) -> Any:
        client = self._wait_for(name)
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=PATIENCE_S)
        if not future.done():
            raise TimeoutError(f'no answer of {name} within {PATIENCE_S:.0f} s')
        return future.result()

    def _wait_for(self, name: str) -> Client:
        client = self._clients[name]
        if not client.wait_for_service(PATIENCE_S):
            raise TimeoutError(f'no service {name}')
        return client


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Meanwhile these variables have such values; None for none."""
    before = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
