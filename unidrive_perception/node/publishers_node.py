# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The result publishers of the perception node."""

from __future__ import annotations

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from unidrive_perception.bundle import TASKS
from unidrive_perception.message_factories import RosFactory
from unidrive_perception.messages import labels_message
from unidrive_perception.node.frame_messages import TOPIC_TYPES
from unidrive_perception.node.parameters import USE_BUNDLE_THRESHOLD
from unidrive_perception.node.qos_node import qos_overrides_of
from unidrive_perception.predictor import Predictor
from unidrive_perception.vision_messages import (
    DETECTIONS,
    LABEL_INFO,
    can_make,
    label_info_message,
)

RESULT_DEPTH = 5
"""Images that a recorder may hiccup for; more would only be stale."""


class ResultPublishers:
    """The publishers of all cameras, and the latched tables of the model's classes."""

    def __init__(
        self, node: LifecycleNode, make: RosFactory, cameras: list[str], reliability: str
    ) -> None:
        """Create them; ``reliability`` is that of the node's parameter result_reliability.

        Raises :class:`UserError` for a QoS override that cannot be.
        """
        self._node, self._make = node, make
        self._all: list[LifecyclePublisher] = []
        # the node's own would keep a reference to each publisher that there ever was
        self._group = MutuallyExclusiveCallbackGroup()
        try:
            self._create_all(cameras, reliability)
        except Exception:
            self.destroy()
            raise

    def _create_all(self, cameras: list[str], reliability: str) -> None:
        self._reliability = QoSReliabilityPolicy[reliability.upper()]
        left_out = () if can_make(self._make, DETECTIONS) else ('detections_2d',)
        self._topics = {name: kind for name, kind in TOPIC_TYPES.items() if name not in left_out}
        self.of_camera = {camera: self._create_for(camera) for camera in cameras}
        self._labels = self._latched('labels', 'unidrive_msgs/msg/LabelTable')
        self._label_infos = {
            task: self._latched(f'{task}_label_info', 'vision_msgs/msg/LabelInfo')
            for task in (TASKS if can_make(self._make, LABEL_INFO) else ())
        }

    def publish_labels(self, model: Predictor, score_threshold: float) -> None:
        """Tell what the class ids of ``model`` mean; ``score_threshold`` is the parameter."""
        manifest = model.bundle.manifest
        header = Header(stamp=self._node.get_clock().now().to_msg())
        facts = manifest.name, manifest.program.sha256, model.labels
        self._labels.publish(labels_message(self._make, header, *facts))
        for task, publisher in self._label_infos.items():
            if task in model.labels:
                threshold = manifest.tasks[task].score_threshold or 0.0
                if task == 'detection' and score_threshold != USE_BUNDLE_THRESHOLD:
                    threshold = score_threshold
                table = model.labels[task]
                publisher.publish(label_info_message(self._make, header, table, threshold))

    def destroy(self) -> None:
        """Withdraw the topics."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)

    def _create_for(self, camera: str) -> dict[str, LifecyclePublisher]:
        prefix = f'~/{camera}/' if camera else '~/'
        types = {**self._topics, 'timing': 'unidrive_msgs/msg/FrameTiming'}
        return {
            topic: self._create(
                prefix + topic, kind, QoSProfile(depth=RESULT_DEPTH, reliability=self._reliability)
            )
            for topic, kind in types.items()
        }

    def _latched(self, topic: str, kind: str) -> LifecyclePublisher:
        # a new profile for each: rclpy writes overrides into it
        qos = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        return self._create(f'~/{topic}', kind, qos)

    def _create(self, topic: str, kind: str, qos: QoSProfile) -> LifecyclePublisher:
        with qos_overrides_of(self._node.resolve_topic_name(topic), 'publisher'):
            publisher = self._node.create_lifecycle_publisher(
                type(self._make(kind)),
                topic,
                qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                callback_group=self._group,
            )
        self._all.append(publisher)
        return publisher
