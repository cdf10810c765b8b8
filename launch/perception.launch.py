# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Start the perception node, configured and active.

ros2 launch unidrive_perception perception.launch.py image_topic:=/camera/image_raw

When the node ends, what else was launched goes on; `respawn:=true` brings it back. With `bag`
everything ends when the node or the player fails.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from unidrive_perception.launching import plan as launch_plan
from unidrive_perception.launching.arguments import PERCEPTION
from unidrive_perception.transport import dds_environment

PACKAGE = 'unidrive_perception'


def check(event: ProcessExited, context: LaunchContext) -> None:
    """End everything when one of the two fails; `ros2 launch` then has exit code 1."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}')


def start_nodes(context: LaunchContext) -> list:
    """The nodes, once the arguments are known."""
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in PERCEPTION}
    plan = launch_plan.resolve(given, context.launch_configurations.get('ros_namespace', ''))
    perception = Node(
        package=PACKAGE,
        executable='perception_node',
        name=launch_plan.NODE_NAME,
        namespace=given['namespace'],
        parameters=[plan.parameters],
        ros_arguments=['--log-level', given['log_level']],
        respawn=plan.respawn,
        respawn_delay=plan.respawn_delay,
        output='screen',
    )
    if plan.warning:
        get_logger(PACKAGE).warning(plan.warning)
    if not given['bag']:
        return [perception]
    player = Node(
        package=PACKAGE,
        executable='bag_player',
        namespace=given['namespace'],
        arguments=plan.player_arguments(given['bag'], patience_s=20),
        output='screen',
    )
    needed = [player] if plan.respawn else [perception, player]
    ends = [OnProcessExit(target_action=node, on_exit=check) for node in needed]
    return [*map(RegisterEventHandler, ends), perception, player]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    environment = dds_environment()  # empty where the user has chosen a Fast DDS profile
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(**argument.declaration) for argument in PERCEPTION),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=start_nodes),
        ]
    )
