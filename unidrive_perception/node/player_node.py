# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes a bag, a video or an image folder into a ROS graph, where ``ros2 bag play`` is not.

A bag is played with its own timing, bytes, stamps and QoS. Frames of a video or folder are stamped
with the time at which they are played, as a camera would; with ``--clock`` with the time within
the file (from 1 s on), since then that is the time of the graph. When a loop begins anew,
``/clock`` jumps back.
"""

from __future__ import annotations

import argparse
import math
import signal
import time

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosbags.convert.converter import is_same_wireformat
from rosbags.interfaces import Qos, QosDurability, QosReliability
from rosgraph_msgs.msg import Clock

from unidrive_perception.bags.reader import BagMessage, BagReader, BagTopic
from unidrive_perception.executable import init_ros, split_ros_args
from unidrive_perception.image_topics import COMPRESSED, IMAGE
from unidrive_perception.message_types import installed_typestore, message_class
from unidrive_perception.node.playback import (
    FileRecording,
    Schedule,
    make_parser,
    open_recording,
    parse_remaps,
)

LATE_NS = 20_000_000
SETTLING_S = 0.3
"""From when the player sees a subscriber until the subscriber surely sees the player."""
DELIVERY_S = 1.0
"""How long the player stays for reliable subscribers that may lack the last messages.

