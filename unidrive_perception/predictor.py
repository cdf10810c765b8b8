# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""From an RGB image of any size to boxes and masks in that image's own pixels, without ROS.

What the bundle's program takes and gives is described in :mod:`unidrive_perception.backends`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from unidrive_perception.backends import DEVICES, open_backend
from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.duplicates import without_duplicates
from unidrive_perception.geometry import Letterbox, Size
from unidrive_perception.labels import UNKNOWN, LabelTable

__all__ = ['DEVICES', 'Prediction', 'Predictor', 'StageTimes']

_AFTER_UNKNOWN = np.uint8(256 - UNKNOWN)
"""Added to a mask, UNKNOWN wraps around to 0 and every class id is one higher."""

_KEPT_LETTERBOXES = 16
"""Image sizes whose mapping is remembered; cameras rarely change theirs."""


@dataclass(frozen=True)
class StageTimes:
    """How long the stages of one prediction took, in milliseconds of wall time.

    Images that were predicted together share ``inference_ms``: the time of the whole batch.
    """

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """What the network says about one image; coordinates are pixels of that image.

    ``boxes`` (N, 4) float32 xyxy inside the image, ``scores`` (N,) float32 falling,
    ``class_ids`` (N,) int64, ``track_ids`` (N,) int64, 0 where not followed. Each mask is uint8
    class ids and covers the whole image: (H, W), or that divided by the predictor's
    ``mask_downscale``; ``None`` where the model lacks the task or it is switched off.
    """

    image_size: Size
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    semantic: np.ndarray | None
    drivable: np.ndarray | None
    timing: StageTimes = StageTimes()
    track_ids: np.ndarray = None

    def __post_init__(self) -> None:
        """Without ``track_ids`` no object is followed: all are 0."""
        if self.track_ids is None:
            object.__setattr__(self, 'track_ids', np.zeros(len(self.boxes), np.int64))


