# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The managed ROS 2 node around :class:`~.predictor.Predictor`.

The executor's thread receives images and keeps the newest of each camera; one worker thread
decodes, predicts and publishes. Nothing a camera sends ends the node.
"""

from __future__ import annotations

import functools
import math
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from unidrive_perception import parameters
from unidrive_perception.bundle import Bundle, default_bundle
from unidrive_perception.camera_node import Camera
from unidrive_perception.diagnostics import STALE, Report
from unidrive_perception.errors import UserError
from unidrive_perception.executable import init_ros
from unidrive_perception.frames import FrameWorker, LatestFrames
from unidrive_perception.image_bridge import find_cv_bridge
from unidrive_perception.image_codec import ImageDecodeError
from unidrive_perception.messages import RosFactory, labels_message, stamp_of, timing_message
from unidrive_perception.outputs import RESULT_TYPES, Outputs
from unidrive_perception.predictor import Predictor

NODE_NAME = 'perception'

# Reliable suits both kinds of subscribers (RViz and recorders ask for it), and costs nothing where
# the subscriber is best effort. Five frames let a recorder hiccup; more would only be stale.
RESULT_QOS = QoSProfile(depth=5)
LATCHED_QOS = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


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
        self._settings = self._declare_parameters()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._predictor: Predictor | None = None
        self._publishers_by_name: dict[str, Any] = {}
        self._outputs: Outputs | None = None
        self._cameras: dict[str, Camera] = {}
        self._worker: FrameWorker | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # steady: a paused simulation must not stop the warnings
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self._on_timer, clock=steady)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._settings['autostart']

    def start(self) -> bool:
        """Configure and activate; false when one of them failed, which has been logged."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def close(self) -> None:
        """End the worker and the node, in whatever state it is."""
        self._stop_receiving()
        self.destroy_node()

    # transitions ----------------------------------------------------------------------------

    @_transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, run it once, and offer the result topics."""
        settings = self._settings
        bundle = Bundle.load(settings['model_path'] or default_bundle())
        predictor = Predictor(bundle, settings['device'], settings['threads'])
        self._apply(predictor, settings)
        start = time.perf_counter()
        predictor.warm_up()
        seconds = time.perf_counter() - start
        self._predictor = predictor
        # tries it in a process of its own, once: better now than at activation
        self.get_logger().info(find_cv_bridge().sentence)
        self._create_publishers()
        spec = bundle.manifest.input
        self.get_logger().info(
            f'model {bundle.manifest.name} from {bundle.folder}: {", ".join(predictor.labels)}; '
            f'input {spec.width}×{spec.height}; on {predictor.device}, warm after {seconds:.2f} s'
        )
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.FAILURE)
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and, when that went well, publish the label tables."""
        self._outputs = Outputs(
            {n: p for n, p in self._publishers_by_name.items() if n not in ('labels', 'timing')},
            self._make,
            self._predictor.labels,
        )
        self._frames = LatestFrames()
        self._worker = FrameWorker(self._frames, self._work, self._on_work_failed)
        for name in self._settings['image_topics']:
            camera = Camera(
                self,
                name,
                self._settings['image_transport'],
                self._settings['image_reliability'],
                self._on_image,
            )
            if camera.topic in self._cameras:
                camera.close()
                raise UserError(
                    f'parameter image_topics names {camera.topic} twice: {name!r} is it again'
                )
            self._cameras[camera.topic] = camera
        super().on_activate(state)  # from now on the result topics publish
        self._publish_labels()
        return TransitionCallbackReturn.SUCCESS

    @_transition(on_exception=TransitionCallbackReturn.ERROR)
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the image in work; the model stays loaded."""
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
        if self._worker:
            self._worker.stop()
        self._worker = None
        self._cameras = {}

    def _release(self) -> None:
        for publisher in self._publishers_by_name.values():
            self.destroy_lifecycle_publisher(publisher)
        self._publishers_by_name = {}
        self._predictor = self._outputs = None

    # images ---------------------------------------------------------------------------------

    def _on_image(self, camera: Camera, message: Any) -> None:
        """Executor's thread: keep the newest image."""
        dropped = self._frames.put(camera.topic, message)
        if camera.health.received(time.monotonic(), dropped) == 1:
            self.get_logger().info(
                f'first image on {camera.topic}: frame_id {message.header.frame_id!r}'
            )

    def _work(self, topic: str, message: Any) -> None:
        """Worker's thread: one image from message to published results."""
        camera = self._cameras[topic]
        start = time.perf_counter()
        try:
            rgb = camera.decode(message)
        except ImageDecodeError as error:
            camera.health.bad(str(error))
            self.get_logger().error(f'{topic}: {error}', throttle_duration_sec=1.0)
            return
        decoded = time.perf_counter()
        prediction = self._predictor.predict(rgb)
        predicted = time.perf_counter()
        self._outputs.publish(message.header, rgb, prediction)
        published = time.perf_counter()
        age_ms = self._age_ms(message.header)
        counters = camera.health.processed(age_ms, (published - start) * 1e3)
        if self._publishers_by_name['timing'].get_subscription_count():
            timing = timing_message(
                self._make,
                message.header,
                prediction.timing,
                decode_ms=(decoded - start) * 1e3,
                track_ms=0.0,
                publish_ms=(published - predicted) * 1e3,
                age_ms=age_ms,
                batch_size=1,
                counters=counters,
            )
            self._publishers_by_name['timing'].publish(timing)

    def _on_work_failed(self, topic: str, error: Exception) -> None:
        """Worker's thread: an image that our own code failed on."""
        if not self.context.ok():
            return  # Ctrl-C took the publishers away
        self._cameras[topic].health.failed(f'{type(error).__name__}: {error}')
        trace = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
        self.get_logger().error(f'{topic}: image failed\n{trace}', throttle_duration_sec=1.0)

    def _age_ms(self, header: Any) -> float:
        """Milliseconds from the stamp to now on the ROS clock; NaN while either is not set."""
        now = self.get_clock().now().nanoseconds
        then = stamp_of(header)
        return (now - then) / 1e6 if now and then else math.nan

    # publishers and diagnostics ---------------------------------------------------------------

    def _create_publishers(self) -> None:
        own = {**RESULT_TYPES, 'timing': 'FrameTiming', 'labels': 'LabelTable'}
        types = {name: f'unidrive_msgs/msg/{kind}' for name, kind in own.items()}
        types['overlay'] = 'sensor_msgs/msg/Image'
        for name, msgtype in types.items():
            qos = LATCHED_QOS if name == 'labels' else RESULT_QOS
            self._publishers_by_name[name] = self.create_lifecycle_publisher(
                type(self._make(msgtype)), f'~/{name}', qos
            )

    def _publish_labels(self) -> None:
        manifest = self._predictor.bundle.manifest
        header = Header(stamp=self.get_clock().now().to_msg())
        self._publishers_by_name['labels'].publish(
            labels_message(
                self._make,
                header,
                manifest.name,
                manifest.program.sha256,
                self._predictor.labels,
            )
        )

    def _on_timer(self) -> None:
        now, limit = time.monotonic(), self._settings['no_image_warning_s']
        statuses = []
        for camera in self._cameras.values():
            camera.watch(now, limit)
            statuses.append(self._status(camera.topic, camera.health.report(now, limit)))
        if not statuses:
            statuses.append(self._status('node', Report(STALE, 'the node is not active', {})))
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _status(self, subject: str, report: Report) -> DiagnosticStatus:
        values = dict(report.values)
        if self._predictor:
            values['model'] = self._predictor.bundle.manifest.name
            values['device'] = self._predictor.device
        return DiagnosticStatus(
            level=bytes([report.level]),
            name=f'{self.get_fully_qualified_name()}: {subject}',
            message=report.message,
            hardware_id=subject,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    # parameters -------------------------------------------------------------------------------

    def _declare_parameters(self) -> dict[str, Any]:
        for spec in parameters.PARAMETERS:
            self.declare_parameter(spec.name, spec.default, _descriptor(spec))
        for given, meant in parameters.misspelt(self._parameter_overrides).items():
            self.get_logger().warning(f'unknown parameter {given}; did you mean {meant}?')
        return parameters.check_all({n: self.get_parameter(n).value for n in parameters.TABLE})

    def _on_set_parameters(self, changes: list[Any]) -> SetParametersResult:
        try:
            values = parameters.check_all({change.name: change.value for change in changes})
        except parameters.ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings.update(values)
        if self._predictor:
            self._apply(self._predictor, self._settings)
        return SetParametersResult(successful=True)

    @staticmethod
    def _apply(predictor: Predictor, settings: dict[str, Any]) -> None:
        """Hand over the settings that may change while the node runs."""
        threshold = settings['score_threshold']
        unset = threshold == parameters.USE_BUNDLE_THRESHOLD
        predictor.score_threshold = None if unset else threshold
        predictor.mask_downscale = settings['mask_downscale']


def _descriptor(spec: parameters.ParameterSpec) -> ParameterDescriptor:
    """The ROS description of one parameter, with its range."""
    choices = f' One of: {", ".join(spec.choices)}.' if spec.choices else ''
    descriptor = ParameterDescriptor(
        description=spec.description + choices,
        read_only=spec.read_only,
        # lets an int stand for a double (threshold:=1); our own check refuses anything else
        dynamic_typing=isinstance(spec.default, float),
    )
    if spec.low is not None and isinstance(spec.default, float):
        limits = FloatingPointRange(from_value=spec.low, to_value=spec.high)
        descriptor.floating_point_range = [limits]
    elif spec.low is not None:
        limits = IntegerRange(from_value=int(spec.low), to_value=int(spec.high))
        descriptor.integer_range = [limits]
    return descriptor


def run(argv: list[str]) -> int:
    """Run the node until Ctrl-C or SIGTERM; exit code 0, or 1 when it could not start.

    Raises :class:`UserError` for what the command line or the parameter file says wrong.
    """
    # rclpy's handlers end the spin below. Python's own would also raise KeyboardInterrupt anywhere
    # (while a model is being loaded), and a second signal would cut the clean-up short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    node = None
    init_ros(rclpy.init, argv)
    try:
        node = PerceptionNode()
        if node.autostart and not node.start():
            return 1
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except ParameterException as error:
        raise UserError(str(error)) from error
    except Exception:
        if rclpy.ok():
            raise  # else: a signal came just before a wait, which then finds its context invalid
    finally:
        if node:
            node.close()
        rclpy.try_shutdown()
    return 0
