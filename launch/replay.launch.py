# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Play a bag, a video or a folder of images to the perception node, and record what it sees.

ros2 launch unidrive_perception replay.launch.py bag:=drive.mcap output:=results

Ends with the recording, or when one of its processes fails. The arguments of
perception.launch.py hold here too.
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
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from unidrive_perception.image_topics import player_options
from unidrive_perception.transport import dds_environment

PACKAGE = 'unidrive_perception'
PERCEPTION = Path(__file__).with_name('perception.launch.py')

RECORDED = ('detections', 'semantic_mask', 'drivable_mask', 'result', 'labels', 'timing')
"""As process-bag writes them, and the times that only a live node has."""

INCLUDED = {'image_topic': 'camera/image_raw', 'namespace': '', 'image_transport': ''}
"""Arguments of perception.launch.py that matter here too, with their defaults."""

LAST_RESULTS_S = 2.0
"""How long the results of the last images may take after the player has ended."""

ARGUMENTS = (
    DeclareLaunchArgument(
        'bag',
        description='Bag (rosbag2, rosbag1), video or image folder; a video or folder is played '
        'as JPEG images where image_transport:=compressed',
    ),
    DeclareLaunchArgument(
        'output', default_value='', description='Bag to record the results into; empty: none'
    ),
    DeclareLaunchArgument('rate', default_value='1.0', description='Times as fast as recorded'),
    DeclareLaunchArgument(
        'loop',
        default_value='false',
        choices=['true', 'false', 'True', 'False'],
        description='Begin anew at the end',
    ),
    DeclareLaunchArgument(
        'start_offset', default_value='0.0', description='Begin this many seconds later'
    ),
)


def when_ended(event: ProcessExited, context: LaunchContext, player: Node) -> list | None:
    """End everything after the player, and at once with exit code 1 when a process fails."""
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}')
    end = Shutdown(reason='the recording has ended')
    return [TimerAction(period=LAST_RESULTS_S, actions=[end])] if event.action is player else None


def start_nodes(context: LaunchContext) -> list:
    """The recorder and the player, once the arguments are known."""
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
    image_topic, namespace, transport = (
        LaunchConfiguration(name, default=default).perform(context)
        for name, default in INCLUDED.items()
    )
    options = ['--clock', '--wait-for-subscribers', '60']
    options += player_options(given['bag'], image_topic, namespace, transport)
    options += ['--rate', given['rate'], '--start-offset', given['start_offset']]
    if given['loop'].lower() == 'true':
        options.append('--loop')
    player = Node(
        package=PACKAGE,
        executable='bag_player',
        arguments=[given['bag'], *options],
        output='screen',
    )
    ended = functools.partial(when_ended, player=player)
    actions = [RegisterEventHandler(OnProcessExit(on_exit=ended))]
    if given['output']:
        node = f'/{namespace.strip("/")}/perception'.replace('//', '/')
        recorder = Node(
            package=PACKAGE,
            executable='bag_recorder',
            arguments=[given['output'], '--topics', *(f'{node}/{name}' for name in RECORDED)],
            parameters=[{'use_sim_time': True}],
            output='screen',
        )
        actions.append(recorder)
    return [*actions, player]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(PERCEPTION)),
        launch_arguments={'bag': '', 'use_sim_time': 'true'}.items(),
    )
    return LaunchDescription(
        [
            *ARGUMENTS,
            *(SetEnvironmentVariable(name, value) for name, value in dds_environment().items()),
            OpaqueFunction(function=start_nodes),
            GroupAction([perception]),
        ]
    )
