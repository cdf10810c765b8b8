# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether images of the size in use arrive: configuration, buffers, and a measured round trip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from unidrive_perception import transport
from unidrive_perception.doctor.examination import LARGER_BUFFER, Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.image_load import ImageLoad
from unidrive_perception.doctor.remedies import ros2, run_node
from unidrive_perception.doctor.round_trip import NotMeasured, Plan, Trip, measure
from unidrive_perception.transport import dds_environment, profile_command

DEFAULT_SIZE = (1280, 720)
RECEIVE_BUFFER = Path('/proc/sys/net/core/rmem_max')
ENOUGH_BUFFER = 8 << 20
SMALL_PROFILE_NEEDS = 64 << 20
MODEL_S = 4.0
"""What the measurements here leave for the model."""
FEW = 0.05
LATE_MS = 100.0
"""Three images at 30 Hz: so late they are where the transport had to send them again."""
MOST_SENT, LEAST_SENT, KEPT_BYTES = 20, 5, 128 << 20
"""Images of a measurement; both sides keep all of them, so large ones are fewer."""


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    if examination.no_ros or examination.uses_fastdds:
        yield profile(os.environ)
        yield shared_memory(transport.free_shared_memory(), _total_shared_memory())
    yield receive_buffer(_receive_buffer(), bool(examination.no_ros) or examination.uses_fastdds)
    if examination.no_ros:
        yield skipped('round trip', examination.without_ros)
    elif examination.args.quick:
        yield skipped('round trip', 'not measured with --quick')
    else:
        for load in loads(examination):
            yield from round_trip(examination, load)


def profile(environment: Mapping[str, str]) -> Finding:
    """Which configuration of Fast DDS the programs that this shell starts get."""
    chosen = next((n for n in transport.USER_CHOICES if environment.get(n)), '')
    value = environment.get(chosen, '')
    if chosen.endswith('PROFILES_FILE') and not Path(value).is_file():
        return fail('Fast DDS', f'{chosen}={value}: no such file', profile_command(environment))
    ours = transport.profile_path()
    if chosen and ours and Path(value).name in ('fastdds.xml', 'fastdds_small.xml'):
        return ok('Fast DDS', f'profile {value}, for all that this shell starts')
    if chosen:
        return ok('Fast DDS', f'your own: {chosen}={value}')
    if ours is None:
        return warn('Fast DDS', 'its defaults, which lose large images', compressed())
    return ok('Fast DDS', f'{ours.name} in our programs; its defaults in others of this shell')


def shared_memory(free: int, total: int) -> Finding:
    """Room in /dev/shm, where Fast DDS keeps the images of each process that publishes them."""
    found = f'{_size(free)} of {_size(total)} free in {transport.SHARED_MEMORY}'
    figures = {'free': free, 'total': total}
    if free < SMALL_PROFILE_NEEDS // 5:
        remedy = 'sudo mount -o remount,size=1g /dev/shm   # in Docker: docker run --shm-size=1g'
        return fail('shared memory', f'{found}: less than one process needs', remedy, **figures)
    if free < transport.ROOM_FOR_LARGE:
        remedy = 'docker run --shm-size=1g …   # else: sudo mount -o remount,size=1g /dev/shm'
        found += ': our programs take 12 MB each, too little for images above 1920×1080'
        return warn('shared memory', found, remedy, **figures)
    return ok('shared memory', found, **figures)


def receive_buffer(size: int | None, shared: bool) -> Finding:
    """The largest receive buffer of UDP, which carries images where shared memory does not."""
    if size is None:
        return skipped('UDP buffers', f'{RECEIVE_BUFFER} cannot be read')
    found = f'net.core.rmem_max is {_size(size)}'
    if size >= ENOUGH_BUFFER:
        return ok('UDP buffers', found, rmem_max=size)
    if shared:
        found += ', little for cameras of other hosts; on this host shared memory carries images'
        return ok('UDP buffers', found, rmem_max=size)
    return warn('UDP buffers', f'{found}, less than some images', LARGER_BUFFER, rmem_max=size)


def loads(examination: Examination) -> list[ImageLoad]:
    """The images to try: those of live cameras, and those that were asked for."""
    args = examination.args
    view, _ = examination.graph
    streams = view.streams.values() if view else ()
    live = {
        s.bytes: ImageLoad(
            f'{s.width}×{s.height} {s.encoding}' if s.width else 'compressed', s.bytes, True
        )
        for s in streams
    }
    asked = ImageLoad.of(*(args.size or DEFAULT_SIZE), args.encoding)
    if not args.size:
        asked = asked._replace(name=f'{asked.name} (no --size given)')
    largest = sorted(live.values(), key=lambda load: load.size)[-1:]
    return ([asked] if args.size or not live else []) + largest


