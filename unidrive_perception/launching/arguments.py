# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The arguments of our launch files: one table of their names, meanings and types. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unidrive_perception.devices import DEVICES
from unidrive_perception.errors import UserError

PLACE = '{camera}'
"""Stands for the name of the camera in an image_topic of several."""

BOOLEANS = ('true', 'false', 'True', 'False')  # Python users of launch files write the latter


def split_names(argument: str, text: str) -> list[str]:
    """The parts of ``a,b,c``, of which none may be empty or there twice."""
    names = [name.strip() for name in text.split(',')]
    if not all(names):
        raise UserError(f'{argument}:={text} has an empty name between its commas')
    if len(set(names)) != len(names):
        raise UserError(f'{argument}:={text} has a name twice')
    return names


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file; ``parameter`` is the node's that it replaces where given."""

    name: str
    description: str
    default: str | None = ''
    choices: tuple[str, ...] = ()
    parameter: str = ''
    kind: type = str

    @property
    def declaration(self) -> dict[str, Any]:
        """The keywords of ``launch.actions.DeclareLaunchArgument``."""
        values = {
            'name': self.name,
            'description': self.description + '; empty: as in params_file' * bool(self.parameter),
        }
        if self.default is not None:
            values['default_value'] = self.default
        if self.kind is bool or self.choices:
            choices = self.choices or BOOLEANS
            values['choices'] = ['', *choices] if self.default == '' else list(choices)
        return values

    def value(self, text: str) -> bool | float | str | list[str]:
        """What a text means; raises :class:`UserError`."""
        if self.kind is bool:
            return text.lower() == 'true'
        if self.kind is list:
            return split_names(self.name, text)
        try:
            return self.kind(text)
        except ValueError as error:
            raise UserError(f'{self.name}:={text} is no number') from error


PERCEPTION = (
    Argument('model', 'Folder of the model bundle', parameter='model_path'),
    Argument(
        'device',
        'Where the model runs',
        choices=DEVICES,
        parameter='device',
    ),
    Argument('cameras', 'Names of several cameras, e.g. front,left', parameter='cameras'),
    Argument(
        'image_topic',
        'Topic of the camera; of several cameras e.g. /{camera}/image_raw. A relative one is '
        'below namespace',
        parameter='image_topic',
    ),
    Argument(
        'topics',
        'Topics of several cameras one by one, e.g. front=/a,left=/b. Others are on image_topic',
    ),
    Argument(
        'image_transport',
        'raw: Image; compressed: CompressedImage on <image_topic>/compressed',
        choices=('raw', 'compressed'),
        parameter='image_transport',
    ),
    Argument(
        'score_threshold',
        "Smallest score of a detection, 0 to 1; -1 for the model's own",
        parameter='score_threshold',
        kind=float,
    ),
    Argument('tasks', 'Tasks to publish, e.g. detection,drivable', parameter='tasks', kind=list),
    Argument('tracking', 'Follow objects: track_id', parameter='tracking', kind=bool),
    Argument(
        'lazy',
        'Work only while somebody listens. With bag false where not given',
        parameter='lazy',
        kind=bool,
    ),
    Argument('max_rate', 'Images per second and camera; 0: all', parameter='max_rate', kind=float),
    Argument(
        'max_age',
        'Seconds after which an image is too old to work on; 0: never',
        parameter='max_age',
        kind=float,
    ),
    Argument(
        'params_file',
        "Your YAML file of parameters, merged over the package's config/perception.param.yaml; "
        'arguments beat both',
    ),
    Argument('namespace', 'Namespace of the node and its topics'),
    Argument(
        'use_sim_time',
        'Take the time from /clock. Always so with bag, and in replay.launch.py',
        parameter='use_sim_time',
        kind=bool,
    ),
    Argument(
        'autostart',
        'Configure and activate at start; false where a lifecycle manager does that',
        parameter='autostart',
        kind=bool,
    ),
    Argument('respawn', 'Start the node again when it ends', default='false', kind=bool),
    Argument('respawn_delay', 'Seconds before that', default='2.0', kind=float),
    Argument('log_level', 'debug, info, warn, error or fatal', default='info'),
    Argument(
        'bag',
        'Bag, video or image folder to play with /clock; empty: live. A video or folder is played '
        'on the topic of the only camera, as JPEG images where image_transport is compressed',
    ),
)

REPLAY = (
    Argument(
        'bag',
        'Bag (rosbag2, rosbag1), video or image folder; a video or folder is played on the topic '
        'of the only camera, as JPEG images where image_transport is compressed',
        default=None,
    ),
    Argument('output', 'Bag to record the results into; empty: none'),
    Argument('rate', 'Times as fast as recorded', default='1.0', kind=float),
    Argument('loop', 'Begin anew at the end', default='false', kind=bool),
    Argument('start_offset', 'Begin this many seconds later', default='0.0', kind=float),
)

MULTI_CAMERA = (
    Argument('cameras', 'Names of the cameras, e.g. front,left,right', default=None),
    Argument(
        'image_topic',
        'Topics of the cameras. A relative one is below namespace',
        default=f'/{PLACE}/image_raw',
    ),
)
"""What multi_camera.launch.py declares otherwise than perception.launch.py."""
