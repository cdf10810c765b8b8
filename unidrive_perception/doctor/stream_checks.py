# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The images that came on one topic: rate, size, and whether their headers are right."""

from __future__ import annotations

from collections.abc import Iterator

from unidrive_perception.doctor.findings import Finding, fail, ok, warn
from unidrive_perception.doctor.graph_view import Stream
from unidrive_perception.doctor.remedies import ros2, run_node, set_parameter
from unidrive_perception.durations import in_words
from unidrive_perception.image_topics import IMAGE

OLD_S, AHEAD_S = 1.0, 0.05


def judge_stream(
    topic: str,
    node: str,
    stream: Stream,
    max_age: float = 0.0,
    simulated: bool = False,
    listener: str = '',
) -> Iterator[Finding]:
    """A line on the images of ``node``, and one on their stamps.

    ``max_age`` is a parameter of the perception node, which is ``listener`` where one runs that
    listens to ``topic``; ``simulated`` says that the graph goes by /clock.
    """
    yield images(topic, node, stream)
    yield stamps(topic, node, stream, max_age, simulated, listener)
    if not stream.frame_id:
        yield warn(
            'frame_id',
            'it is empty, so nothing can be placed in the world',
            ros2(
                f'param set {node} frame_id camera_optical_frame   # or as it calls that',
                f'set the frame_id of {node}, as its driver calls that parameter',
            ),
        )


def rate_of(stream: Stream) -> float:
    """Images per second; 0 where fewer than two came."""
    if len(stream.arrivals) < 2:
        return 0.0
    return (len(stream.arrivals) - 1) * 1e9 / max(1, stream.arrivals[-1] - stream.arrivals[0])


def images(topic: str, node: str, stream: Stream) -> Finding:
    """Rate, size and encoding, and whether we can decode them."""
    rate = rate_of(stream)
    what = stream.encoding
    if stream.msgtype == IMAGE:
        what = f'{stream.width}×{stream.height} {stream.encoding}'
    found = f'{rate:.1f} Hz, {what}, {stream.bytes / 1e6:.2f} MB each'
    figures = {'topic': topic, 'rate': rate, 'bytes': stream.bytes, 'encoding': stream.encoding}
    figures |= {'width': stream.width, 'height': stream.height}
    if stream.msgtype == IMAGE and not _is_supported(stream.encoding):
        encoding = f'set the encoding of {node} to rgb8 or bgr8'
        remedy = ros2(f'param list {node}   # then {encoding}', encoding)
        return fail('images', f'{found}: this encoding is not supported', remedy, **figures)
    return ok('images', found, **figures)


def stamps(
    topic: str,
    node: str,
    stream: Stream,
    max_age: float = 0.0,
    simulated: bool = False,
    listener: str = '',
) -> Finding:
    """Whether the stamps are set, of our clock, and rising; the tools that need them fail else."""
    ages = sorted(
        (now - stamp) / 1e9 for now, stamp in zip(stream.now, stream.stamps, strict=True)
    )
    age = ages[len(ages) // 2]
    figures = {'age_s': age}
    if not any(stream.stamps):
        return warn(
            'stamps',
            'all are 0, so no age is known and no transform fits',
            ros2(
                f'param list {node}   # look for the source of its stamps',
                f'let {node} stamp its images with the time at which they are taken',
            ),
            age_s=None,
        )
    if max_age and age > max_age:
        found = f'{in_words(age)} old, and max_age {max_age:g} s makes the node skip such images'
        remedy = run_node('-p max_age:=0.0')
        if listener:
            remedy = set_parameter(listener, 'max_age', '0.0', ours=True)
        return fail('stamps', found, remedy, **figures)
    if simulated and age > OLD_S:
        found = f'{in_words(age)} behind /clock'
        return warn('stamps', found, set_parameter(node, 'use_sim_time', 'true'), **figures)
    if age > OLD_S:
        play = ros2('bag play', 'bag_player')
        return warn(
            'stamps',
            f'{in_words(age)} old: of a bag without --clock, or of a host whose clock is behind',
            f'{play} BAG --clock   # and use_sim_time:=true for us; or: sudo chronyc makestep',
            **figures,
        )
    if simulated and age < -OLD_S:  # /clock itself lags by the time between two of its messages
        found = f'{in_words(-age)} ahead of /clock: of another clock than the rest of the graph'
        return warn('stamps', found, set_parameter(node, 'use_sim_time', 'true'), **figures)
    if not simulated and age < -AHEAD_S:
        found = f"{in_words(-age)} in the future: the clock of the camera's host is ahead"
        return warn('stamps', found, 'sudo chronyc makestep   # on both hosts', **figures)
    steps = [b - a for a, b in zip(stream.stamps, stream.stamps[1:], strict=False)]
    if any(step <= 0 for step in steps):
        count = sum(step <= 0 for step in steps)
        found = f'{count} of {len(steps)} are not later than the one before'
        ask = 'two publishers, or a bag in a loop?'
        remedy = ros2(f'topic info -v {topic}   # {ask}', f'look at who publishes {topic}: {ask}')
        return warn('stamps', found, remedy, **figures)
    return ok('stamps', f'rising, {age * 1e3:.0f} ms old on arrival', **figures)


def _is_supported(encoding: str) -> bool:
    try:
        from unidrive_perception.image_codec import SUPPORTED_ENCODINGS
    except ImportError:  # a missing package is told of elsewhere
        return True
    return encoding in SUPPORTED_ENCODINGS