def round_trip(examination: Examination, load: ImageLoad) -> Iterator[Finding]:
    """From a process started as a camera of this shell would be, to one started as our node."""
    seconds = min(7.0, examination.trials.left - MODEL_S)
    if seconds < 2.5:
        yield skipped('round trip', f'{load.name}: no time is left for it')
        return
    node = examination.node_environment
    try:
        trips = measure(examination.trials, load.size, plan(load), os.environ, node, seconds)
    except NotMeasured as error:
        multicast = 'multicast receive   # and, beside it: ros2 multicast send'
        otherwise = 'unidrive doctor   # again; if it stays so, a firewall may hold UDP back'
        yield warn('round trip', f'{load.name}: {error}', ros2(multicast, otherwise))
        return
    remedy = ''
    if any(trip.lost or trip.median > LATE_MS for trip in trips.values()):
        remedy = _remedy(examination, load)
    way = 'a camera of this shell to our node'
    if examination.uses_fastdds:
        way = (
            f'a camera of this shell (Fast DDS: {configuration(os.environ)}) '
            f'to our node ({configuration(node)})'
        )
    for reliability, trip in trips.items():
        yield judge_trip(load, reliability, trip, remedy, way)


def plan(load: ImageLoad) -> Plan:
    """Both sides keep all images, so that none is lost merely because one of them is held up."""
    count = min(MOST_SENT, max(LEAST_SENT, KEPT_BYTES // max(1, load.size)))
    return Plan(count=count, depth=count)


def configuration(environment: Mapping[str, str]) -> str:
    """How Fast DDS is configured in a process with this environment, in a few words."""
    chosen = next((n for n in transport.USER_CHOICES if environment.get(n)), '')
    value = environment.get(chosen, '')
    return Path(value).name if chosen.endswith('PROFILES_FILE') else value or 'its defaults'


def judge_trip(load: ImageLoad, reliability: str, trip: Trip, remedy: str, way: str) -> Finding:
    """How many arrived, how fast, and on which ``way``: from and to processes started how.

    Where images of this size come from a live camera, a loss is a warning: it is that of another
    camera, one that would be started in this shell.
    """
    found = f'{reliability}: {len(trip.latencies)} of {trip.sent} arrived'
    if trip.latencies:
        found += f', {trip.median:.1f} ms (p99 {trip.p99:.1f}), {trip.rate:.1f} Hz'
    found += f'; {load.name}, {load.size / 1e6:.2f} MB, as from {way}'
    figures = {'bytes': load.size, 'reliability': reliability, 'sent': trip.sent}
    figures |= {'received': len(trip.latencies), 'rate': trip.rate}
    if trip.latencies:
        figures |= {'median_ms': trip.median, 'p99_ms': trip.p99}
    if trip.lost > FEW * trip.sent and not load.live:
        return fail('round trip', found, remedy, **figures)
    if trip.lost and load.live:
        found += '; those of the live camera do arrive'
    if trip.lost or trip.median > LATE_MS:
        return warn('round trip', found, remedy, **figures)
    return ok('round trip', found, **figures)


def _remedy(examination: Examination, load: ImageLoad) -> str:
    """What helps against loss; our profile is tried before it is praised."""
    added = dds_environment()
    if not examination.uses_fastdds:
        return f'{LARGER_BUFFER}   # or compressed images: {compressed()}'
    seconds = min(5.0, examination.trials.left - MODEL_S)
    if not added or seconds < 2.5:  # they have a profile of their own, or we no time
        return compressed() if not added else f'{profile_command()}   # in the shell of the camera'
    node = examination.node_environment
    try:
        trips = measure(examination.trials, load.size, plan(load), node, node, seconds)
    except NotMeasured as error:
        return f'{profile_command()}   # in the shell of the camera; not tried: {error}'
    lost = sum(trip.lost for trip in trips.values())
    sent = sum(trip.sent for trip in trips.values())
    if lost > FEW * sent:
        return compressed()
    tried = f'tried here: {sent - lost} of {sent} arrive'
    return f'{profile_command()}   # in the shell of the camera; {tried}'


def compressed() -> str:
    """The node, listening to compressed images, which are small."""
    return run_node('-p image_transport:=compressed')


def _total_shared_memory() -> int:
    try:
        space = os.statvfs(transport.SHARED_MEMORY)
    except OSError:
        return 0
    return space.f_blocks * space.f_frsize


def _receive_buffer() -> int | None:
    try:
        return int(RECEIVE_BUFFER.read_text())
    except (OSError, ValueError):
        return None


def _size(count: int) -> str:
    return f'{count / 2**30:.1f} GB' if count >= 2**30 else f'{count / 2**20:.1f} MB'
