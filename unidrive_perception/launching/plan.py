# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the arguments of our launch files mean for the node, the player and the recorder.

The launch files only start what stands here. They run in an interpreter that need not have what
the node needs, so this module needs PyYAML at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unidrive_perception.bags.files import is_bag
from unidrive_perception.errors import UserError
from unidrive_perception.image_topics import image_topic
from unidrive_perception.launching.arguments import PERCEPTION, PLACE, REPLAY, split_names
from unidrive_perception.launching.parameter_files import fits, node_parameters, read_sections
from unidrive_perception.resources import config_path

NODE_NAME = 'perception'

RESULTS = ('detections', 'semantic_mask', 'drivable_mask', 'result', 'timing')
"""What replay.launch.py records of each camera: as process-bag, and times only a node has."""

TABLE = {argument.name: argument for argument in (*PERCEPTION, *REPLAY)}

DEPENDENT = ('cameras', 'image_topic')
"""Arguments that depend on each other: see :func:`camera_parameters`."""


@dataclass(frozen=True)
class LaunchPlan:
    """What to start the node of this full name with; ``warning`` may be empty."""

    node: str
    parameters: dict[str, Any]
    respawn: bool
    respawn_delay: float
    warning: str

    @property
    def cameras(self) -> list[str]:
        """The names of the cameras; one empty name where there is one camera without."""
        return self.parameters.get('cameras') or ['']

    def recorded(self) -> list[str]:
        """The topics with all results, and with what their ids mean."""
        cameras = [f'{self.node}/{camera}'.rstrip('/') for camera in self.cameras]
        return [f'{self.node}/labels', *(f'{c}/{name}' for c in cameras for name in RESULTS)]

    def player_arguments(self, recording: str, patience_s: int) -> list[str]:
        """Those with which a recording comes where the node listens, once it does.

        The player has to be in the namespace of the node: relative topics are below it.
        """
        waiting = ['--clock', '--wait-for-subscribers', f'{patience_s}']
        return [recording, *waiting, *self._topic_options(recording)]

    def _topic_options(self, recording: str) -> list[str]:
        """A bag needs none: it has topics of its own, on which it is played."""
        if is_bag(recording):
            return []
        if len(self.cameras) > 1:
            raise UserError(
                f'{recording} is no bag: as a video or folder it has the images of one camera, '
                f'and cameras are {", ".join(self.cameras)}'
            )
        (camera,) = self.cameras
        prefix = camera and f'{camera}.'
        name = self.parameters.get(f'{prefix}image_topic', f'{camera}/image'.lstrip('/'))
        shared = self.parameters.get('image_transport', 'raw')
        transport = self.parameters.get(f'{prefix}image_transport', shared)
        topic, transport = image_topic(name, transport)
        return ['--topic', topic, *(['--encoding', 'jpeg'] if transport == 'compressed' else [])]


def resolve(given: Mapping[str, str], pushed_namespace: str = '') -> LaunchPlan:
    """What the given arguments of a launch file mean; raises :class:`UserError`.

    ``pushed_namespace`` is that of the group in which the launch file is included.
    """
    node = full_name(pushed_namespace, given['namespace'])
    files = [config_path('perception.param.yaml')]
    warning = ''
    if given['params_file']:
        files.append(Path(given['params_file']).expanduser())
        warning = _nothing_for(node, files[-1])
    parameters = node_parameters(files, node)
    if given['bag']:
        parameters['lazy'] = False  # the player waits for the node to listen
    parameters |= {
        a.parameter: a.value(given[a.name])
        for a in PERCEPTION
        if a.parameter and a.name not in DEPENDENT and given[a.name]
    }
    if given['bag']:
        parameters['use_sim_time'] = True
    parameters |= camera_parameters(given, parameters.get('cameras') or [''])
    respawn, delay = (TABLE[name].value(given[name]) for name in ('respawn', 'respawn_delay'))
    return LaunchPlan(node, parameters, respawn, delay, warning)


def replay_options(given: Mapping[str, str]) -> list[str]:
    """Options of the player for the arguments of replay.launch.py; raises :class:`UserError`."""
    rate, offset = (TABLE[name].value(given[name]) for name in ('rate', 'start_offset'))
    loop = TABLE['loop'].value(given['loop'])
    return ['--rate', f'{rate}', '--start-offset', f'{offset}', *(['--loop'] if loop else [])]


def camera_parameters(given: Mapping[str, str], in_files: Sequence[str]) -> dict[str, Any]:
    """The parameters of the arguments cameras, image_topic and topics.

    ``in_files`` are the cameras where the argument does not name any. Raises UserError.
    """
    cameras = split_names('cameras', given['cameras']) if given['cameras'] else list(in_files)
    parameters = {'cameras': cameras} if given['cameras'] else {}
    pattern = given['image_topic']
    if PLACE in pattern and cameras == ['']:
        raise UserError(f'image_topic:={pattern} needs names for {PLACE}: cameras:=front,left')
    if pattern and PLACE not in pattern and len(cameras) > 1:
        raise UserError(
            f'image_topic:={pattern} is one topic for {len(cameras)} cameras '
            f'({", ".join(cameras)}): put {PLACE} where their names belong, e.g. '
            f'/{PLACE}/image_raw'
        )
    topics = dict.fromkeys(cameras, pattern) | _split_topics(given['topics'], cameras)
    found = {name: topic.replace(PLACE, name) for name, topic in topics.items() if topic}
    for name, topic in found.items():
        if twin := next((n for n, t in found.items() if t == topic and n != name), None):
            raise UserError(f'cameras {name} and {twin} are both on {topic}')
        parameters[f'{name}.image_topic' if name else 'image_topic'] = topic
    return parameters


def _split_topics(text: str, cameras: Sequence[str]) -> dict[str, str]:
    """The topics of ``front=/a,left=/b``."""
    topics = {}
    for item in split_names('topics', text) if text else ():
        name, equals, topic = (part.strip() for part in item.partition('='))
        if not equals or not topic:
            raise UserError(f'topics:={text} must be like front=/a,left=/b, not {item!r}')
        if name in topics:
            raise UserError(f'topics:={text} names camera {name} twice')
        if name not in cameras:
            known = ', '.join(filter(None, cameras)) or 'none; give cameras:=front,left'
            raise UserError(f'topics:={text} names {name}, and the cameras are: {known}')
        topics[name] = topic
    return topics


def full_name(pushed_namespace: str, namespace: str) -> str:
    """The full name that launch gives the node: an absolute namespace beats the pushed one."""
    spaces = [namespace] if namespace.startswith('/') else [pushed_namespace, namespace]
    return '/' + '/'.join(filter(None, (part.strip('/') for part in (*spaces, NODE_NAME))))


def _nothing_for(node: str, file: Path) -> str:
    """A warning where no section of a parameter file is for the node: ROS would say nothing."""
    names = [name for name, _ in read_sections(file)]
    if any(fits(name, node) for name in names):
        return ''
    return f'{file} has no parameters for {node}, only for {", ".join(names)}'
