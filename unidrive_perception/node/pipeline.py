# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of an image through the node: received, decoded, predicted, followed, published.

No ROS here: messages and publishers are used by their fields and methods, the clock and the log
are given. :meth:`Pipeline.receive` runs in the thread that receives, all else in the worker's.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from unidrive_perception.durations import in_words
from unidrive_perception.errors import UserError, quoted
from unidrive_perception.image_codec import ImageDecodeError
from unidrive_perception.message_factories import MessageFactory
from unidrive_perception.messages import stamp_of, timing_message
from unidrive_perception.node.frame_messages import FrameMessages
from unidrive_perception.node.frames import Batch, LatestFrames
from unidrive_perception.node.parameters import USE_BUNDLE_THRESHOLD
from unidrive_perception.node.stream import CameraStream, Decoded, Received
from unidrive_perception.predictor import Prediction, Predictor
from unidrive_perception.tracking import WEAK_SHARE

Settings = Mapping[str, Any]
QUIET_S = 1.0
"""Between two sentences about the bad images of one camera."""

FAR_S = 60.0
"""Between stamp and clock: no camera and no network takes so long."""

CLOCK_S = 3.0
"""From the first image on, for which a clock is waited for before one is missed."""

ALIVE_S = 1.0
"""Without an image for so long, the others do not wait for a camera."""


