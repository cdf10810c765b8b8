# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the perception node has only while it is active: cameras, pipeline and its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode

from unidrive_perception.errors import UserError
from unidrive_perception.message_factories import MessageFactory
from unidrive_perception.node.callbacks_node import never_ends_the_node
from unidrive_perception.node.camera_node import CameraTopics
from unidrive_perception.node.diagnostics import Report
from unidrive_perception.node.frames import FrameWorker
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameter_node import NodeParameters
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.publishers_node import ResultPublishers
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor

PATIENCE_S = 10.0
"""For the images in work when the node is deactivated: a model that takes longer hangs."""

PATIENCE_AT_THE_END_S = 1.2
"""The same once the process is to end, which must not take 2 s."""


class Activity:
    """Takes the images of all cameras through one model, from activation to deactivation."""

    def __init__(
        self,
        node: LifecycleNode,
        settings: NodeParameters,
        results: ResultPublishers,
        make: MessageFactory,
        model: Predictor,
    ) -> None:
        """Begin to work on what is received; subscribes to nothing yet, see :meth:`listen`.

        Raises :class:`UserError` for a topic or a QoS override that cannot be.
        """
        self._node, self._settings, self._results = node, settings, results
        self._cameras: dict[str, CameraTopics] = {}
        self._streams: dict[str, CameraStream] = {}
        for name in settings.values['cameras']:
            self._add_camera(name)
        self._pipeline = Pipeline(
            model,
            self._streams,
            make,
            settings=lambda: settings.values,
            now_ns=lambda: node.get_clock().now().nanoseconds,
            log=node.get_logger(),
            announce=self._announce,
        )
        self._worker = FrameWorker(
            self._pipeline.frames,
            self._pipeline.work,
            self._pipeline.failed,
            self._pipeline.limits,
        )

    def listen(self, is_enabled: bool) -> None:
        """Subscribe to the cameras whose results somebody listens to, and only to those."""
        lazy = self._settings.values['lazy']
        for name, camera in self._cameras.items():
            wanted = self._streams[name].outputs.wanted()
            camera.listen(
                to_images=is_enabled and bool(wanted or not lazy),
                to_infos=is_enabled and 'camera_info' in wanted,
            )

    @property
    def topics(self) -> dict[str, bool]:
        """The image topics, and whether each is subscribed to."""
        return {camera.topic: camera.is_listening for camera in self._cameras.values()}

    def change_model(self, model: Predictor) -> None:
        """Let the next images go through another model."""
        self._pipeline.change_model(model)

    def announce(self) -> None:
        """Publish the label tables of the model in use (again)."""
        self._pipeline.announce_again()

    def busy_s(self) -> float:
        """Seconds that the images in work have taken so far; 0 where there are none."""
        return self._pipeline.busy_s(time.monotonic())

    def reports(self, idle: Report, hung: Report | None) -> Mapping[str, Report]:
        """Judge each camera, by topic; to be called once a second.

        ``idle`` holds for those that nobody listens to, ``hung`` for all, where there is one.
        """
        now, limit = time.monotonic(), self._settings.values['no_image_warning_s']
        reports = {}
        for camera in self._cameras.values():
            camera.watch(now, limit)
            instead = hung or (None if camera.is_listening else idle)
            reports[camera.topic] = camera.health.report(now, limit, instead)
        return reports

    def close(self, ended: threading.Event) -> bool:
        """Unsubscribe and end the work; whether the images in work were finished.

        Those that do not end in time, which is less once ``ended`` is set, are left to their
        thread.
        """
        for camera in self._cameras.values():
            self._close(camera)
        for name in self._worker.close():
            self._streams[name].health.dropped()
        is_done = self._wait(ended)
        for stream in self._streams.values():
            self.get_logger().info(f'{stream.topic}: {stream.health.counters}')
        return is_done

    def _wait(self, ended: threading.Event) -> bool:
        begin = time.monotonic()
        while not self._worker.wait(0.05):
            patience_s = PATIENCE_AT_THE_END_S if ended.is_set() else PATIENCE_S
            if time.monotonic() - begin > patience_s:
                return False
        return True

    @never_ends_the_node
    def _close(self, camera: CameraTopics) -> None:
        camera.close()

    def _add_camera(self, name: str) -> None:
        topics = CameraTopics(
            self._node,
            self._settings.of_camera(name, 'image_topic'),
            self._settings.of_camera(name, 'image_transport'),
            self._settings.values['image_reliability'],
            self._receiver(name),
            name,
        )
        if topics.topic in (camera.topic for camera in self._cameras.values()):
            raise UserError(
                f'two cameras listen to {topics.topic}: give {name!r} another one with the '
                f'parameter {name}.image_topic'
            )
        self._cameras[name] = topics
        self._streams[name] = CameraStream(
            name,
            topics.topic,
            topics.decode,
            Outputs(self._results.of_camera[name]),
            topics.health,
            info=lambda: topics.info,
        )

    def _receiver(self, camera: str) -> Callable[[Any], None]:
        return lambda message: self._receive(camera, message)

    @never_ends_the_node
    def _receive(self, camera: str, message: Any) -> None:
        self._pipeline.receive(camera, message)

    def _announce(self, model: Predictor) -> None:
        """Tell what the class ids of the results mean from now on; any thread."""
        self._results.publish_labels(model, self._settings.values['score_threshold'])

    def get_logger(self) -> Any:
        """The node's logger."""
        return self._node.get_logger()
