# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The nodes and cameras of the live graph: QoS, types, rates and stamps.

A quick look sees what discovery brings in two seconds. Of what it did not see it says just that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from unidrive_perception.doctor.camera_checks import camera
from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.graph_view import GraphView, Status
from unidrive_perception.doctor.remedies import AGAIN, ros2, run_node, set_parameter, source
from unidrive_perception.doctor.trials import Told

LEVELS = {2: 'error', 3: 'stale'}


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    view, reason = examination.graph
    if view is None:
        told = examination.graph_told
        yield not_looked_at(told, examination.args.quick) if told else skipped('graph', reason)
        for topic in examination.args.image_topic:
            again = f'unidrive doctor --image-topic {topic}   # once the graph can be seen'
            yield warn(topic, 'not looked at', again)
        return
    yield nodes(view)
    yield from simulated_time(view)
    if not view.cameras:
        yield no_cameras(view)
    for topic, publishers in view.cameras.items():
        yield from camera(topic, publishers, view, examination.settings, examination.loss_remedy)
    if any(view.cameras.values()) and view.is_quick:
        yield skipped('images', 'not watched with --quick')
    elif any(view.cameras.values()) and not view.watched_s:
        yield warn('images', f'not watched: the trial {examination.graph_told.problem}', AGAIN)
    yield from diagnostics(view)


def not_looked_at(told: Told, quick: bool) -> Finding:
    """Why nothing was seen: there was too little time, or ROS does not get as far."""
    if told.late and (quick or 'joined' in told.values):
        return warn('graph', f'not looked at: its trial {told.problem}', AGAIN)
    if told.late:
        return fail('graph', f'a node cannot join it: its trial {told.problem}', AGAIN)
    return fail('graph', f'a node cannot join it: {told.problem or "it said nothing"}', source())


def nodes(view: GraphView) -> Finding:
    """How many there are, and whether each has a name of its own."""
    names = view.nodes
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        found = f'{", ".join(twice)}: more than one node has this name; parameters and logs mix'
        other = f'-r __node:={twice[0].rsplit("/", 1)[-1]}_2'
        is_ours = twice[0] in view.perception
        remedy = run_node(other) if is_ours else f'start one of them with --ros-args {other}'
        return warn('nodes', found, remedy)
    if not names:
        return ok('nodes', f'none seen in {view.looked_s:.1f} s', count=0)
    shown = ', '.join(names[:5]) + (', …' if len(names) > 5 else '')
    return ok('nodes', f'{len(names)}: {shown}', count=len(names))


def no_cameras(view: GraphView) -> Finding:
    """Nobody gives images, and no topic was asked for."""
    if view.is_quick:
        found = f'no images seen in {view.looked_s:.1f} s, which is no proof that there are none'
        return skipped('cameras', found)
    return skipped('cameras', 'no topic has images now; start the camera to have it examined')


def simulated_time(view: GraphView) -> Iterator[Finding]:
    """Whether those who should follow /clock do, and whether /clock runs."""
    there = view.clock_publishers > 0
    for node, uses in view.use_sim_time.items():
        if uses == there:
            continue
        ours = node in view.perception
        remedy = set_parameter(node, 'use_sim_time', str(there).lower(), ours)
        if uses and view.is_quick:
            found = f'{node} uses simulated time, and no /clock was seen in {view.looked_s:.1f} s'
            yield warn('time', found, 'unidrive doctor   # looks longer')
        elif uses:
            yield fail('time', f'{node} uses simulated time, and nobody gives /clock', remedy)
        elif ours:
            found = f'/clock is published, and {node} goes by the clock of the system'
            yield warn('time', found, remedy)
    if there:
        yield from pace_of_clock(view)


def pace_of_clock(view: GraphView) -> Iterator[Finding]:
    """How fast /clock runs; nothing where it was not listened to."""
    if len(view.clock) < 2:
        if view.watched_s:
            found = f'/clock has a publisher and said nothing in {view.watched_s:g} s: paused?'
            resume = 'service call /rosbag2_player/resume rosbag2_interfaces/srv/Resume'
            yield warn('time', found, ros2(resume, 'let the player of the bag go on'))
        return
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(view.clock)]
    back = sum(simulated < 0 for _, simulated in steps)
    forward = [(real, simulated) for real, simulated in steps if simulated >= 0]
    factor = sum(s for _, s in forward) / max(1, sum(r for r, _ in forward))
    found = f'/clock runs at {factor:.2f} of real time'
    if back:
        found += f', and jumped back {back} time{"s" * (back > 1)}: a bag that plays in a loop'
    yield ok('time', found, factor=factor, jumps=back)


def diagnostics(view: GraphView) -> Iterator[Finding]:
    """What our running nodes say of themselves on /diagnostics."""
    for status in view.diagnostics:
        if status.level == 0:
            yield ok('perception', f'{status.name}: {status.message}')
        else:
            yield trouble(status)
    for node in view.perception.keys() - {status.node for status in view.diagnostics}:
        heard = view.looked_s + view.watched_s
        yield skipped('perception', f'{node} said nothing on /diagnostics in {heard:.1f} s')


def trouble(status: Status) -> Finding:
    """What a node complains of; where it drops images, its figures tell which stage is slow."""
    found = f'{status.name} ({LEVELS.get(status.level, "warning")}): {status.message}'
    echo = f"topic echo --once /diagnostics   # all figures of '{status.name}'"
    remedy = ros2(echo, f'read the log of {status.node}, which says it too')
    stage = ''
    if 'dropped' in status.message:
        stage = _slowest_stage(status)
        if stage not in found:
            found += f'; slowest stage: {stage}'
        remedy = _even_rate(status, stage) or remedy
    return warn('perception', found, remedy, slowest_stage=stage)


def _slowest_stage(status: Status) -> str:
    """``inference 51 ms``, or '' where the node does not know."""
    stage = status.values.get('slowest stage', '').strip()
    return '' if stage == 'unknown' else stage


def _even_rate(status: Status, stage: str) -> str:
    """A rate that the node keeps up with, somewhat below what it gives now; '' without figures."""
    try:
        rate = 0.8 * float(status.values['output rate [Hz]'])
    except (KeyError, ValueError):
        return ''
    why = 'passes images over evenly'
    if stage.startswith('inference'):
        why += '; a GPU or a smaller bundle gives more'
    elif stage:
        why += f'; {stage.split()[0]} is what to make faster'
    value = f'{rate:.1f}'
    return f'{set_parameter(status.node, "max_rate", value, ours=True)}   # {why}' if rate else ''
