# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of camera topics, and sentences that tell a user why no image arrives on one.

Publishers are ``rclpy`` TopicEndpointInfo objects, or anything with their fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
SUFFIX = '/compressed'
TRIAL_PREFIX = '/unidrive_doctor_'
"""Of the topics on which ``unidrive doctor`` measures: no camera."""

START = 'start the node with the parameter'  # nothing sets these two while it runs


def image_topic(name: str, transport: str) -> tuple[str, str]:
    """The topic and transport that a resolved image topic means.

    By the convention of image_transport, compressed images are on ``<name>/compressed``; a name
    that already ends so is taken as it is, and means compressed images.
    """
    if name.endswith(SUFFIX):
        return name, 'compressed'
    return (name + SUFFIX, transport) if transport == 'compressed' else (name, transport)


def camera_info_topic(topic: str) -> str:
    """The topic of the calibration: by ROS's convention beside that of the image."""
    return topic.removesuffix(SUFFIX).rpartition('/')[0] + '/camera_info'


def full_node_name(endpoint: Any) -> str:
    """That of the node a publisher or subscription belongs to."""
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'


def are_known(publishers: Sequence[Any]) -> bool:
    """Whether there are publishers and the graph has the node names of all of them.

    Discovery brings a publisher first and its node later; ROS calls it _NODE_NAME_UNKNOWN_ then.
    """
    return bool(publishers) and not any('UNKNOWN' in p.node_name for p in publishers)


def describe_publishers(publishers: Iterable[Any]) -> str:
    """``/camera (reliable), /other (best_effort)``, or ``none``."""
    names = [f'{full_node_name(p)} ({_reliability(p)})' for p in publishers]
    return ', '.join(names) or 'none'


def incompatible_qos(topic: str, reliability: str, publishers: Sequence[Any]) -> str:
    """What to do about publishers whose QoS our subscription cannot take."""
    sentence = (
        f'publishers on {topic} offer a QoS that this node does not take, so their images do not '
        f'arrive: {describe_publishers(publishers)}, while this node asks for {reliability}'
    )
    if reliability == 'reliable':
        sentence += f'; {START} image_reliability:=best_effort'
    return sentence


def no_image(
    topic: str,
    msgtype: str,
    reliability: str,
    seconds: float,
    publishers: Sequence[Any],
    topics: Mapping[str, Sequence[str]],
    camera: str = '',
    were_there: bool = False,
) -> str:
    """Why nothing may have arrived on ``topic``; ``topics`` are all names with their types.

    ``camera`` is its name where the node has several: then each has parameters of its own;
    ``were_there`` that images had arrived before.
    """
    sentence = (
        f'no image received for {seconds:.0f} s on {topic} ({msgtype}, {reliability}); '
        f'publishers: {describe_publishers(publishers)}'
    )
    if publishers and were_there:
        return f'{sentence}. Images came until then: has it stopped, or ended without a word?'
    return f'{sentence}. {_remedy(topic, msgtype, reliability, publishers, topics, camera)}'


def _remedy(topic, msgtype, reliability, publishers, topics, camera) -> str:
    types = {p.topic_type for p in publishers}
    if types and msgtype not in types:
        return f'They publish {", ".join(sorted(types))}; {_use_the_other(msgtype, camera)}'
    if not types:
        return _other_topics(topic, msgtype, topics, camera)
    if reliability == 'reliable' and 'best_effort' in {_reliability(p) for p in publishers}:
        return f'{START.capitalize()} image_reliability:=best_effort'
    return (
        'They publish nothing, or large images are lost on the way: start both sides with the '
        'Fast DDS profile in config/ (README, "Large images")'
    )


def _other_topics(
    topic: str, msgtype: str, topics: Mapping[str, Sequence[str]], camera: str
) -> str:
    twin = topic.removesuffix(SUFFIX) if topic.endswith(SUFFIX) else topic + SUFFIX
    if twin in topics:
        return f'{twin} exists; {_use_the_other(msgtype, camera)}'
    cameras = sorted(
        name
        for name, types in topics.items()
        if {IMAGE, COMPRESSED} & set(types) and not name.startswith(TRIAL_PREFIX)
    )
    if cameras:
        found = ', '.join(cameras[:8])
        if camera:
            topic = cameras[0] if len(cameras) == 1 else '… one of them'
            return f'Topics with images: {found}; {START} {camera}.image_topic:={topic}'
        return f'Topics with images: {found}; remap image to one of them (launch: image_topic:=…)'
    return 'No topic carries images: is the camera or player running, in this ROS_DOMAIN_ID?'


def _use_the_other(msgtype: str, camera: str) -> str:
    other = 'compressed' if msgtype == IMAGE else 'raw'
    return f'{START} {f"{camera}." if camera else ""}image_transport:={other}'


def _reliability(publisher: Any) -> str:
    return publisher.qos_profile.reliability.name.lower()
