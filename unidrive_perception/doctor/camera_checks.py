# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The publishers of one camera topic: whether they are there, fit, and send."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from unidrive_perception.doctor.findings import Finding, fail, ok, warn
from unidrive_perception.doctor.graph_view import GraphView, Publisher
from unidrive_perception.doctor.remedies import ros2, run_node
from unidrive_perception.doctor.stream_checks import judge_stream
from unidrive_perception.image_topics import COMPRESSED, IMAGE, SUFFIX, describe_publishers

SHOWN = 6


def camera(
    topic: str,
    publishers: Sequence[Publisher],
    view: GraphView,
    settings: Mapping[str, Any],
    loss_remedy: str,
) -> Iterator[Finding]:
    """The publishers of one camera topic, and what came from them.

    ``settings`` are the node's parameters; ``loss_remedy`` is what helps where images get lost.
    """
    if not publishers:
        yield nobody(topic, view, settings)
        return
    misfits = list(_misfits(topic, publishers, view, settings))
    yield from misfits
    if not misfits:
        yield ok(topic, f'{describe_publishers(publishers)}, {publishers[0].topic_type}')
    if topic in view.streams:
        listeners = (node for node, heard in view.perception.items() if topic in heard)
        yield from judge_stream(
            topic,
            publishers[0].node,
            view.streams[topic],
            max_age=settings.get('max_age', 0.0),
            simulated=bool(view.clock),
            listener=next(listeners, ''),
        )
    elif topic in view.unwatched:
        found = f'{topic} was not listened to, as there are so many cameras'
        yield warn('images', found, f'unidrive doctor --image-topic {topic}')
    elif view.watched_s and not misfits and topic in view.ended:
        yield warn(
            'images',
            f'{topic} went away while it was looked at, before an image came',
            f'unidrive doctor --image-topic {topic}   # while its publisher runs',
        )
    elif view.watched_s and any(_has_images(p) for p in publishers):
        found = f'none came from {topic} in {view.watched_s:g} s: it sends none, or they get lost'
        yield fail('images', found, loss_remedy)


def nobody(topic: str, view: GraphView, settings: Mapping[str, Any]) -> Finding:
    """Nobody publishes where images are expected, or at least nobody was seen to."""
    others = nearest(topic, view.image_topics)
    if view.is_quick:
        found = (
            f'not seen in {view.looked_s:.1f} s, which is no proof that nobody publishes it'
            f'{_listed("; seen with images", others)}'
        )
        return warn(topic, found, f'unidrive doctor --image-topic {topic}   # looks longer')
    found = f'nobody publishes it (looked for {view.looked_s:.1f} s)'
    if others:
        found += _listed('; topics with images', others)
        return fail(topic, found, _listen_to(others[0], view, settings))
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    found += f', nor images on any other topic: does the camera run, in ROS_DOMAIN_ID {domain}?'
    compare = 'in the shell of the camera, to compare'
    remedy = ros2(f'node list   # {compare}', f'echo $ROS_DOMAIN_ID   # {compare}')
    return fail(topic, found, remedy)


def nearest(topic: str, others: Iterable[str]) -> list[str]:
    """The other topics: first the same camera in the other transport, then by similar names."""

    def distance(other: str) -> tuple[bool, float, str]:
        is_twin = topic.removesuffix(SUFFIX) == other.removesuffix(SUFFIX)
        return not is_twin, -difflib.SequenceMatcher(None, topic, other).ratio(), other

    return sorted((other for other in others if other != topic), key=distance)


def _misfits(
    topic: str, publishers: Sequence[Publisher], view: GraphView, settings: Mapping[str, Any]
) -> Iterator[Finding]:
    """What keeps the images of these publishers from being seen."""
    others = nearest(topic, view.image_topics)
    instead = _listen_to(others[0], view, settings) if others else ''
    inspect = ros2(f'topic info -v {topic}   # and remap one of the two', 'remap one of the two')
    wrong = [p for p in publishers if not _has_images(p)]
    results = [p for p in publishers if p.node in view.perception]
    refused = [p for p in publishers if p.refused]
    if wrong:
        found = f'{wrong[0].node} publishes {wrong[0].topic_type}, not {IMAGE}'
        yield fail(topic, found + _listed('; topics with images', others), instead or inspect)
    if results:
        found = f'it is a result of {results[0].node}, no camera'
        yield fail(topic, found + _listed('; topics with images', others), instead or inspect)
    if refused:
        readers = ', '.join(sorted({reader for p in refused for reader in p.refused}))
        yield fail(
            topic,
            f'{describe_publishers(refused)}: {readers} asks for reliable, so no image arrives',
            run_node('-p image_reliability:=best_effort'),
        )
    if len(publishers) > 1 and not wrong:
        found = f'{len(publishers)} publishers: {describe_publishers(publishers)}; images mix'
        end = 'end or remap all but one'
        yield warn(topic, found, ros2(f'topic info -v {topic}   # and {end}', end))


def _listen_to(topic: str, view: GraphView, settings: Mapping[str, Any]) -> str:
    """How our node listens to another topic, whose name tells the transport, too."""
    has_names = any(settings.get('cameras', ()))
    if has_names or any(len(cameras) > 1 for cameras in view.perception.values()):
        return run_node(f'-p NAME.image_topic:={topic}') + '   # NAME: that of the camera'
    return run_node(f'-r image:={topic}')


def _has_images(publisher: Publisher) -> bool:
    return publisher.topic_type in (IMAGE, COMPRESSED)


def _listed(title: str, topics: Sequence[str]) -> str:
    """``; topics with images: /a, /b``; nothing where there are none."""
    more = ', …' if len(topics) > SHOWN else ''
    return f'{title}: {", ".join(topics[:SHOWN])}{more}' if topics else ''