Fast DDS may need longer to know that they have them, so this is the usual time, not the worst."""


class BagPlayer(Node):
    """Publishes the messages of a recording when they are due."""

    def __init__(self, recording: BagReader | FileRecording, args: argparse.Namespace) -> None:
        """Offer the topics; ``args`` are those of :func:`~.playback.make_parser`."""
        super().__init__('bag_player', start_parameter_services=False)
        self._recording = recording
        self._args = args
        self._spinner = SingleThreadedExecutor()  # reports subscribers of an incompatible QoS
        self._spinner.add_node(self)
        self._outputs: dict[str, Publisher] = {}
        self._offer_topics()
        self._ticker = _PlayedClock(self, args.clock_rate) if args.clock else None
        self._played = self._late = self._worst_ns = 0

    def play(self) -> None:
        """Play to the end, or for ever with ``--loop``; raises when ROS is shut down."""
        self._wait_for_subscribers(self._args.wait_for_subscribers)
        begin = time.monotonic()
        try:
            self._play_once()
            while self._args.loop and self._played:
                self._play_once()
        finally:
            self._report(time.monotonic() - begin)
        self._wait_for_delivery()

    def _play_once(self) -> None:
        start_ns = self._recording.start_ns + round(self._args.start_offset * 1e9)
        schedule = Schedule.from_now(start_ns, self._args.rate)
        if self._ticker:
            self._ticker.restart(schedule)
        elif isinstance(self._recording, FileRecording):
            self._recording.stamp = schedule.wall_due_ns
        for message in self._recording.messages(self._outputs, start_ns):
            self._publish(message, schedule.due_ns(message.stamp_ns))
        self._wait_until(schedule.due_ns(self._recording.end_ns))

    def _publish(self, message: BagMessage, due_ns: int) -> None:
        data = bytes(message.data)
        self._wait_until(due_ns)
        self._outputs[message.topic].publish(data)
        late_ns = time.monotonic_ns() - due_ns
        self._played += 1
        self._late += late_ns > LATE_NS
        self._worst_ns = max(self._worst_ns, late_ns)

    def _wait_until(self, due_ns: int) -> None:
        """Wait for a moment of the steady clock; publishes /clock meanwhile."""
        while self._ticker and self._ticker.due_ns <= due_ns:
            self._sleep_until(self._ticker.due_ns)
            self._ticker.tick()
        self._sleep_until(due_ns)

    def _sleep_until(self, due_ns: int) -> None:
        """Sleep; raises ExternalShutdownException at Ctrl-C, also when there is no time to."""
        while self.context.ok():
            rest_s = (due_ns - time.monotonic_ns()) / 1e9
            if rest_s <= 0:
                return
            # In steps: a signal just before the waiting begins would not end it.
            self._spinner.spin_once(timeout_sec=min(rest_s, 0.1))
        raise ExternalShutdownException

    # before and after -------------------------------------------------------------------------

    def _offer_topics(self) -> None:
        """Create the publishers; a topic that cannot be played is told of once and left out."""
        remaps = parse_remaps(self._args.remap)
        for name, topic in self._recording.topics.items():
            if self._args.topics and name not in self._args.topics:
                continue
            kind = message_class(topic.msgtype)
            reason = self._why_not(topic, kind)
            if reason:
                self.get_logger().warning(f'{name} is not played: {reason}')
                continue
            self._outputs[name] = self.create_publisher(
                kind, remaps.get(name, name), publisher_qos(topic.qos)
            )

    def _why_not(self, topic: BagTopic, kind: type | None) -> str | None:
        """Return why a topic cannot be played, None where it can."""
        package = topic.msgtype.split('/')[0]
        if kind is None:
            return f'{topic.msgtype} is not installed here (package {package})'
        if not isinstance(self._recording, BagReader):
            return None
        if not self._recording.is_readable(topic.name):
            return f'{topic.msgtype} of a ROS 1 bag cannot be converted'
        recorded = self._recording.typestore(topic.msgtype)
        installed = installed_typestore(topic.msgtype)
        if (
            installed
            and topic.msgtype in recorded.fielddefs
            and not is_same_wireformat(recorded, installed, topic.msgtype, topic.msgtype)
        ):
            return f'it was recorded with another definition of {topic.msgtype} than {package} has'
        return None

    def _wait_for_subscribers(self, seconds: float) -> None:
        """Wait until any image topic (where there is none: any topic) has a subscriber.

        Not all of them: nobody may want the other camera, or its compressed images.
        """
        if not seconds or not self._outputs:
            return
        images = [
            n for n in self._outputs if self._recording.topics[n].msgtype in (IMAGE, COMPRESSED)
        ]
        awaited = images or sorted(self._outputs)
        end = time.monotonic_ns() + round(seconds * 1e9)
        while not any(self._outputs[n].get_subscription_count() for n in awaited):
            if time.monotonic_ns() >= end:
                names = ', '.join(self._outputs[n].topic_name for n in awaited)
                self.get_logger().warning(f'nobody subscribed to {names} within {seconds:g} s')
                break
            self._sleep_until(min(end, time.monotonic_ns() + 20_000_000))
        self._sleep_until(time.monotonic_ns() + round(SETTLING_S * 1e9))

    def _wait_for_delivery(self) -> None:
        end = time.monotonic() + DELIVERY_S
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))

    def _report(self, seconds: float) -> None:
        report = f'{self._played} messages played in {seconds:.2f} s'
        if self._late:
            report += f', {self._late} more than 20 ms late, at most {self._worst_ns / 1e6:.0f} ms'
        print(f'bag_player: {report}', flush=True)
        if self._recording.damage:
            print(f'bag_player: warning: {self._recording.damage}', flush=True)


class _PlayedClock:
    """Publishes the played time on /clock ``hz`` times a second of real time."""

    def __init__(self, node: Node, hz: float) -> None:
        self._publisher = node.create_publisher(Clock, '/clock', 10)
        self._period_ns = round(1e9 / hz)
        self.due_ns: float = math.inf

    def restart(self, schedule: Schedule) -> None:
        """Follow ``schedule`` from its beginning."""
        self._schedule = schedule
        self.due_ns = schedule.steady_ns

    def tick(self) -> None:
        """Publish the time that was due."""
        message = Clock()
        seconds, nanoseconds = divmod(self._schedule.recorded_at(self.due_ns), 1_000_000_000)
        message.clock.sec, message.clock.nanosec = seconds, nanoseconds
        self._publisher.publish(message)
        self.due_ns += self._period_ns


def publisher_qos(recorded: tuple[Qos, ...]) -> QoSProfile:
    """Return the QoS to publish with: what all recorded publishers offered, else reliable."""
    if not recorded:
        return QoSProfile(depth=10)
    reliable = all(qos.reliability != QosReliability.BEST_EFFORT for qos in recorded)
    latched = all(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in recorded)
    # One publisher stands for all, so their latched messages must have room in it; but no more
    # than those, for late subscribers get them all.
    depth = min(1000, sum(qos.depth for qos in recorded))
    return QoSProfile(
        depth=max(depth, 1 if latched else 10),
        reliability=getattr(QoSReliabilityPolicy, 'RELIABLE' if reliable else 'BEST_EFFORT'),
        durability=getattr(QoSDurabilityPolicy, 'TRANSIENT_LOCAL' if latched else 'VOLATILE'),
    )


def run(argv: list[str]) -> int:
    """Play what the command line says; returns the exit code."""
    own_args, ros_args = split_ros_args(argv[1:])
    args = make_parser().parse_args(own_args)
    recording = open_recording(args)
    # rclpy's handler shuts ROS down, which ends the waiting; Python's own would also raise
    # KeyboardInterrupt anywhere.
    signal.signal(signal.SIGINT, lambda *_: None)
    init_ros(rclpy.init, ros_args)
    try:
        BagPlayer(recording, args).play()
    except Exception:
        if rclpy.ok():  # else Ctrl-C took ROS away, in the middle of anything
            raise
    finally:
        rclpy.try_shutdown()
        recording.close()
    return 0
