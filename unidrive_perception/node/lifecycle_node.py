# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The managed ROS 2 node: its transitions, and what connects ROS with :mod:`~.pipeline`.

The executor's thread receives images and keeps the newest of each camera; one worker thread
decodes, predicts and publishes. Nothing a camera sends ends the node.
"""

from __future__ import annotations

import functools
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from unidrive_perception.errors import UserError
from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.messages import RosFactory
from unidrive_perception.node.camera_node import CameraTopics
from unidrive_perception.node.diagnostics import OK, STALE, WARN, Report, resident_mb
from unidrive_perception.node.frames import FrameWorker
from unidrive_perception.node.memory import give_back_memory
from unidrive_perception.node.model_loader import ModelLoading, check_bundle, load_model
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameter_node import NodeParameters
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.publishers_node import ResultPublishers
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor

NODE_NAME = 'perception'
LOOK_AROUND_S = 0.1
"""How often the node looks who listens, and whether a new model is ready."""


def _transition(on_exception: TransitionCallbackReturn) -> Callable:
    """Make a lifecycle callback tell of its exceptions, which rclpy swallows without a word."""

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def run(self: PerceptionNode, state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return callback(self, state)
            except UserError as error:
                self.get_logger().error(f'{callback.__name__} failed: {error}')
            except Exception:
                self.get_logger().error(f'{callback.__name__} failed\n{traceback.format_exc()}')
            if on_exception == TransitionCallbackReturn.FAILURE:
                self._undo(callback.__name__, state)
            return on_exception

        return run

    return decorate


class PerceptionNode(LifecycleNode):
    """Subscribes to cameras, publishes what the model sees, and says how it is doing."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; ``options`` are those of ``rclpy.node.Node``.

        Raises :class:`UserError` when a parameter is wrong or ``unidrive_msgs`` is missing.
        """
        self._make = RosFactory()  # first: without our messages nothing below makes sense
        super().__init__(NODE_NAME, **options)
        self._model: Predictor | None = None
        self._loading: ModelLoading | None = None
        self._replaced: weakref.ref[Predictor] | None = None
        self._results: ResultPublishers | None = None
        self._pipeline: Pipeline | None = None
        self._worker: FrameWorker | None = None
        self._cameras: dict[str, CameraTopics] = {}
        self._streams: dict[str, CameraStream] = {}
        self._is_enabled = True
        self._settings = NodeParameters(self, self._on_changing, self._look_around)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # steady: a paused simulation must not stop the warnings
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._tell_diagnostics, clock=steady)
        self.create_timer(LOOK_AROUND_S, self._look_around, clock=steady)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings.values['autostart']

    def start(self) -> bool:
        """Configure and activate; false when one of them failed, which has been logged."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def close(self) -> None:
        """End the threads and the node, in whatever state it is."""
        self._stop_receiving()
        if self._loading:
            self._loading.wait()
        self.destroy_node()

    # transitions ----------------------------------------------------------------------------

    @_transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, run it until it is warm, and offer the result topics."""
        settings = self._settings.values
        bundle = check_bundle(settings['model_path'])
        loaded = load_model(bundle, settings['device'], settings['threads'])
        self._model = loaded.predictor
        # tries it in a process of its own, once: better now than at activation
        self.get_logger().info(find_cv_bridge().sentence)
        self._results = ResultPublishers(
            self, self._make, settings['cameras'], settings['result_reliability']
        )
        self.get_logger().info(loaded.sentence)
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work on images and, when that went well, publish the label tables."""
        for name in self._settings.values['cameras']:
            self._add_camera(name)
        self._pipeline = Pipeline(
            self._model,
            self._streams,
            self._make,
            settings=lambda: self._settings.values,
            now_ns=lambda: self.get_clock().now().nanoseconds,
            log=self.get_logger(),
            is_alive=self.context.ok,
        )
        pipeline = self._pipeline
        self._worker = FrameWorker(
            pipeline.frames, pipeline.work, pipeline.failed, pipeline.limits
        )
        super().on_activate(state)  # from now on the result topics publish
        self._results.publish_labels(self._model)
        self._look_around()
        self._tell_what_it_waits_for()
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the images in work; the model stays loaded."""
        self._stop_receiving()
        return super().on_deactivate(state)

    @_transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and withdraw the result topics."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self._stop_receiving()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition broke: back to unconfigured with nothing held."""
        self._stop_receiving()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _undo(self, transition: str, state: LifecycleState) -> None:
        """Take back what a transition that failed half-way has built."""
        self._stop_receiving()
        super().on_deactivate(state)
        if transition == 'on_configure':
            self._release()

    def _stop_receiving(self) -> None:
        for camera in self._cameras.values():
            camera.close()
        given_up = self._worker.stop() if self._worker else []
        for camera in given_up:
            self._streams[camera].health.dropped()
        for stream in self._streams.values():
            self.get_logger().info(f'{stream.topic}: {stream.health.counters}')
        self._worker = self._pipeline = None
        self._cameras, self._streams = {}, {}

    def _release(self) -> None:
        if self._loading:
            self._loading.wait()
        if self._results:
            self._results.destroy()
        self._model = self._results = self._loading = None
        give_back_memory()

    # cameras --------------------------------------------------------------------------------

    def _add_camera(self, name: str) -> None:
        topics = CameraTopics(
            self,
            self._settings.of_camera(name, 'image_topic'),
            self._settings.of_camera(name, 'image_transport'),
            self._settings.values['image_reliability'],
            lambda message: self._pipeline.receive(name, message),
        )
        if topics.topic in (camera.topic for camera in self._cameras.values()):
            raise UserError(f'two cameras listen to {topics.topic}: {name!r} is the second')
        self._cameras[name] = topics
        self._streams[name] = CameraStream(
            name,
            topics.topic,
            topics.decode,
            Outputs(self._results.of_camera[name]),
            topics.health,
            info=lambda: topics.info,
        )

    def _look_around(self) -> None:
        """Listen to the cameras whose results somebody listens to; take over a model."""
        lazy = self._settings.values['lazy']
        for name, camera in self._cameras.items():
            wanted = self._streams[name].outputs.wanted()
            camera.listen(
                to_images=self._is_enabled and bool(wanted or not lazy),
                to_infos=self._is_enabled and 'camera_info' in wanted,
            )
        if self._loading and self._loading.is_done:
            self._take_over_model()
        if self._replaced and not self._replaced():  # the last batch with it is done
            self._replaced = None
            give_back_memory()

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

    # model ----------------------------------------------------------------------------------

    def _on_changing(self, changes: dict[str, Any]) -> None:
        """Refuse a model that cannot be; else load it aside."""
        path = changes.get('model_path')
        if path is None or self._model is None:
            return  # without a model, the next configuration takes it
        if self._loading:
            raise UserError(f'{self._loading.path} is being loaded: try again when it is done')
        bundle = check_bundle(path)
        if bundle.folder != self._model.bundle.folder or bundle.manifest != (
            self._model.bundle.manifest
        ):
            values = self._settings.values
            self._loading = ModelLoading(bundle, values['device'], values['threads'])

    def _take_over_model(self) -> None:
        """Work on with the model that was loaded aside, or stay with the old one."""
        loading, self._loading = self._loading, None
        try:
            loaded = loading.result()
        except Exception as error:
            old = str(self._model.bundle.folder)
            self.get_logger().error(f'{error}; {old} stays in use')
            self.set_parameters([Parameter('model_path', value=old)])
            return
        self._replaced, self._model = weakref.ref(self._model), loaded.predictor
        if self._pipeline:
            self._pipeline.model = self._model
            self._results.publish_labels(self._model)
        self.get_logger().info(loaded.sentence)

    # diagnostics ------------------------------------------------------------------------------

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
        statuses = [self._status('node', self._own_report())]
        for camera in self._cameras.values():
            camera.watch(now, limit)
            idle = '' if camera.is_listening else 'idle: nobody listens to its results'
            report = camera.health.report(now, limit, idle)
            statuses.append(self._status(camera.topic, report))
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _own_report(self) -> Report:
        level = OK if self._pipeline and self._is_enabled else STALE
        values = {'memory [MB]': f'{resident_mb():.0f}'}
        if self._model:
            manifest = self._model.bundle.manifest
            values['model'] = manifest.name
            values['model sha256'] = manifest.program.sha256
            values['device'] = self._model.device
        if self._loading:
            return Report(WARN, f'{self._loading.path} is being loaded', values)
        return Report(level, self._state(), values)

    def _status(self, subject: str, report: Report) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([report.level]),
            name=f'{self.get_fully_qualified_name()}: {subject}',
            message=report.message,
            hardware_id=subject,
            values=[KeyValue(key=key, value=value) for key, value in report.values.items()],
        )
