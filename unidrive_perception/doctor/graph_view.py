# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What was seen in a live ROS graph, without ROS: the trial fills it, the checks judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from unidrive_perception.image_topics import full_node_name

RESULTS = (
    'semantic_image',
    'drivable_image',
    'semantic_color',
    'drivable_color',
    'overlay',
    'overlay/compressed',
)
"""Topics of ours with images, which are no cameras; a bag that was recorded has them too."""


@dataclass(frozen=True)
class Publisher:
    """A publisher of a camera topic; ``refused`` says which readers cannot take its QoS."""

    node_namespace: str
    node_name: str
    topic_type: str
    reliability: str
    refused: Sequence[str] = ()

    @property
    def node(self) -> str:
        """Its full name."""
        return full_node_name(self)

    @property
    def qos_profile(self) -> Any:
        """As rclpy has it, for the sentences of image_topics."""
        return SimpleNamespace(reliability=SimpleNamespace(name=self.reliability))


@dataclass(frozen=True)
class Stream:
    """Images that arrived on a topic: one entry of each list per image, in ns.

    ``arrivals`` are of the monotonic clock, ``now`` of the clock that stamps should be of: the
    simulated one where there is one, else that of the system. A compressed image has no size.
    """

    msgtype: str
    encoding: str = ''
    width: int = 0
    height: int = 0
    bytes: int = 0
    frame_id: str = ''
    arrivals: Sequence[int] = ()
    stamps: Sequence[int] = ()
    now: Sequence[int] = ()


@dataclass(frozen=True)
class Status:
    """The last that a perception node said on /diagnostics of itself or of one camera."""

    name: str
    level: int
    message: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The node that said it: ``/perception`` of ``/perception: /camera/image_raw``."""
        return self.name.partition(':')[0]

    @property
    def subject(self) -> str:
        """What it is about: ``/camera/image_raw`` of ``/perception: /camera/image_raw``."""
        return self.name.partition(': ')[2]


@dataclass(frozen=True)
class GraphView:
    """Nodes, camera topics and clocks."""

    looked_s: float = 0.0
    """How long the trial waited for nodes and topics to be discovered."""
    is_quick: bool = False
    """That was too short to say that something is not there: what was seen is there, no more."""
    nodes: Sequence[str] = ()
    image_topics: Sequence[str] = ()
    """Topics on which somebody publishes images that a node of ours did not make."""
    cameras: Mapping[str, Sequence[Publisher]] = field(default_factory=dict)
    """The publishers of each camera topic that was examined."""
    streams: Mapping[str, Stream] = field(default_factory=dict)
    perception: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The running perception nodes and the camera topics they listen to."""
    use_sim_time: Mapping[str, bool] = field(default_factory=dict)
    """Of the nodes that answered."""
    clock: Sequence[tuple[int, int]] = ()
    """When /clock came, on the monotonic clock, and what it said, in ns."""
    clock_publishers: int = 0
    diagnostics: Sequence[Status] = ()
    watched_s: float = 0.0
    """How long images and /clock were listened to."""
    unwatched: Sequence[str] = ()
    """Cameras that were not listened to, where there are many."""
    ended: Sequence[str] = ()
    """Cameras that nobody publishes any more."""

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> GraphView:
        """Read what ``dataclasses.asdict`` and JSON made of one."""
        values = {name: value for name, value in said.items() if name in cls.__annotations__}
        values['cameras'] = {
            topic: [Publisher(**publisher) for publisher in publishers]
            for topic, publishers in said.get('cameras', {}).items()
        }
        values['streams'] = {t: Stream(**stream) for t, stream in said.get('streams', {}).items()}
        values['diagnostics'] = [Status(**status) for status in said.get('diagnostics', ())]
        return cls(**values)


def is_result(topic: str) -> bool:
    """Whether a topic has the name of one of the images that a perception node gives."""
    return topic.endswith(tuple(f'/{name}' for name in RESULTS))
