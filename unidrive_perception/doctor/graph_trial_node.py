# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Trial: looks at the live ROS graph, and for some seconds at the images of its cameras."""

from __future__ import annotations

import dataclasses
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, QoSReliabilityPolicy, qos_check_compatible
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from unidrive_perception.doctor.graph_view import (
    GraphView,
    Publisher,
    Status,
    Stream,
    is_result,
)
from unidrive_perception.doctor.trials import run_trial, say
from unidrive_perception.image_topics import (
    COMPRESSED,
    IMAGE,
    SUFFIX,
    TRIAL_PREFIX,
    are_known,
    full_node_name,
)

DISCOVERY_S, SETTLED_S, QUICK_S, PATIENCE_S = 1.0, 0.5, 1.8, 3.8
"""How long discovery takes at least, how long nothing must change, and how long it may take.

Fast DDS repeats an announcement that was lost after 3 s."""
ANSWER_S = 0.4
WATCHED_AT_ONCE = 6
KINDS = {IMAGE: Image, COMPRESSED: CompressedImage}
LABELS = 'unidrive_msgs/msg/LabelTable'
"""Only perception nodes publish it."""
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class Watcher:
    """A node that looks and listens, and changes nothing."""

    def __init__(self, reliability: str, wanted: list[str]) -> None:
        """``reliability`` is what our node would ask for; ``wanted`` topics, none for any."""
        self._node = Node('_unidrive_doctor', start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._asked = QoSProfile(depth=1, reliability=QoSReliabilityPolicy[reliability.upper()])
        self._wanted = wanted
        self._frames: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        self._first: dict[str, Any] = {}
        self._clock: list[tuple[int, int]] = []
        self._statuses: dict[str, Status] = {}

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def watch(self, seconds: float) -> Iterator[GraphView]:
        """Look for discovery to complete, then listen to the cameras for ``seconds``.

        Gives a view after each of the two, for the case that the second takes too long.
        """
        self._node.create_subscription(Clock, '/clock', self._on_clock, BEST_EFFORT)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_status, 10)
        begin = time.monotonic()
        self._discover(PATIENCE_S if seconds else QUICK_S)
        looked = {'looked_s': time.monotonic() - begin, 'is_quick': not seconds}
        perception = self._perception_nodes()
        cameras = {
            topic: self._publishers(topic, perception) for topic in self._cameras(perception)
        }
        answers = self._ask_for_sim_time(
            {*perception, *(p.node for publishers in cameras.values() for p in publishers)}
        )
        yield self._view(perception, cameras, answers, **looked)
        if not cameras and not perception and not self._node.count_publishers('/clock'):
            seconds = 0.0  # there is nothing to listen to
        watched = dict(list(cameras.items())[:WATCHED_AT_ONCE])
        if seconds:
            self._listen(watched)
        self._spin(max(seconds, ANSWER_S))
        perception |= self._perception_nodes()  # one may have been seen only now
        for topic in self._cameras(perception):
            cameras.setdefault(topic, self._publishers(topic, perception))
        unwatched = [topic for topic in cameras if topic not in watched]
        heard = {'watched_s': seconds, 'unwatched': unwatched if seconds else []}
        yield self._view(perception, cameras, answers, **heard, **looked)

    def _view(
        self,
        perception: dict[str, list[str]],
        cameras: dict[str, list[Publisher]],
        answers: dict[str, Any],
        **known: Any,
    ) -> GraphView:
        """What is known by now."""
        names = self._node.get_node_names_and_namespaces()
        nodes = [f'{space.rstrip("/")}/{name}' for name, space in names if name[0] != '_']
        return GraphView(
            nodes=sorted(nodes),
            image_topics=self._image_topics(perception),
            cameras=cameras,
            ended=[topic for topic in cameras if not self._infos(topic)],
            streams={topic: self._stream(topic) for topic in self._first},
            perception=perception,
            use_sim_time={
                node: answer() for node, answer in answers.items() if answer() is not None
            },
            clock=self._clock,
            clock_publishers=self._node.count_publishers('/clock'),
            diagnostics=[s for s in self._statuses.values() if s.node in perception],
            **known,
        )

    # the graph --------------------------------------------------------------------------------

    def _discover(self, patience: float) -> None:
        """Wait until nothing new appears, and what is there is known.

        That is, a node of ours, the publishers of all camera topics, and what each node of ours
        says of itself. Where none is seen it may be one that is slow to appear.
        """
        begin = time.monotonic()
        seen, since = self._size(), begin
        while (now := time.monotonic()) - begin < patience:
            if self._size() != seen:
                seen, since = self._size(), now
            nodes = self._perception_nodes()
            cameras = self._cameras(nodes)
            complete = bool(nodes and cameras) and all(
                are_known(self._infos(topic)) for topic in cameras
            )
            complete &= nodes.keys() <= {status.node for status in self._statuses.values()}
            if complete and now - begin > DISCOVERY_S and now - since > SETTLED_S:
                break
            self._spin(0.05)

    def _size(self) -> tuple[int, int]:
        topics = self._node.get_topic_names_and_types()
        return len(self._node.get_node_names()), sum(len(self._infos(name)) for name, _ in topics)

    def _perception_nodes(self) -> dict[str, list[str]]:
        """Our nodes that are configured, and the camera topics that each listens to.

        A lazy one that is idle tells of them on /diagnostics only.
        """
        found = {}
        for topic, types in self._node.get_topic_names_and_types():
            infos = self._node.get_publishers_info_by_topic(topic) if LABELS in types else ()
            for info in infos:
                if not are_known([info]):
                    continue
                heard = self._node.get_subscriber_names_and_types_by_node(
                    info.node_name, info.node_namespace
                )
                name = full_node_name(info)
                topics = {t for t, kinds in heard if set(kinds) & set(KINDS)}
                told = (s.subject for s in self._statuses.values() if s.node == name)
                found[name] = sorted(topics | {s for s in told if s.startswith('/')})
        return found

    def _cameras(self, perception: dict[str, list[str]]) -> list[str]:
        """Topics that were asked for, else those our nodes listen to, else any with images."""
        heard = sorted({topic for topics in perception.values() for topic in topics})
        if self._wanted or heard:
            return self._wanted or heard
        seen = self._image_topics(perception)
        return [t for t in seen if not (t.endswith(SUFFIX) and t.removesuffix(SUFFIX) in seen)]

    def _image_topics(self, perception: dict[str, list[str]]) -> list[str]:
        """Topics that may be cameras: somebody else than we publishes images there."""
        return [
            topic
            for topic, types in self._node.get_topic_names_and_types()
            if set(types) & set(KINDS)
            and not is_result(topic)
            and not topic.startswith(TRIAL_PREFIX)
            and any(
                p.topic_type in KINDS and full_node_name(p) not in perception
                for p in self._infos(topic)
            )
        ]

    def _infos(self, topic: str) -> list[Any]:
        return self._node.get_publishers_info_by_topic(topic)

    def _publishers(self, topic: str, perception: dict[str, list[str]]) -> list[Publisher]:
        requests = {
            full_node_name(info): info.qos_profile
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if full_node_name(info) in perception
        } or {'our node': self._asked}
        return [
            Publisher(
                info.node_namespace,
                info.node_name,
                info.topic_type,
                info.qos_profile.reliability.name.lower(),
                [reader for reader, qos in requests.items() if _refuses(info.qos_profile, qos)],
            )
            for info in self._infos(topic)
        ]

    def _ask_for_sim_time(self, nodes: set[str]) -> dict[str, Any]:
        """For each node that has parameters: a function that gives the answer, None without."""
        answers = {}
        for node in nodes:
            client = self._node.create_client(GetParameters, f'{node}/get_parameters')
            if client.wait_for_service(ANSWER_S / max(1, len(nodes))):
                future = client.call_async(GetParameters.Request(names=['use_sim_time']))
                answers[node] = lambda future=future: _boolean(future)
        return answers

    # what is heard ----------------------------------------------------------------------------

    def _listen(self, cameras: dict[str, list[Publisher]]) -> None:
        for topic, publishers in cameras.items():
            kinds = [p.topic_type for p in publishers if p.topic_type in KINDS]
            if kinds:
                self._node.create_subscription(
                    KINDS[kinds[0]],
                    topic,
                    lambda data, topic=topic, kind=kinds[0]: self._on_image(topic, kind, data),
                    BEST_EFFORT,
                    raw=True,  # a large image costs little then; its stamp is at its beginning
                )

    def _on_image(self, topic: str, kind: str, data: bytes) -> None:
        arrival, now = time.monotonic_ns(), time.time_ns()
        sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
        now = self._clock[-1][1] if self._clock else now
        self._frames[topic].append((arrival, sec * 10**9 + nanosec, now))
        if topic not in self._first:
            self._first[topic] = (kind, deserialize_message(data, KINDS[kind]))

    def _on_clock(self, message: Clock) -> None:
        now = message.clock.sec * 10**9 + message.clock.nanosec
        self._clock.append((time.monotonic_ns(), now))

    def _on_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            told = Status(status.name, status.level[0], status.message, values)
            self._statuses[status.name] = told

    def _stream(self, topic: str) -> Stream:
        kind, image = self._first[topic]
        arrivals, stamps, now = zip(*self._frames[topic], strict=True)
        raw = kind == IMAGE
        return Stream(
            msgtype=kind,
            encoding=image.encoding if raw else image.format,
            width=image.width if raw else 0,
            height=image.height if raw else 0,
            bytes=len(image.data),
            frame_id=image.header.frame_id,
            arrivals=arrivals,
            stamps=stamps,
            now=now,
        )

    def _spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left, 0.05))


def _refuses(offered: QoSProfile, asked: QoSProfile) -> bool:
    return qos_check_compatible(offered, asked)[0] == QoSCompatibility.ERROR


def _boolean(future: Any) -> bool | None:
    if not future.done() or future.exception() or not future.result().values:
        return None
    return future.result().values[0].bool_value


def work(args: list[str]) -> None:
    """Say that we joined, then a GraphView; ``args`` are a reliability, seconds and topics."""
    reliability, seconds, *wanted = args
    rclpy.init(args=[])
    watcher = Watcher(reliability, wanted)
    say(joined=True)
    try:
        for view in watcher.watch(float(seconds)):
            say(**dataclasses.asdict(view))
    except ExternalShutdownException:  # we are to end
        pass
    finally:
        watcher.close()
        rclpy.try_shutdown()


if __name__ == '__main__':
    run_trial(work)
