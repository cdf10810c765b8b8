# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands that can be typed here: with ROS from wheels there is no ``ros2``, nothing of apt."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from unidrive_perception.doctor.trials import PACKAGE_ROOT

INSTALLED_ROS = Path('/opt/ros')
PACKAGE, NODE = 'unidrive_perception', 'perception_node'
GUIDE = 'https://docs.ros.org   # how to install ROS 2'
AGAIN = 'unidrive doctor   # again, when this machine is less busy'


def has_ros2() -> bool:
    """Whether there is the ``ros2`` command."""
    return shutil.which('ros2') is not None


def ros2(command: str, otherwise: str) -> str:
    """``ros2`` and the words of a command where there is one, else what else helps."""
    return f'ros2 {command}' if has_ros2() else otherwise


def run_node(arguments: str, node: str = NODE) -> str:
    """The command that starts one of our nodes with such ROS arguments."""
    if has_ros2() and _is_in_ament_index():
        start = f'ros2 run {PACKAGE} {node}'
    elif shutil.which(node):
        start = node
    else:
        start = f'{Path(sys.executable).name} -m {PACKAGE}.{node}'
    return f'{start} --ros-args {arguments}'


def set_parameter(node: str, name: str, value: str, ours: bool = False) -> str:
    """How a running node gets another value, or the start with it where nothing can set it.

    ``ours``: it is a perception node.
    """
    started = f'-p {name}:={value}'
    otherwise = f'start {node} with --ros-args {started}'
    if ours:
        otherwise = f'{run_node(started)}   # and its other arguments'
    return ros2(f'param set {node} {name} {value}', otherwise)


def install(*packages: str) -> str:
    """How packages of ROS are installed: by the distribution, or with the other wheels."""
    distribution = installed_distribution()
    if distribution:
        names = (f'ros-{distribution}-{package.replace("_", "-")}' for package in packages)
        return f'sudo apt install {" ".join(names)}'
    if name := os.environ.get('ROS_DISTRO'):  # built from source, or of another packager
        return f'install {", ".join(packages)} for ROS 2 {name}, or build it in a workspace'
    return set_up()


def installed_distribution() -> str:
    """The distribution that is sourced and came as packages of the system, else ''."""
    name = os.environ.get('ROS_DISTRO', '')
    return name if name and (INSTALLED_ROS / name).is_dir() else ''


def set_up() -> str:
    """How ROS comes to this Python: by our set-up where we lie in a checkout, which has it."""
    if (PACKAGE_ROOT / 'config' / 'setup' / 'bootstrap.py').is_file():
        return f'make -C {shlex.quote(str(PACKAGE_ROOT))} setup'
    return GUIDE


def source() -> str:
    """How a shell gets a ROS that works."""
    name = installed_distribution()
    return f'source {INSTALLED_ROS / name}/setup.bash   # in a new shell' if name else set_up()


def build_messages() -> str:
    """How ``unidrive_msgs`` is built: in a workspace, or by our set-up."""
    if installed_distribution() or os.environ.get('ROS_DISTRO'):
        return 'colcon build --packages-select unidrive_msgs && source install/setup.bash'
    return set_up()


def _is_in_ament_index() -> bool:
    """Whether ``ros2 run`` finds our package."""
    entry = Path('share', 'ament_index', 'resource_index', 'packages', PACKAGE)
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return any((prefix / entry).is_file() for prefix in map(Path, filter(None, prefixes)))
