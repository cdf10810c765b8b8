# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The perception node's side of one camera: its subscription, and warnings when nothing comes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from unidrive_perception.errors import UserError
from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb
from unidrive_perception.image_topics import (
    COMPRESSED,
    IMAGE,
    are_known,
    camera_info_topic,
    image_topic,
    incompatible_qos,
    no_image,
)
from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.qos_node import qos_overrides_of

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # its name before ROS 2 Jazzy
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

REPEAT_WARNING_S = 10.0
INFO_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
"""Hears every publisher of calibrations, whatever is asked of those of images."""


class CameraTopics:
    """Subscribes to the images of one camera while they are wanted, and watches that they come.

    ``received(message)`` is called in the executor's thread. ``info`` is the newest CameraInfo.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        transport: str,
        reliability: str,
        received: Callable[[Any], None],
        camera: str = '',
    ) -> None:
        """Name the topics, which may be relative and remapped; subscribes to nothing yet.

        ``transport`` and ``reliability`` are those of the node's parameters, ``camera`` its name
        where there are several. Raises
        :class:`UserError` for a topic or a QoS override that cannot be.
        """
        self._node, self._on_image, self._camera = node, received, camera
        try:
            resolved = node.resolve_topic_name(topic)
        except RuntimeError as error:
            reason = str(error).partition(', at ')[0]  # rcl names its source file behind that
            raise UserError(f'the image topic {topic!r} is no valid name: {reason}') from error
        self.topic, transport = image_topic(resolved, transport)
        self.health = CameraHealth(self.topic, time.monotonic())
        self.info: Any = None
        self._reliability = reliability
        self._images: Subscription | None = None
        self._infos: Subscription | None = None
        self._warned_at: float | None = None
        self._incompatible = False
        if transport == 'compressed':
            self._kind, self._msgtype = CompressedImage, COMPRESSED
            self.decode: Callable[[Any], np.ndarray] = compressed_to_rgb
        else:
            self._kind, self._msgtype = Image, IMAGE
            warn = functools.partial(node.get_logger().warning, once=True)
            bridge = find_cv_bridge().bridge
            self.decode = functools.partial(image_to_rgb, bridge=bridge, warn=warn)
        with qos_overrides_of(self.topic, 'subscription'):  # now, not with the first listener
            node.destroy_subscription(self._subscribe_to_images())

    def listen(self, to_images: bool, to_infos: bool) -> None:
        """Subscribe to what is wanted and is not subscribed to yet, and the other way round."""
        if to_images and not self._images:
            self._images = self._subscribe_to_images()
            self.health.resumed(time.monotonic())
            self._node.get_logger().info(
                f'waiting for {self._msgtype} on {self.topic} ({self._reliability})'
            )
        elif self._images and not to_images:
            self._node.destroy_subscription(self._images)
            self._images = self._warned_at = None
        if to_infos and not self._infos:
            self._infos = self._node.create_subscription(
                CameraInfo,
                camera_info_topic(self.topic),
                self._on_info,
                INFO_QOS,
                callback_group=MutuallyExclusiveCallbackGroup(),
            )
        elif self._infos and not to_infos:
            self._node.destroy_subscription(self._infos)
            self._infos = self.info = None  # an old one may be that of another resolution

    @property
    def is_listening(self) -> bool:
        """Whether images are subscribed to."""
        return self._images is not None

    def close(self) -> None:
        """End the subscriptions."""
        self.listen(False, False)

    def watch(self, now: float, limit: float) -> None:
        """Warn of publishers that we cannot hear, and of ``limit`` seconds without an image."""
        if not self.is_listening:
            return
        if self._incompatible and are_known(self._publishers()):
            self._incompatible = False
            self._warn(incompatible_qos(self.topic, self._reliability, self._publishers()))
        silence = self.health.silence(now)
        if silence <= limit:
            if self._warned_at is not None:
                self._node.get_logger().info(f'images arrive on {self.topic} again')
            self._warned_at = None
        elif self._warned_at is None or now - self._warned_at >= REPEAT_WARNING_S:
            self._warned_at = now
            self._warn(
                no_image(
                    self.topic,
                    self._msgtype,
                    self._reliability,
                    silence,
                    self._publishers(),
                    self._published_by_others(),
                    self._camera,
                    were_there=self.health.counters.received > 0,
                )
            )

    def _subscribe_to_images(self) -> Subscription:
        reliability = QoSReliabilityPolicy[self._reliability.upper()]
        qos = QoSProfile(depth=1, reliability=reliability)
        try:
            subscription = self._subscribe(qos, message_lost=self._on_lost)
        except UnsupportedEventTypeError:  # not every middleware tells of losses
            subscription = self._subscribe(qos)
        self._reliability = qos.reliability.name.lower()  # an override has changed it in place
        return subscription

    def _subscribe(self, qos: QoSProfile, **events: Callable) -> Subscription:
        return self._node.create_subscription(
            self._kind,
            self.topic,
            self._on_image,
            qos,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._on_incompatible_qos, **events
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            # the node's own would keep a reference to each subscription that there ever was
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def _on_info(self, message: CameraInfo) -> None:
        self.info = message

    def _on_incompatible_qos(self, event: Any) -> None:
        self._incompatible = True  # watch tells of it, once the graph has the publisher's name

    def _on_lost(self, event: Any) -> None:
        self.health.lost(event.total_count_change)

    def _publishers(self) -> list[Any]:
        return self._node.get_publishers_info_by_topic(self.topic)

    def _published_by_others(self) -> dict[str, list[str]]:
        """Topics that somebody publishes, except our own results, with their types."""
        ours = self._node.get_fully_qualified_name() + '/'
        return {
            name: types
            for name, types in self._node.get_topic_names_and_types()
            if self._node.count_publishers(name) and not name.startswith(ours)
        }

    def _warn(self, sentence: str) -> None:
        self._node.get_logger().warning(sentence)
