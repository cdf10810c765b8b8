# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The managed ROS 2 node: its transitions, and what connects ROS with :mod:`~.pipeline`.

The executor's thread receives images and keeps the newest of each camera; one worker thread
decodes, predicts and publishes. Nothing a camera sends ends the node.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from unidrive_perception.errors import UserError
from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.message_factories import RosFactory
from unidrive_perception.node.callbacks_node import never_ends_the_node, transition
from unidrive_perception.node.camera_node import CameraTopics
from unidrive_perception.node.diagnostics import OK, STALE, Report
from unidrive_perception.node.frames import WORKER_THREAD, FrameWorker
from unidrive_perception.node.model_slot import LOADING_THREAD, ModelSlot
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameter_node import NodeParameters
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.publishers_node import ResultPublishers
from unidrive_perception.node.status_node import StatusPublisher, own_report
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor

NODE_NAME = 'perception'
LOOK_AROUND_S = 0.1
"""How often the node looks who listens, and whether a new model is ready."""

PATIENCE_S = 20.0
"""For the images in work when the node is deactivated: a model that takes longer has hung."""

PATIENCE_AT_THE_END_S = 1.2
"""The same when the process ends, which must not take 2 s."""


class PerceptionNode(LifecycleNode):
    """Subscribes to cameras, publishes what the model sees, and says how it is doing."""

    def __init__(self, ended: threading.Event | None = None, **options: Any) -> None:
        """Declare the parameters; ``options`` are those of ``rclpy.node.Node``.

        Once ``ended`` is set a model is no longer waited for. Raises :class:`UserError` when a
        parameter is wrong or ``unidrive_msgs`` is missing.
        """
        self._make = RosFactory()  # first: without our messages nothing below makes sense
        super().__init__(NODE_NAME, **options)
        self._ended = ended or threading.Event()
        self._slot = ModelSlot()
        self._results: ResultPublishers | None = None
        self._pipeline: Pipeline | None = None
        self._worker: FrameWorker | None = None
        self._cameras: dict[str, CameraTopics] = {}
        self._streams: dict[str, CameraStream] = {}
        self._is_enabled = True
        self._is_going_back = False  # to the path of the model that stays in use
        self._settings = NodeParameters(self, self._on_changing, self._on_changed)
        self._status = StatusPublisher(self)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # steady: a paused simulation must not stop the warnings
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._each_second, clock=steady)
        self.create_timer(LOOK_AROUND_S, self._look_around, clock=steady)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.values['autostart']

    def start(self) -> bool:
        """Configure and activate; false when one of them failed, which has been logged."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    @property
    def has_threads(self) -> bool:
        """Whether a model is being loaded or used by a thread, which nobody can stop."""
        names = (LOADING_THREAD, WORKER_THREAD)
        return any(thread.name in names for thread in threading.enumerate())

    def close(self) -> None:
        """End the work and the node, in whatever state it is.

        An image in work that does not end is left to its thread, see :attr:`has_threads`.
        """
        self._stop_receiving(PATIENCE_AT_THE_END_S)
        self.destroy_node()

    # transitions ----------------------------------------------------------------------------

    @transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, run it until it is warm, and offer the result topics."""
        settings = self._settings.values
        sentence = self._slot.load(
            settings['model_path'], settings['device'], settings['threads'], self._ended
        )
        # tries it in a process of its own, once: better now than at activation
        self.get_logger().info(find_cv_bridge().sentence)
        self._results = ResultPublishers(
            self, self._make, settings['cameras'], settings['result_reliability']
        )
        self.get_logger().info(sentence)
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work on images and, when that went well, publish the label tables."""
        for name in self._settings.values['cameras']:
            self._add_camera(name)
        self._pipeline = pipeline = Pipeline(
            self._slot.model,
            self._streams,
            self._make,
            settings=lambda: self._settings.values,
            now_ns=lambda: self.get_clock().now().nanoseconds,
            log=self.get_logger(),
            announce=self._announce,
        )
        self._worker = FrameWorker(
            pipeline.frames, pipeline.work, pipeline.failed, pipeline.limits
        )
        super().on_activate(state)  # from now on the result topics publish
        self._announce(self._slot.model)
        self._listen()
        self._tell_what_it_waits_for()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the images in work; the model stays loaded."""
        if not self._stop_receiving(PATIENCE_S):
            raise UserError(f'the images in work did not end in {PATIENCE_S:.0f} s')
        return super().on_deactivate(state)

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and withdraw the result topics."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self._stop_receiving(PATIENCE_S)
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition broke: back to unconfigured with nothing held."""
        self._stop_receiving(PATIENCE_S)
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _undo(self, transition: str, state: LifecycleState) -> None:
        """Take back what a transition that failed half-way has built."""
        self._stop_receiving(PATIENCE_S)
        super().on_deactivate(state)
        if transition == 'on_configure':
            self._release()

    def _stop_receiving(self, patience_s: float) -> bool:
        """Unsubscribe and end the work; whether the images in work were finished."""
        for camera in self._cameras.values():
            self._close(camera)
        given_up = self._worker.close() if self._worker else []
        for camera in given_up:
            self._streams[camera].health.dropped()
        is_done = self._worker is None or self._worker.wait(patience_s)
        for stream in self._streams.values():
            self.get_logger().info(f'{stream.topic}: {stream.health.counters}')
        self._worker = self._pipeline = None
        self._cameras, self._streams = {}, {}
        return is_done

    @never_ends_the_node
    def _close(self, camera: CameraTopics) -> None:
        camera.close()

    def _release(self) -> None:
        if self._results:
            self._results.destroy()
        self._results = None
        self._slot.release()

    # cameras --------------------------------------------------------------------------------

    def _add_camera(self, name: str) -> None:
        topics = CameraTopics(
            self,
            self._settings.of_camera(name, 'image_topic'),
            self._settings.of_camera(name, 'image_transport'),
            self._settings.values['image_reliability'],
            lambda message: self._receive(name, message),
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

    @never_ends_the_node
    def _receive(self, camera: str, message: Any) -> None:
        self._pipeline.receive(camera, message)

    @never_ends_the_node
    def _each_second(self) -> None:
        self._tell_diagnostics()

    @never_ends_the_node
    def _look_around(self) -> None:
        self._listen()
        self._swap_model()

    def _listen(self) -> None:
        """Subscribe to the cameras whose results somebody listens to, and only to those."""
        lazy = self._settings.values['lazy']
        for name, camera in self._cameras.items():
            wanted = self._streams[name].outputs.wanted()
            camera.listen(
                to_images=self._is_enabled and bool(wanted or not lazy),
                to_infos=self._is_enabled and 'camera_info' in wanted,
            )

    def _tell_what_it_waits_for(self) -> None:
        idle = [camera.topic for camera in self._cameras.values() if not camera.is_listening]
        if idle:
            self.get_logger().info(
                f'ready for {", ".join(idle)}; idle until somebody subscribes to the results '
                '(lazy:=false works on every image)'
            )

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        """Pause or go on, with the model loaded; for those who have no lifecycle manager."""
        if request.data != self._is_enabled:
            self.get_logger().info('enabled' if request.data else 'disabled by ~/enable')
        self._is_enabled = request.data
        self._look_around()
        response.success, response.message = True, self._state()
        return response

    # model and diagnostics --------------------------------------------------------------------

    def _on_changing(self, changes: dict[str, Any]) -> None:
        """Refuse a model that cannot be; else begin to load it aside.

        Without a model, the next configuration loads it.
        """
        path = changes.get('model_path')
        if path is None or self._is_going_back:
            return
        values = self._settings.values
        self._slot.begin_swap(path, values['device'], values['threads'])

    @never_ends_the_node
    def _on_changed(self, changes: dict[str, Any]) -> None:
        if 'score_threshold' in changes and self._pipeline:
            self._announce(self._slot.model)  # the tables name it
        self._listen()

    def _swap_model(self) -> None:
        """Work on with the model that was loaded aside, or stay with the old one."""
        change = self._slot.finish_swap()
        if change is None:
            return
        if change.succeeded:
            self.get_logger().info(change.sentence)
            if self._pipeline:
                self._pipeline.change_model(self._slot.model)
        else:
            self.get_logger().error(change.sentence)
            self._is_going_back = True
            self.set_parameters([Parameter('model_path', value=self._slot.path)])
            self._is_going_back = False

    def _announce(self, model: Predictor) -> None:
        """Tell what the class ids of the results mean from now on; any thread."""
        threshold = self._settings.values['score_threshold']
        self._results.publish_labels(model, threshold)

    def _state(self) -> str:
        """In one sentence, what the node is doing."""
        if not self._is_enabled:
            return 'the node is disabled by ~/enable'
        if not self._pipeline:
            return 'the node is not active'
        listening = [camera.topic for camera in self._cameras.values() if camera.is_listening]
        return f'listening to {", ".join(listening)}' if listening else 'idle: nobody listens'

    def _tell_diagnostics(self) -> None:
        now, limit = time.monotonic(), self._settings.values['no_image_warning_s']
        idle = Report(OK, 'idle: nobody listens to its results', {})
        if not self._is_enabled:
            idle = Report(STALE, self._state(), {})
        reports = {}
        for camera in self._cameras.values():
            camera.watch(now, limit)
            instead = None if camera.is_listening else idle
            reports[camera.topic] = camera.health.report(now, limit, instead)
        is_working = bool(self._pipeline) and self._is_enabled
        busy_s = self._pipeline.busy_s(now) if self._pipeline else 0.0
        self._status.publish(own_report(self._slot, is_working, self._state(), busy_s), reports)
