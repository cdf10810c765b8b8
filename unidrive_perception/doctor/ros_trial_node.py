# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: what the ROS of this shell is, and which message packages work in Python."""

from __future__ import annotations

import importlib
from typing import Any

from unidrive_perception.doctor.trials import run_trial, say

PACKAGES = (
    'unidrive_msgs',
    'sensor_msgs',
    'std_msgs',
    'diagnostic_msgs',
    'lifecycle_msgs',
    'rcl_interfaces',
    'rosgraph_msgs',
    'std_srvs',
    'vision_msgs',
)


def work(_: list[str]) -> None:
    """Say ``rmw``, or why not: ``missing`` or ``broken``; then each package's messages."""
    try:
        import rclpy

        say(rclpy=rclpy.__file__)
        say(rmw=rclpy.get_rmw_implementation_identifier())
    except ModuleNotFoundError as error:
        say(**{'missing' if error.name == 'rclpy' else 'broken': str(error)})
        return
    except Exception as error:  # its libraries, or an RMW that is not installed
        say(broken=' '.join(str(error).split()))
        return
    for package in PACKAGES:
        say(**{package: _package(package)})


def _package(name: str) -> dict[str, Any]:
    """Its file, and for each message its fields; or why it does not work."""
    messages: dict[str, Any] = {}
    file = None
    for kind in ('msg', 'srv'):
        try:
            module = importlib.import_module(f'{name}.{kind}')
        except ModuleNotFoundError:
            continue
        except Exception as error:
            return {'error': str(error)}
        file = file or getattr(module, '__file__', None)  # none: a folder, not a built package
        if kind == 'msg':
            messages = {
                n: c for n, c in vars(module).items() if hasattr(c, 'get_fields_and_field_types')
            }
    if file is None:
        return {'missing': True}
    try:
        for message in messages.values():
            _load_type_support(message)
    except Exception as error:
        return {'file': file, 'error': ' '.join(str(error).split())}
    own = name == 'unidrive_msgs'
    return {'file': file, **({'messages': _fields(messages)} if own else {})}


def _load_type_support(message: type) -> None:
    """Load the compiled part, which an import does not; it is made for one version of Python."""
    from rclpy.type_support import check_for_type_support

    check_for_type_support(message)


def _fields(messages: dict[str, type]) -> dict[str, dict[str, str]]:
    return {name: message.get_fields_and_field_types() for name, message in messages.items()}


if __name__ == '__main__':
    run_trial(work)
