# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Start one perception node, with one model, for several cameras.

ros2 launch unidrive_perception multi_camera.launch.py cameras:=front,left,right

Results are below /perception/<camera>/; config/viewers/ has layouts for Foxglove and RViz that
show them. All arguments of perception.launch.py hold here too.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from unidrive_perception.launching.arguments import MULTI_CAMERA

PERCEPTION = Path(__file__).with_name('perception.launch.py')


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(**argument.declaration) for argument in MULTI_CAMERA),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(PERCEPTION))),
        ]
    )