class Pipeline:
    """Takes the images of all cameras through one model.

    A batch that is in work ends with the model it began with.
    """

    def __init__(
        self,
        model: Predictor,
        streams: Mapping[str, CameraStream],
        make: MessageFactory,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        log: Any,
        announce: Callable[[Predictor], None] = lambda model: None,
    ) -> None:
        """Work for ``streams``, by name of the camera.

        ``settings()`` gives the values of all parameters, ``now_ns()`` the ROS time (0: not yet
        known), ``log`` is a logger of rclpy; ``announce(model)`` is called before the first
        results of another model.
        """
        self.frames = LatestFrames()
        self._model, self._is_announced = model, True
        self._classes = model.labels.get('detection')
        self._began: float | None = None  # the batch in work
        self._turn = threading.Lock()  # of a batch that begins, or of a model that changes
        self._streams, self._make, self._settings = streams, make, settings
        self._now_ns, self._log, self._announce = now_ns, log, announce

    @property
    def model(self) -> Predictor:
        """The model that the next batch goes through."""
        return self._model

    def change_model(self, model: Predictor) -> None:
        """Let the next batch go through another model; any thread.

        It is announced before its first results: at once, unless a batch of the old one is in
        work.
        """
        with self._turn:
            self._model, self._is_announced = model, False
            if self._began is None:
                self._begin_with(model)

    def announce_again(self) -> None:
        """Announce the model in use once more, unless it is about to be; any thread."""
        with self._turn:
            if self._is_announced:
                self._announce(self._model)

    def busy_s(self, now: float) -> float:
        """Seconds that the batch in work has taken; 0 where there is none."""
        began = self._began
        return 0.0 if began is None else now - began

    def receive(self, camera: str, message: Any) -> None:
        """Keep the newest image of a camera, unless it comes too early for ``max_rate``."""
        stream, now = self._streams[camera], time.monotonic()
        if stream.health.received(now) == 1:
            frame_id = quoted(message.header.frame_id)
            self._log.info(f'first image on {stream.topic}: frame_id {frame_id}')
        if not stream.is_dated:
            self._compare_clocks(stream, message.header, now)
        if not stream.limit.admits(now, self._settings()['max_rate']):
            stream.health.limited()
            return
        stream.admitted = now
        if self.frames.put(camera, Received(message, now)):
            stream.health.dropped()

    def limits(self) -> tuple[int, float]:
        """How many images go through the model together, and how long (s) the first may wait."""
        settings = self._settings()
        largest = settings['max_batch'] or (16 if self.model.device == 'cuda' else 1)
        now = time.monotonic()
        alive = sum(now - stream.admitted < ALIVE_S for stream in self._streams.values())
        return max(1, min(largest, alive)), settings['batch_wait_ms'] / 1e3

    def work(self, batch: Batch) -> None:
        """Take images from messages to published results."""
        try:
            with self._turn:
                self._began, model = time.monotonic(), self._model
                if not self._is_announced:
                    self._begin_with(model)
            self._work_with(model, batch)
        finally:
            self._began = None

    def _work_with(self, model: Predictor, batch: Batch) -> None:
        settings = self._settings()
        _apply(settings, model)
        decoded = [self._decode(camera, received, settings) for camera, received in batch]
        ready = [image for image in decoded if image]
        for image, prediction in zip(ready, self._predict(model, ready), strict=True):
            if isinstance(prediction, Prediction):
                self._finish(image, prediction, model, settings, len(ready))
            else:
                self._failed(image.stream, prediction)

    def failed(self, batch: Batch, error: Exception) -> None:
        """Count images that our own code failed on."""
        for camera, _ in batch:
            self._failed(self._streams[camera], error)

    def _begin_with(self, model: Predictor) -> None:
        """Announce another model, and end all tracks where its classes are others."""
        classes = model.labels.get('detection')
        if classes != self._classes:
            for stream in self._streams.values():
                stream.tracker.reset()
        self._classes = classes
        self._announce(model)
        self._is_announced = True

    def _decode(self, camera: str, received: Received, settings: Settings) -> Decoded | None:
        """The pixels of an image; None where it is too old or cannot be decoded."""
        stream, message = self._streams[camera], received.message
        if settings['max_age'] and self._is_late(stream, message.header, settings['max_age']):
            return None
        start = time.perf_counter()
        try:
            rgb = stream.decode(message)
        except ImageDecodeError as error:
            stream.health.bad(str(error))
            self._tell(stream, str(error))
            return None
        except Exception as error:  # of ours: the other images of the batch go on
            self._failed(stream, error)
            return None
        decode_ms = (time.perf_counter() - start) * 1e3
        return Decoded(stream, message, received.arrived, rgb, decode_ms)

    def _is_late(self, stream: CameraStream, header: Any, max_age: float) -> bool:
        """Whether an image is older than ``max_age`` seconds, which is counted then."""
        age = self._age_ms(header) / 1e3
        if not age > max_age:  # NaN is not
            return False
        stream.health.late(age)
        if self._may_tell(stream):
            self._log.warning(
                f'{stream.topic}: image skipped: it is {in_words(age)} old, '
                f'max_age is {max_age:g} s'
            )
        return True

    def _predict(self, model: Predictor, images: list[Decoded]) -> list[Prediction | Exception]:
        """Predict together; where that fails one by one, so that it costs one image only."""
        if not images:
            return []
        try:
            return list(model.predict_batch([image.rgb for image in images]))
        except Exception as error:
            if len(images) == 1:
                return [error]
        return [result for image in images for result in self._predict(model, [image])]

    def _finish(
        self,
        image: Decoded,
        prediction: Prediction,
        model: Predictor,
        settings: Settings,
        batch_size: int,
    ) -> None:
        """Follow the objects, publish the results, count the image."""
        try:
            start = time.perf_counter()
            prediction = self._follow(image, prediction, model, settings)
            followed = time.perf_counter()
            self._publish(image, prediction, model, settings)
            published = time.perf_counter()
        except Exception as error:
            self._failed(image.stream, error)
            return
        times = prediction.timing
        stages_ms = {
            'decode': image.decode_ms,
            'preprocess': times.preprocess_ms,
            'inference': times.inference_ms,
            'postprocess': times.postprocess_ms,
            'track': (followed - start) * 1e3,
            'publish': (published - followed) * 1e3,
        }
        self._account(image, stages_ms, batch_size)

    def _publish(
        self, image: Decoded, prediction: Prediction, model: Predictor, settings: Settings
    ) -> None:
        stream = image.stream
        status = stream.health.status_line(model.bundle.manifest.name)
        messages = FrameMessages(
            self._make,
            *(image.message.header, image.rgb, prediction, model.labels, settings),
            *(stream.info(), status),
        )
        stream.outputs.publish(messages)

    def _account(self, image: Decoded, stages_ms: dict[str, float], batch_size: int) -> None:
        """Count an image whose results are out, and publish how long it took."""
        stream, header, now = image.stream, image.message.header, time.monotonic()
        age_ms = self._age_ms(header)
        shares = {**stages_ms, 'inference': stages_ms['inference'] / batch_size}
        counters = stream.health.processed(now, age_ms, shares, (now - image.arrived) * 1e3)
        publisher = stream.outputs.publishers['timing']
        try:
            if publisher.get_subscription_count():
                publisher.publish(
                    timing_message(self._make, header, stages_ms, age_ms, batch_size, counters)
                )
        except Exception as error:  # its results are out: it did not fail
            self._tell_error(stream, error)

    def _follow(
        self, image: Decoded, prediction: Prediction, model: Predictor, settings: Settings
    ) -> Prediction:
        """The prediction with track ids where that is wanted; a jump of time ends all tracks."""
        stream, stamp = image.stream, stamp_of(image.message.header)
        if back := stream.tracker.notice(stamp):
            self._tell_jump(stream, back)
        if not settings['tracking']:
            return prediction
        return stream.tracker.update(prediction, model.score_threshold, stamp)

    def _failed(self, stream: CameraStream, error: Exception) -> None:
        """Count an image that our own code failed on."""
        stream.health.failed(f'{type(error).__name__}: {error}')
        self._tell_error(stream, error)

    def _tell_error(self, stream: CameraStream, error: Exception) -> None:
        if isinstance(error, UserError):
            trace = str(error)
        else:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            trace = '\n' + ''.join(lines)
        self._tell(stream, f'image failed: {trace}')

    def _tell(self, stream: CameraStream, problem: str) -> None:
        if self._may_tell(stream):
            self._log.error(f'{stream.topic}: {problem}')

    def _may_tell(self, stream: CameraStream) -> bool:
        """Whether a problem of a camera may be logged: at most one in a second."""
        now = time.monotonic()
        if now < stream.quiet_until:
            return False
        stream.quiet_until = now + QUIET_S
        return True

    def _tell_jump(self, stream: CameraStream, seconds: float) -> None:
        """Log that stamps jumped back, at most once a second: two sources may take turns."""
        now = time.monotonic()
        if now >= stream.no_jump_until:
            stream.no_jump_until = now + QUIET_S
            self._log.info(f'{stream.topic}: stamps jumped back by {seconds:.3f} s')

    def _compare_clocks(self, stream: CameraStream, header: Any, now: float) -> None:
        """Say once that stamps are of another time than the clock, or that there is no clock."""
        if not self._now_ns():
            stream.clock_until = min(stream.clock_until, now + CLOCK_S)
            if now >= stream.clock_until:
                stream.is_dated = True
                self._log.warning(
                    f'{stream.topic}: use_sim_time is true and nobody publishes /clock, so ages '
                    f'are not known and max_age has no effect; play the bag with --clock'
                )
            return
        age = self._age_ms(header) / 1e3
        stream.is_dated = not math.isnan(age)
        if abs(age) > FAR_S:  # NaN is not
            where = 'behind' if age > 0 else 'ahead of'
            self._log.warning(
                f'{stream.topic}: stamps are {in_words(abs(age))} {where} the clock, so ages mean '
                f'nothing and max_age must be 0; play a bag with --clock and set '
                f'use_sim_time:=true, for a camera look at the clock of its host'
            )

    def _age_ms(self, header: Any) -> float:
        """Milliseconds from the stamp to now on the ROS clock; NaN while either is not set."""
        now, then = self._now_ns(), stamp_of(header)
        return (now - then) / 1e6 if now and then else math.nan


def _apply(settings: Settings, model: Predictor) -> None:
    """Give the model the settings that may have changed since the last image."""
    threshold = settings['score_threshold']
    model.score_threshold = None if threshold == USE_BUNDLE_THRESHOLD else threshold
    weak = model.score_threshold * WEAK_SHARE
    model.candidate_threshold = weak if settings['tracking'] else None
    model.mask_downscale = settings['mask_downscale']
    model.tasks = frozenset(settings['tasks']) & frozenset(model.labels)
