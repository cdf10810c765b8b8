# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Play a bag, a video or a folder of images to the perception node, and record what it sees.

ros2 launch unidrive_perception replay.launch.py bag:=drive.mcap output:=results

Ends with the recording, or with exit code 1 when one of its processes fails; what was recorded
until then is kept. The arguments of perception.launch.py hold here too.
"""

import functools
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from unidrive_perception.launching import plan as launch_plan
from unidrive_perception.launching.arguments import PERCEPTION, REPLAY
from unidrive_perception.transport import dds_environment

PACKAGE = 'unidrive_perception'
NODE = Path(__file__).with_name('perception.launch.py')

LAST_RESULTS_S = 2.0
"""How long the results of the last images may take after the player has ended."""


def when_ended(
    event: ProcessExited, context: LaunchContext, player: Node, respawn: bool
) -> list | None:
    """End everything after the player, and at once with exit code 1 when a process fails."""
    if context.is_shutdown or getattr(event.action, 'node_package', '') != PACKAGE:
        return None
    comes_back = respawn and event.action.node_executable == 'perception_node'
    if event.returncode and not comes_back:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}')
    end = Shutdown(reason='the recording has ended')
    return [TimerAction(period=LAST_RESULTS_S, actions=[end])] if event.action is player else None


def start_nodes(context: LaunchContext) -> list:
    """The recorder and the player, once the arguments are known."""
    given = {
        a.name: LaunchConfiguration(a.name, default=a.default or '').perform(context)
        for a in (*PERCEPTION, *REPLAY)
    }
    plan = launch_plan.resolve(given, context.launch_configurations.get('ros_namespace', ''))
    player = Node(
        package=PACKAGE,
        executable='bag_player',
        namespace=given['namespace'],
        arguments=[
            *plan.player_arguments(given['bag'], patience_s=60),
            *launch_plan.replay_options(given),
        ],
        output='screen',
    )
    ended = functools.partial(when_ended, player=player, respawn=plan.respawn)
    actions = [RegisterEventHandler(OnProcessExit(on_exit=ended)), player]
    if given['output']:
        recorder = Node(
            package=PACKAGE,
            executable='bag_recorder',
            arguments=[given['output'], '--topics', *plan.recorded()],
            parameters=[{'use_sim_time': True}],
            output='screen',
        )
        return [*actions, recorder]
    # nobody may ever listen, and the player waits for the node
    return [*actions, SetLaunchConfiguration('lazy', given['lazy'] or 'false')]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(NODE)),
        launch_arguments={'bag': '', 'use_sim_time': 'true'}.items(),
    )
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(**argument.declaration) for argument in REPLAY),
            *(SetEnvironmentVariable(name, value) for name, value in dds_environment().items()),
            OpaqueFunction(function=start_nodes),
            GroupAction([perception]),
        ]
    )
