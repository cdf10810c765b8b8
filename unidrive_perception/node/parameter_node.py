# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The perception node's side of its parameters: declared, checked when set, given as a dict."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node

from unidrive_perception.errors import UserError
from unidrive_perception.node import parameters
from unidrive_perception.node.parameters import ParameterSpec


class NodeParameters:
    """The parameters of a node.

    ``values`` is replaced as a whole at each change, so that a thread which has taken it sees one
    state of all. ``changing(changes)`` may refuse a change by raising a UserError;
    ``changed(changes)`` is told afterwards.
    """

    def __init__(
        self,
        node: Node,
        changing: Callable[[dict[str, Any]], None],
        changed: Callable[[dict[str, Any]], None],
    ) -> None:
        """Declare them; raises :class:`~.parameters.ParameterError` for a wrong value."""
        self._node, self._changing, self._changed = node, changing, changed
        self._table = dict(parameters.TABLE)
        for spec in parameters.PARAMETERS:
            self._declare(spec)
        self.values = self._checked_now()
        for camera in self.values['cameras']:
            for spec in parameters.of_camera(camera, self.values):
                self._table[spec.name] = spec
                self._declare(spec)
        self.values = self._checked_now()
        given = node._parameter_overrides  # the only way to know of those that nobody declared
        for name, meant in parameters.misspelt(given, self._table).items():
            node.get_logger().warning(f'unknown parameter {name}; did you mean {meant}?')
        node.add_on_set_parameters_callback(self._on_set)

    def of_camera(self, camera: str, name: str) -> Any:
        """The value of parameter ``name`` for a camera, which may have one of its own."""
        return self.values[f'{camera}.{name}' if camera else name]

    def _declare(self, spec: ParameterSpec) -> None:
        self._node.declare_parameter(spec.name, spec.default, _descriptor(spec))

    def _checked_now(self) -> dict[str, Any]:
        return {
            name: spec.check(self._node.get_parameter(name).value)
            for name, spec in self._table.items()
            if self._node.has_parameter(name)
        }

    def _on_set(self, changes: list[Any]) -> SetParametersResult:
        try:
            values = {
                change.name: self._table[change.name].check(change.value)
                for change in changes
                if change.name in self._table
            }
            if not values:  # one of qos_overrides, which rclpy declares
                return SetParametersResult(successful=True)
            self._changing(values)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # it would end the node
            self._node.get_logger().error(traceback.format_exc())
            return SetParametersResult(successful=False, reason=f'{type(error).__name__}: {error}')
        before, self.values = self.values, {**self.values, **values}
        for name, value in values.items():
            if value != before[name]:
                self._node.get_logger().info(f'{name}: {before[name]!r} -> {value!r}')
        self._changed(values)
        return SetParametersResult(successful=True)


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """The ROS description of one parameter, with its range."""
    choices = f' One of: {", ".join(spec.choices)}.' if spec.choices else ''
    descriptor = ParameterDescriptor(
        description=spec.description + choices,
        read_only=spec.read_only,
        # lets an int stand for a double (threshold:=1); our own check refuses anything else
        dynamic_typing=isinstance(spec.default, float),
    )
    if spec.low is not None and isinstance(spec.default, float):
        limits = FloatingPointRange(from_value=spec.low, to_value=spec.high)
        descriptor.floating_point_range = [limits]
    elif spec.low is not None:
        limits = IntegerRange(from_value=int(spec.low), to_value=int(spec.high))
        descriptor.integer_range = [limits]
    return descriptor