class Predictor:
    """Runs a model bundle on images. Not for several threads at once.

    ``score_threshold``, ``candidate_threshold``, ``tasks`` and ``mask_downscale`` may be set at
    any time, from another thread too: they hold from the next call on.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = 'auto',
        threads: int = 0,
        score_threshold: float | None = None,
        mask_downscale: int = 1,
    ) -> None:
        """Load the program.

        ``device``: one of :data:`DEVICES`; ``threads``: CPU threads for inference, 0 for all
        cores; ``score_threshold``: smallest score reported, ``None`` for the bundle's own;
        ``mask_downscale``: masks are returned at 1/n of the image's height and width.
        Raises :class:`BundleError` or :class:`UserError` with one sentence.
        """
        self.bundle = bundle
        self.labels: dict[str, LabelTable] = bundle.labels
        self.mask_downscale = mask_downscale
        detection = bundle.manifest.tasks.get('detection')
        self._bundle_threshold = detection.score_threshold if detection else 0.0
        self._duplicate_iou = detection.duplicate_iou if detection else None
        self.score_threshold = score_threshold
        self.candidate_threshold = None
        self.tasks = bundle.labels
        spec = bundle.manifest.input
        self._input_size = (spec.height, spec.width)
        self._backend = open_backend(bundle, device, threads)
        self._batch = np.empty((1, *self._input_size, 3), np.uint8)
        self._letterbox_for = lru_cache(_KEPT_LETTERBOXES)(
            partial(Letterbox, input_size=self._input_size)
        )

    @property
    def device(self) -> str:
        """Where the program runs: one of :data:`DEVICES`, never ``auto``."""
        return self._backend.device

    @property
    def score_threshold(self) -> float:
        """Smallest score that is reported, 0..1; set it to ``None`` for the bundle's own."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float | None) -> None:
        value = self._bundle_threshold if value is None else value
        self._score_threshold = _checked_score('score_threshold', value)

    @property
    def candidate_threshold(self) -> float | None:
        """Boxes down to this score are given too, as weak evidence for a tracker; or ``None``."""
        return self._candidate_threshold

    @candidate_threshold.setter
    def candidate_threshold(self, value: float | None) -> None:
        if value is not None:
            value = _checked_score('candidate_threshold', value)
        self._candidate_threshold = value

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that are predicted, all of the bundle's at first; the others cost no time."""
        return self._tasks

    @tasks.setter
    def tasks(self, value: Collection[str]) -> None:
        for task in value:
            if task not in self.labels:
                raise ValueError(
                    f'tasks must be among those of the model ({", ".join(self.labels)}), '
                    f'not {task!r}'
                )
        self._tasks = frozenset(value)

    def warm_up(self, runs: int = 2) -> None:
        """Predict a grey image, so that the first real one is as fast as the rest."""
        grey = np.full((*self._input_size, 3), self.bundle.manifest.input.letterbox_fill, np.uint8)
        for _ in range(runs):
            self.predict(grey)

    def predict(self, rgb: np.ndarray) -> Prediction:
        """Predict one image (H, W, 3) uint8 RGB; raises ``ValueError`` for any other array."""
        return self.predict_batch([rgb])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images, of any sizes, in one run of the program; as :meth:`predict` otherwise.

        Nothing that is returned shares memory with ``images`` or with another call's results.
        """
        for rgb in images:
            _check_image(rgb)
        tasks = self._tasks  # may be set by another thread meanwhile
        letterboxes = [self._letterbox_for(rgb.shape[:2]) for rgb in images]
        batch, preprocess_ms = self._preprocess(images, letterboxes)
        start = time.perf_counter()
        output = self._backend.run(batch, tasks) if images and tasks else {}
        inference_ms = (time.perf_counter() - start) * 1e3
        predictions = []
        for row, letterbox in enumerate(letterboxes):
            start = time.perf_counter()
            values = {name: value[row] for name, value in output.items()}
            results = self._results(letterbox, values)
            postprocess_ms = (time.perf_counter() - start) * 1e3
            timing = StageTimes(preprocess_ms[row], inference_ms, postprocess_ms)
            predictions.append(Prediction(letterbox.image_size, *results, timing))
        return predictions

    def _preprocess(
        self, images: Sequence[np.ndarray], letterboxes: Sequence[Letterbox]
    ) -> tuple[np.ndarray, list[float]]:
        """The batch, in memory that is used again and again, and each image's milliseconds."""
        if len(self._batch) < len(images):
            self._batch = np.empty((len(images), *self._input_size, 3), np.uint8)
        batch, times = self._batch[: len(images)], [time.perf_counter()]
        for rgb, letterbox, out in zip(images, letterboxes, batch, strict=True):
            letterbox.apply_image(rgb, self.bundle.manifest.input.letterbox_fill, out)
            times.append(time.perf_counter())
        return batch, [float(ms) for ms in np.diff(times) * 1e3]

    def _results(self, letterbox: Letterbox, output: dict[str, np.ndarray]) -> tuple:
        """Boxes, scores, class ids and the two masks of one image, in its own pixels."""
        masks = (
            self._mask(letterbox, task, output.get(task)) for task in ('semantic', 'drivable')
        )
        return *self._detections(letterbox, output), *masks

    def _detections(
        self, letterbox: Letterbox, output: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes above the threshold that touch the image; those in the padding have no area."""
        if 'boxes' not in output:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        threshold, candidate = self._score_threshold, self._candidate_threshold
        lowest = threshold if candidate is None else min(threshold, candidate)
        confident = output['scores'] >= lowest
        boxes = letterbox.invert_boxes(output['boxes'][confident])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # false for NaN too
        class_ids = output['class_ids'][confident][inside]
        if class_ids.size and not 0 <= class_ids.min() <= class_ids.max() < len(
            self.labels['detection']
        ):
            raise self._wrong_class('detection', class_ids.max())
        boxes, scores = boxes[inside], output['scores'][confident][inside]
        if self._duplicate_iou is not None:
            keep = without_duplicates(boxes, class_ids, self._duplicate_iou)
            boxes, scores, class_ids = boxes[keep], scores[keep], class_ids[keep]
        return boxes, scores, class_ids

    def _mask(self, letterbox: Letterbox, task: str, mask: np.ndarray | None) -> np.ndarray | None:
        """The mask at the size that is asked for; checked before, while it is small."""
        if mask is None:
            return None
        highest = int((mask + _AFTER_UNKNOWN).max()) - 1
        if highest >= len(self.labels[task]):
            raise self._wrong_class(task, highest)
        height, width = letterbox.image_size
        n = self.mask_downscale
        return letterbox.invert_mask(mask, (max(1, height // n), max(1, width // n)))

    def _wrong_class(self, task: str, class_id: int) -> BundleError:
        return BundleError(
            f'{self.bundle.program_path}: gave class id {class_id}, '
            f'the manifest has {len(self.labels[task])} {task} classes; export the bundle again'
        )


def _checked_score(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f'{name} must be from 0 to 1, not {value}')
    return float(value)


def _check_image(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ValueError(f'image must be a NumPy array, not {type(rgb).__name__}')
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f'image must be (H, W, 3) uint8 RGB, not {rgb.shape} {rgb.dtype}')
    if not rgb.size:
        raise ValueError(f'image must have at least one pixel, not {rgb.shape}')
