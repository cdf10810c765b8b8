# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What was seen in a live ROS graph, without ROS: the trial fills it, the checks judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


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
        return f'{self.node_namespace.rstrip("/")}/{self.node_name}'

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
class GraphView:
    """Nodes, camera topics and clocks."""

    nodes: Sequence[str] = ()
    topics: Mapping[str, Sequence[str]] = field(default_factory=dict)
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
    diagnostics: Sequence[tuple[str, int, str]] = ()
    """The last name, level and message of the perception nodes' statuses."""
    watched_s: float = 0.0

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> GraphView:
        """Read what ``dataclasses.asdict`` and JSON made of one."""
        values = {name: value for name, value in said.items() if name in cls.__annotations__}
        values['cameras'] = {
            topic: [Publisher(**publisher) for publisher in publishers]
            for topic, publishers in said.get('cameras', {}).items()
        }
        values['streams'] = {t: Stream(**stream) for t, stream in said.get('streams', {}).items()}
        return cls(**values)
