# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Makes one bag of the finished shards, follows the objects where that is wanted, and counts.

Objects are followed here, over all frames in order, because each depends on those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unidrive_perception.bags.reader import LATCHED, BagMessage, BagReader, BagWriter, open_bag
from unidrive_perception.bundle import Bundle
from unidrive_perception.image_codec import compressed_to_rgb, image_to_rgb
from unidrive_perception.image_topics import COMPRESSED
from unidrive_perception.labels import LabelTable
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import (
    detections_message,
    jpeg_message,
    labels_message,
    make_header,
    prediction_from_result,
    result_message,
    stamp_of,
)
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction
from unidrive_perception.processing.cameras import ROOT
from unidrive_perception.processing.plan import Settings
from unidrive_perception.processing.shards import OVERLAY
from unidrive_perception.processing.tally import Tally
from unidrive_perception.tracking import Tracker


def merge(
    shards: Sequence[Path],
    settings: Settings,
    bundle: Bundle,
    writer: BagWriter,
    tick: Callable[[], object],
) -> Tally:
    """Write the messages of the shards; returns what was counted. ``tick`` after each frame."""
    tally = Tally(bundle.labels)
    merger = _Merger(settings, bundle, writer, tally, tick)
    for shard in shards:
        with open_bag(shard) as bag:
            for message in bag.messages():
                merger.add(bag, message)
    return tally


class _Merger:
    """Passes on the messages of shards, with what can be said only here."""

    def __init__(
        self,
        settings: Settings,
        bundle: Bundle,
        writer: BagWriter,
        tally: Tally,
        tick: Callable[[], object],
    ) -> None:
        self._settings, self._bundle, self._writer = settings, bundle, writer
        self._tally, self._tick = tally, tick
        self._make = BagFactory(writer.typestore)
        self._by_result = {c.prefix + 'result': c for c in settings.cameras}
        self._by_image = {c.topic: c for c in settings.cameras}
        self._trackers = {c: Tracker() for c in settings.cameras}
        self._threshold = self._smallest_score()
        self._images: dict[Any, Any] = {}  # camera -> the image whose result comes next
        self._has_labels = False

    def _smallest_score(self) -> float:
        if self._settings.score_threshold is not None:
            return self._settings.score_threshold
        detection = self._bundle.manifest.tasks.get('detection')
        return detection.score_threshold if detection else 0.0

    def add(self, bag: BagReader, message: BagMessage) -> None:
        """Take the next message of a shard."""
        if not self._has_labels:
            self._write_labels(message.stamp_ns)
        topic = message.topic
        if topic in self._by_result:
            self._add_result(message, bag.deserialize(message))
            self._tick()
            return
        if topic in self._by_image:
            if self._settings.track and self._settings.overlay is not None:
                self._images[self._by_image[topic]] = bag.deserialize(message)
            if not self._settings.copy_images:
                return
        self._writer.write_raw(topic, message.msgtype, message.data, message.stamp_ns)

    def _add_result(self, message: BagMessage, result: Any) -> None:
        camera, stamp_ns = self._by_result[message.topic], message.stamp_ns
        arrays = prediction_from_result(result)
        prediction = Prediction(**arrays._asdict())
        if self._settings.track:
            stamp = stamp_of(result.header)
            prediction = self._trackers[camera].update(prediction, self._threshold, stamp)
            result = _with_detections(self._make, result, prediction, self._bundle.labels)
        for part in ('detections', 'semantic_mask', 'drivable_mask'):
            self._writer.write(camera.prefix + part, getattr(result, part), stamp_ns)
        self._writer.write(message.topic, result, stamp_ns)
        if camera in self._images:
            self._write_overlay(camera, stamp_ns, prediction)
        self._tally.add(camera.name, stamp_ns, prediction)

    def _write_overlay(self, camera: Any, stamp_ns: int, prediction: Prediction) -> None:
        image = self._images.pop(camera)
        is_compressed = image.__msgtype__ == COMPRESSED
        rgb = compressed_to_rgb(image) if is_compressed else image_to_rgb(image)
        picture = draw_overlay(rgb, prediction, self._bundle.labels)
        quality = self._settings.overlay
        message = jpeg_message(self._make, image.header, picture, quality)
        self._writer.write(camera.prefix + OVERLAY, message, stamp_ns)

    def _write_labels(self, stamp_ns: int) -> None:
        """Write the label tables once, latched as the node's are."""
        manifest, topic = self._bundle.manifest, f'{ROOT}labels'
        header = make_header(self._make, stamp_ns, '')
        sha256 = manifest.program.sha256
        message = labels_message(self._make, header, manifest.name, sha256, self._bundle.labels)
        self._writer.add_topic(topic, message.__msgtype__, [LATCHED])
        self._writer.write(topic, message, stamp_ns)
        self._has_labels = True


def _with_detections(
    make: BagFactory, result: Any, prediction: Prediction, labels: Mapping[str, LabelTable]
) -> Any:
    """The same result with the objects of ``prediction``."""
    detections = detections_message(make, result.header, prediction, labels)
    masks = result.semantic_mask, result.drivable_mask
    return result_message(make, result.header, detections, *masks)
