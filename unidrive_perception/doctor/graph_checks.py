# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The nodes and cameras of the live graph: QoS, types, rates and stamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import WARN, Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.graph_view import GraphView, Publisher
from unidrive_perception.doctor.stream_checks import judge_stream
from unidrive_perception.image_topics import COMPRESSED, IMAGE, describe_publishers
from unidrive_perception.transport import profile_command

STALE = 3
RESTART = 'ros2 run unidrive_perception perception_node --ros-args'


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    view, reason = examination.graph
    if view is None:
        yield skipped('graph', reason)
        return
    yield nodes(view.nodes)
    yield from simulated_time(view)
    if not view.cameras:
        yield skipped('cameras', 'no topic has images now; start the camera to have it examined')
    for topic, publishers in view.cameras.items():
        yield from camera(topic, publishers, view, examination.settings)
    yield from diagnostics(view.diagnostics)


def nodes(names: Sequence[str]) -> Finding:
    """How many there are, and whether each has a name of its own."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        found = f'{", ".join(twice)}: more than one node has this name, and their topics mix'
        return warn('nodes', found, f'{RESTART} -r __node:={twice[0].rsplit("/", 1)[-1]}_2')
    shown = ', '.join(names[:5]) + (', …' if len(names) > 5 else '')
    return ok('nodes', f'{len(names)}: {shown}' if names else 'none is running', count=len(names))


def simulated_time(view: GraphView) -> Iterator[Finding]:
    """Whether those who should follow /clock do, and whether /clock runs."""
    there = view.clock_publishers > 0
    for node, uses in view.use_sim_time.items():
        if uses != there:
            remedy = f'ros2 param set {node} use_sim_time {str(there).lower()}'
            if uses:
                yield fail('time', f'{node} uses simulated time, and nobody gives /clock', remedy)
            elif node in view.perception:
                found = f'/clock is published, and {node} goes by the clock of the system'
                yield warn('time', found, remedy)
    if not there:
        return
    if len(view.clock) < 2:
        if view.watched_s:
            found = f'/clock has a publisher and said nothing in {view.watched_s:g} s: paused?'
            yield warn(
                'time',
                found,
                'ros2 service call /rosbag2_player/resume rosbag2_interfaces/srv/Resume',
            )
        return
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(view.clock)]
    back = sum(simulated < 0 for _, simulated in steps)
    forward = [(real, simulated) for real, simulated in steps if simulated >= 0]
    factor = sum(s for _, s in forward) / max(1, sum(r for r, _ in forward))
    found = f'/clock runs at {factor:.2f} of real time'
    if back:
        found += f', and jumped back {back} time{"s" * (back > 1)}: a bag that plays in a loop'
    yield ok('time', found, factor=factor, jumps=back)


def camera(
    topic: str, publishers: Sequence[Publisher], view: GraphView, settings: Mapping[str, Any]
) -> Iterator[Finding]:
    """The publishers of one camera topic, and what came from them."""
    if not publishers:
        finding = nobody(topic, view.topics)
        yield finding if view.watched_s else replace(finding, level=WARN)  # it may just be slow
        return
    wrong = [p for p in publishers if p.topic_type not in (IMAGE, COMPRESSED)]
    refused = [p for p in publishers if p.refused]
    if wrong:
        found = f'{wrong[0].node} publishes {wrong[0].topic_type}, not {IMAGE}'
        yield fail(topic, found, f'ros2 topic info -v {topic}   # and remap one of the two')
    if refused:
        readers = ', '.join(sorted({reader for p in refused for reader in p.refused}))
        yield fail(
            topic,
            f'{describe_publishers(refused)}: {readers} asks for reliable, so no image arrives',
            f'{RESTART} -p image_reliability:=best_effort',
        )
    if len(publishers) > 1 and not wrong:
        found = (
            f'{len(publishers)} publishers, their images mix: {describe_publishers(publishers)}'
        )
        yield warn(topic, found, f'ros2 topic info -v {topic}   # and end or remap all but one')
    elif not wrong and not refused:
        yield ok(topic, f'{describe_publishers(publishers)}, {publishers[0].topic_type}')
    if topic in view.streams:
        yield from judge_stream(
            topic,
            publishers[0].node,
            view.streams[topic],
            max_age=settings.get('max_age', 0.0),
            simulated=bool(view.clock),
        )
    elif view.watched_s and len(wrong) < len(publishers):
        found = f'none came from {topic} in {view.watched_s:g} s: it sends none, or they get lost'
        yield fail('images', found, f'{profile_command()}   # in its shell, before it starts')


def nobody(topic: str, topics: Mapping[str, Sequence[str]]) -> Finding:
    """Nobody publishes where images are expected."""
    others = sorted(name for name, types in topics.items() if {IMAGE, COMPRESSED} & set(types))
    others = [name for name in others if name != topic]
    if others:
        found = f'nobody publishes it; topics with images: {", ".join(others[:6])}'
        return fail(topic, found, f'{RESTART} -r image:={others[0]}')
    return fail(
        topic,
        'nobody publishes it, nor images on any other topic: is the camera of this ROS_DOMAIN_ID?',
        'ros2 node list   # in the shell of the camera, to compare',
    )


def diagnostics(statuses: Sequence[tuple[str, int, str]]) -> Iterator[Finding]:
    """What our running nodes say of themselves on /diagnostics."""
    for name, level, message in statuses:
        if level == 0:
            yield ok('perception', f'{name}: {message}')
        else:
            word = 'stale' if level == STALE else 'error' if level == 2 else 'warning'
            remedy = f"ros2 topic echo --once /diagnostics   # all figures of '{name}'"
            yield warn('perception', f'{name} ({word}): {message}', remedy)
