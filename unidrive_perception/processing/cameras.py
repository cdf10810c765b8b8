# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which cameras of a bag are processed, and under which names their results come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unidrive_perception.errors import UserError
from unidrive_perception.image_topics import SUFFIX
from unidrive_perception.node.parameters import TABLE

ROOT = '/perception/'
"""Where the node publishes when it runs under its own name and no namespace."""
_IMAGE_NAMES = ('image', 'image_raw', 'image_mono', 'image_color', 'image_rect')


@dataclass(frozen=True)
class Camera:
    """A camera: the ``topic`` of its images, and its ``name``, empty for an only one."""

    topic: str
    name: str = ''

    @property
    def prefix(self) -> str:
        """What the topics of its results begin with, as those of the node do."""
        return f'{ROOT}{self.name}/' if self.name else ROOT


def asked_cameras(topics: Sequence[str], named: Sequence[str]) -> list[Camera]:
    """The cameras of ``--topic TOPIC`` and ``--camera NAME=TOPIC``; none where none was given.

    Several topics get names made of them: ``/cam_front/image_raw`` is ``cam_front``. Raises
    UserError for a name that no topic can have, or that two have.
    """
    cameras = []
    for text in named:
        name, equals, topic = text.partition('=')
        if not (name and equals and topic):
            raise UserError(f'--camera must be like front=/cam_front/image_raw, not {text}')
        cameras.append(Camera(topic, name))
    names = _names_of(topics) if len(topics) + len(cameras) > 1 else ['']
    cameras += [Camera(topic, name) for topic, name in zip(topics, names)]  # noqa: B905 - no topic
    if twice := {c.topic for c in cameras if [o.topic for o in cameras].count(c.topic) > 1}:
        raise UserError(f'{min(twice)} is given twice: give each topic once')
    if cameras:
        TABLE['cameras'].check([camera.name for camera in cameras])
    return cameras


def _names_of(topics: Sequence[str]) -> list[str]:
    """As many of the last parts of each topic as it takes for the names to differ."""
    parts = [_telling_parts(topic) for topic in topics]
    names = list(topics)
    for length in range(1, max((len(p) for p in parts), default=0) + 1):
        names = ['_'.join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return names


def _telling_parts(topic: str) -> list[str]:
    parts = topic.removesuffix(SUFFIX).strip('/').split('/')
    return parts[:-1] if len(parts) > 1 and parts[-1] in _IMAGE_NAMES else parts
