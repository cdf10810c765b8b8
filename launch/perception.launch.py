# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Start the perception node, configured and active.

ros2 launch unidrive_perception perception.launch.py image_topic:=/camera/image_raw
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from unidrive_perception.image_topics import player_options
from unidrive_perception.transport import dds_environment

PACKAGE = 'unidrive_perception'
PARAMS_FILE = Path(__file__).resolve().parents[1] / 'config' / 'perception.param.yaml'

AS_IN_PARAMS_FILE = ('model', 'image_transport', 'device')
"""Arguments that replace a value of params_file, where they are given."""

ARGUMENTS = (
    DeclareLaunchArgument(
        'model',
        default_value='',
        description='Folder of the model bundle; empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'image_topic',
        default_value='camera/image_raw',
        description='Topic of the camera; a relative one is below namespace',
    ),
    DeclareLaunchArgument(
        'image_transport',
        default_value='',
        choices=['', 'raw', 'compressed'],
        description='raw: Image; compressed: CompressedImage on <image_topic>/compressed; '
        'empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        choices=['', 'auto', 'cpu', 'cuda'],
        description='Where the model runs; empty: as in params_file',
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(PARAMS_FILE),
        description='YAML file with the parameters of the node',
    ),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of the node and its topics'
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', 'true', 'false', 'True', 'False'],
        description='Take the time from /clock; empty: as in params_file. Always so with bag, and '
        'in replay.launch.py',
    ),
    DeclareLaunchArgument(
        'log_level', default_value='info', description='debug, info, warn, error or fatal'
    ),
    DeclareLaunchArgument(
        'bag',
        default_value='',
        description='Bag, video or image folder to play with /clock; empty: live. A video or '
        'folder is played on image_topic, as JPEG images where image_transport:=compressed',
    ),
)


def check(event: ProcessExited, context: LaunchContext) -> None:
    """End everything when one of the two fails; `ros2 launch` then has exit code 1."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}')


def start_nodes(context: LaunchContext) -> list:
    """The nodes, once the arguments are known."""
    given = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
    names = {'model': 'model_path'}
    parameters = {
        # as text: a folder may be called 123
        names.get(argument, argument): ParameterValue(given[argument], value_type=str)
        for argument in AS_IN_PARAMS_FILE
        if given[argument]
    }
    if given['bag'] or given['use_sim_time']:
        simulated = bool(given['bag']) or given['use_sim_time'].lower() == 'true'
        parameters['use_sim_time'] = simulated
    perception = Node(
        package=PACKAGE,
        executable='perception_node',
        name='perception',
        namespace=given['namespace'],
        parameters=[given['params_file'], parameters],
        remappings=[('image', given['image_topic'])],
        ros_arguments=['--log-level', given['log_level']],
        output='screen',
    )
    if not given['bag']:
        return [perception]  # its end must not take down the robot that includes this file
    nodes = [perception, player(given)]
    ends = [OnProcessExit(target_action=node, on_exit=check) for node in nodes]
    return [*map(RegisterEventHandler, ends), *nodes]


def player(given: dict[str, str]) -> Node:
    """The player of the recording, for the arguments of this file."""
    names = ('bag', 'image_topic', 'namespace', 'image_transport')
    return Node(
        package=PACKAGE,
        executable='bag_player',
        arguments=[
            given['bag'],
            *('--clock', '--wait-for-subscribers', '20'),
            *player_options(*(given[name] for name in names)),
        ],
        output='screen',
    )


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    environment = dds_environment()  # empty where the user has chosen a Fast DDS profile
    return LaunchDescription(
        [
            *ARGUMENTS,
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=start_nodes),
        ]
    )
