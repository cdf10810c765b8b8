# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Predicts shards: a little bag for each, with a record of what became of its frames.

The bag has the result of each frame, whatever else its image is needed for, and, where objects
are followed later, also the boxes that only a tracker makes use of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.bundle import Bundle
from unidrive_perception.errors import UserError
from unidrive_perception.labels import UNKNOWN
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import jpeg_message
from unidrive_perception.node.frame_messages import FrameMessages
from unidrive_perception.node.parameters import TABLE
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction, Predictor
from unidrive_perception.processing.plan import Settings, Shard
from unidrive_perception.processing.work_folder import WorkFolder
from unidrive_perception.source_frames import Frame, FrameSource
from unidrive_perception.sources import open_source
from unidrive_perception.tracking import WEAK_SHARE

RECORD = 'record.json'
OVERLAY = 'overlay/compressed'
STAGES = ('decode', 'preprocess', 'inference', 'postprocess', 'overlay', 'write')
_NODE_DEFAULTS = {name: spec.default for name, spec in TABLE.items()}


@dataclass
class Record:
    """What became of the frames of a shard.

    ``bad``: number, topic, time of recording (ns) and reason of each bad frame; ``times``: stage →
    milliseconds of each other frame; ``pixels``: task → number of pixels of each class id (256).
    """

    seen: int = 0
    bad: list[tuple[int, str, int, str]] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})
    pixels: dict[str, list[int]] = field(default_factory=dict)
    damage: str | None = None

    def add_times(
        self, prediction: Prediction, decode: float, overlay: float, write: float
    ) -> None:
        """Note the times of a frame: those of its prediction, and others in seconds."""
        timing = prediction.timing
        row = (
            *(decode * 1e3, timing.preprocess_ms, timing.inference_ms, timing.postprocess_ms),
            *(overlay * 1e3, write * 1e3),
        )
        for stage, milliseconds in zip(STAGES, row, strict=True):
            self.times[stage].append(round(milliseconds, 3))

    def add_pixels(self, prediction: Prediction) -> None:
        """Count the pixels of each class."""
        for task in ('semantic', 'drivable'):
            mask = getattr(prediction, task)
            if mask is not None:
                counts = cv2.calcHist([mask], [0], None, [UNKNOWN + 1], [0, UNKNOWN + 1])
                sums = np.add(self.pixels.get(task, 0), counts[:, 0].astype(np.int64))
                self.pixels[task] = sums.tolist()

    @classmethod
    def load(cls, shard: Path) -> Record:
        """Read the record of a finished shard."""
        return cls(**json.loads((shard / RECORD).read_text()))


@dataclass(frozen=True)
class Share:
    """Shards for one predictor, which has ``threads`` CPU threads."""

    out: Path
    settings: Settings
    shards: list[Shard]
    threads: int


def predict_share(share: Share) -> Iterator[None]:
    """Make the shards, one after the other; yields after every frame."""
    settings, folder = share.settings, WorkFolder(share.out)
    predictor = Predictor(
        Bundle.load(settings.model), settings.device, share.threads, settings.score_threshold
    )
    if settings.track:
        predictor.candidate_threshold = predictor.score_threshold * WEAK_SHARE
    with open_source(settings.input, settings.topics, settings.fps) as source:
        frames, at = iter(()), None
        for shard in share.shards:
            if shard.begin != at:
                frames, at = source.frames(shard.position), shard.begin
            at += shard.count
            some = frames if shard.is_last else islice(frames, shard.count)
            with BagWriter(folder.shard(shard), compress=True) as writer:
                work = _ShardWork(settings, predictor, writer)
                yield from work.add(enumerate(some, shard.begin))
                work.close(source)


class _ShardWork:
    """Writes one shard."""

    def __init__(self, settings: Settings, predictor: Predictor, writer: BagWriter) -> None:
        self._settings, self._predictor, self._writer = settings, predictor, writer
        self._prefixes = {camera.topic: camera.prefix for camera in settings.cameras}
        self._make = BagFactory(writer.typestore)
        self._record = Record()

    def add(self, frames: Iterable[tuple[int, Frame]]) -> Iterator[None]:
        """Add frames with their numbers."""
        for number, frame in frames:
            start = time.perf_counter()
            self._record.seen += 1
            try:
                rgb = frame.rgb()
            except UserError as error:
                self._record.bad.append((number, frame.topic, frame.stamp_ns, str(error)))
            else:
                self._add(frame, rgb, time.perf_counter() - start)
            yield

    def _add(self, frame: Frame, rgb: np.ndarray, decode: float) -> None:
        prediction = self._predictor.predict(rgb)
        predicted = time.perf_counter()
        overlay = self._overlay(frame, rgb, prediction)
        drawn = time.perf_counter()
        self._write(frame, rgb, prediction, overlay)
        written = time.perf_counter()
        drawing = drawn - predicted if overlay is not None else 0.0
        self._record.add_times(prediction, decode, drawing, written - drawn)
        self._record.add_pixels(prediction)

    def _overlay(self, frame: Frame, rgb: np.ndarray, prediction: Prediction) -> Any:
        """The overlay message; None also where objects are to be followed before it is drawn."""
        quality = self._settings.overlay
        if quality is None or self._settings.track:
            return None
        picture = draw_overlay(rgb, prediction, self._predictor.labels)
        return jpeg_message(self._make, frame.header, picture, quality)

    def _write(self, frame: Frame, rgb: np.ndarray, prediction: Prediction, overlay: Any) -> None:
        settings, writer = self._settings, self._writer
        if settings.copy_images or (settings.track and settings.overlay is not None):
            data = frame.cdr(writer.typestore)
            writer.write_raw(frame.topic, frame.msgtype, data, frame.stamp_ns)
        prefix, labels = self._prefixes[frame.topic], self._predictor.labels
        messages = FrameMessages(self._make, frame.header, rgb, prediction, labels, _NODE_DEFAULTS)
        for name in ('result', *settings.also):
            message = messages.get(name)
            if message is not None:  # of a task that the model lacks
                writer.write(prefix + name, message, frame.stamp_ns)
        if overlay is not None:
            writer.write(prefix + OVERLAY, overlay, frame.stamp_ns)

    def close(self, source: FrameSource) -> None:
        """Add the record to the finished shard."""
        self._record.damage = source.damage
        text = json.dumps(asdict(self._record))
        (self._writer.unfinished / RECORD).write_text(text)
