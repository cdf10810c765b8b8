# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Records topics of a ROS graph into a rosbag2, where ``ros2 bag record`` is not.

Messages are stored as they come over the wire, with the time of the graph (``use_sim_time``
counts) at which they were received, and with the QoS that their publishers offer. A topic is
recorded from when it is there on; the bag gets its name when it is complete, at Ctrl-C or SIGTERM.
What comes before the first ``/clock``, as latched messages do, gets the time of that.
"""

from __future__ import annotations

import argparse
import functools
import signal
import time
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosReliability

from unidrive_perception.bags.reader import LATCHED, STORAGES, BagError, BagWriter
from unidrive_perception.command_line import Parser
from unidrive_perception.errors import UserError
from unidrive_perception.executable import init_ros, split_ros_args
from unidrive_perception.message_types import installed_typestore, message_class

DISCOVERY_S = 0.1
QUEUE = 100
"""Messages per topic that may wait while the disk is busy."""

MOST_EARLY = 256 << 20
"""Bytes of messages that are kept until there is a ``/clock``."""


def make_parser() -> Parser:
    """Make the parser of the command line."""
    parser = Parser(
        prog='bag_recorder', description='Record topics of a ROS graph into a rosbag2.'
    )
    parser.add_argument('output', help='bag to write; it must not exist')
    parser.add_argument(
        '--topics',
        nargs='+',
        default=[],
        metavar='TOPIC',
        help='full names, e.g. /camera/image_raw',
    )
    parser.add_argument(
        '--namespace',
        help='record all topics below this name, e.g. /perception (/: all there are)',
    )
    parser.add_argument('--storage', choices=STORAGES, default='mcap', help='default: mcap')
    parser.add_argument('--duration', type=float, metavar='S', help='stop after S seconds')
    return parser


class BagRecorder(Node):
    """Writes every message of the wanted topics to a bag."""

    def __init__(self, writer: BagWriter, topics: list[str], namespace: str | None) -> None:
        """Record ``topics`` (full names) and whatever is below ``namespace``."""
        super().__init__('bag_recorder')
        self._writer = writer
        self._topics = set(topics)
        self._below = None if namespace is None else namespace.rstrip('/') + '/'
        self._settled: set[str] = set()  # subscribed to, or found impossible
        self._early: list[tuple[str, str, bytes, int]] = []  # each with the time of this machine
        self._early_bytes = self._too_early = 0
        # Steady: in simulated time the first /clock may come late.
        self.create_timer(
            DISCOVERY_S, self._discover, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    @property
    def missing(self) -> list[str]:
        """The topics that were asked for and never seen."""
        return sorted(self._topics - self._settled)

    def _discover(self) -> None:
        """Subscribe to the wanted topics that have come up since the last time."""
        for topic, msgtypes in self.get_topic_names_and_types():
            wanted = topic in self._topics or (self._below and topic.startswith(self._below))
            if not wanted or topic in self._settled:
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._settled.add(topic)
                self._record(topic, msgtypes, [info.qos_profile for info in publishers])

    def _record(self, topic: str, msgtypes: list[str], offered: list[QoSProfile]) -> None:
        if len(msgtypes) > 1:
            self.get_logger().warning(f'{topic} is not recorded: it has types {msgtypes}')
            return
        (msgtype,) = msgtypes
        known = self._writer.typestore
        store = installed_typestore(msgtype) or (known if msgtype in known.fielddefs else None)
        kind = message_class(msgtype)
        if kind is None or store is None:
            self.get_logger().warning(
                f'{topic} is not recorded: {msgtype} or its definition is not installed here'
            )
            return
        self._writer.add_topic(topic, msgtype, [_recorded_qos(qos) for qos in offered], store)
        write = functools.partial(self._write, topic, msgtype)
        self.create_subscription(kind, topic, write, _matching(offered), raw=True)
        print(f'bag_recorder: recording {topic} ({msgtype})', flush=True)

    def _write(self, topic: str, msgtype: str, data: bytes) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        if stamp_ns:
            self._write_early(stamp_ns)
            self._writer.write_raw(topic, msgtype, data, stamp_ns)
        elif self._early_bytes + len(data) > MOST_EARLY:
            self._too_early += 1
        else:
            self._early_bytes += len(data)
            self._early.append((topic, msgtype, data, time.time_ns()))

    def _write_early(self, stamp_ns: int) -> None:
        for topic, msgtype, data, received_ns in self._early:
            self._writer.write_raw(topic, msgtype, data, stamp_ns or received_ns)
        self._early.clear()
        self._early_bytes = 0

    def end(self) -> None:
        """Write what still waits for a ``/clock``; without one, with the time of this machine."""
        stamp_ns = self.get_clock().now().nanoseconds
        if self._early and not stamp_ns:
            print('bag_recorder: warning: there was no /clock: the times are of this machine')
        if self._too_early:
            print(
                f'bag_recorder: warning: {self._too_early} messages are not in the bag: they came '
                f'before the first /clock, and were more than {MOST_EARLY >> 20} MB'
            )
        self._write_early(stamp_ns)


def _matching(offered: list[QoSProfile]) -> QoSProfile:
    """Return the strictest QoS that receives from all of these publishers."""
    reliable = all(q.reliability == QoSReliabilityPolicy.RELIABLE for q in offered)
    latched = all(q.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for q in offered)
    return QoSProfile(
        depth=QUEUE,
        reliability=getattr(QoSReliabilityPolicy, 'RELIABLE' if reliable else 'BEST_EFFORT'),
        durability=getattr(QoSDurabilityPolicy, 'TRANSIENT_LOCAL' if latched else 'VOLATILE'),
    )


def _recorded_qos(qos: QoSProfile) -> Qos:
    """Return the QoS of a publisher in the terms of a bag; its depth is not told over the wire."""
    reliable = qos.reliability == QoSReliabilityPolicy.RELIABLE
    latched = qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    return LATCHED._replace(
        depth=qos.depth or 1,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
    )


def run(argv: list[str]) -> int:
    """Record what the command line says; returns the exit code."""
    own_args, ros_args = split_ros_args(argv[1:])
    args = make_parser().parse_args(own_args)
    if not args.topics and args.namespace is None:
        raise UserError('nothing to record: give --topics or --namespace')
    # rclpy's handler shuts ROS down, which ends the recording; Python's own would also raise
    # KeyboardInterrupt anywhere.
    signal.signal(signal.SIGINT, lambda *_: None)
    init_ros(rclpy.init, ros_args)
    try:
        _record(args)
    finally:
        rclpy.try_shutdown()
    return 0


def _record(args: argparse.Namespace) -> None:
    writer = BagWriter(args.output, args.storage)
    recorder = None
    try:
        recorder = BagRecorder(writer, args.topics, args.namespace)
        _spin(recorder, args.duration)
    except Exception:
        if rclpy.ok():  # else Ctrl-C took ROS away, in the middle of anything
            raise
    finally:
        _finish(writer, recorder)
    _report(writer, recorder)


def _spin(recorder: BagRecorder, duration: float | None) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    end = time.monotonic() + duration if duration is not None else None
    while recorder.context.ok() and (end is None or time.monotonic() < end):
        # In steps: a signal just before the waiting begins would not end it.
        executor.spin_once(timeout_sec=0.1)


def _finish(writer: BagWriter, recorder: BagRecorder | None) -> None:
    """Finish the bag also after an error (a full disk): what was recorded is not thrown away."""
    try:
        if recorder:
            recorder.end()
        writer.close()
    except BagError as error:
        raise BagError(f'{error}; what was recorded is in {writer.unfinished}') from error


def _report(writer: BagWriter, recorder: Any) -> None:
    for topic, count in writer.counts.items():
        print(f'bag_recorder: {count} messages of {topic}')
    for topic in recorder.missing if recorder else ():
        print(f'bag_recorder: warning: nobody published {topic}')
    print(f'bag_recorder: {sum(writer.counts.values())} messages in {writer.path}', flush=True)
