# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""From an RGB image of any size to boxes and masks in that image's own pixels, without ROS.

The bundle's program (ONNX) takes ``images`` uint8 (N, H, W, 3) RGB, letterboxed; normalisation,
mask assembly and argmax are inside it. It gives, for the tasks it has:

- ``boxes`` float32 (N, Q, 4) xyxy in input pixels, ``scores`` float32 (N, Q) falling,
  ``class_ids`` int64 (N, Q);
- ``semantic`` and ``drivable`` uint8 (N, H / s, W / s) class ids, s in 1, 2, 4.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import onnxruntime

from unidrive_perception.bundle import Bundle, BundleError
from unidrive_perception.errors import UserError
from unidrive_perception.geometry import Letterbox, Size
from unidrive_perception.labels import UNKNOWN, LabelTable

DEVICES = ('auto', 'cpu', 'cuda')

_PROGRAM_OUTPUTS = {
    'detection': {
        'boxes': 'tensor(float)',
        'scores': 'tensor(float)',
        'class_ids': 'tensor(int64)',
    },
    'semantic': {'semantic': 'tensor(uint8)'},
    'drivable': {'drivable': 'tensor(uint8)'},
}

_AFTER_UNKNOWN = np.uint8(256 - UNKNOWN)
"""Added to a mask, UNKNOWN wraps around to 0 and every class id is one higher."""


@dataclass(frozen=True)
class StageTimes:
    """How long the stages of one prediction took, in milliseconds of wall time."""

    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """What the network says about one image; coordinates are pixels of that image.

    ``boxes`` (N, 4) float32 xyxy inside the image, ``scores`` (N,) float32 falling,
    ``class_ids`` (N,) int64, ``track_ids`` (N,) int64, 0 where not followed. Each mask is uint8
    class ids and covers the whole image: (H, W), or that divided by the predictor's
    ``mask_downscale``; ``None`` where the model lacks the task.
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
    """Runs a model bundle on single images. Not for several threads at once."""

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
        self.score_threshold = score_threshold
        spec = bundle.manifest.input
        self._input_size = (spec.height, spec.width)
        self._session = _open_session(bundle, device, threads)
        self._check_program()
        self._outputs = [name for task in self.labels for name in _PROGRAM_OUTPUTS[task]]
        self._letterbox = Letterbox(self._input_size, self._input_size)

    @property
    def device(self) -> str:
        """Where the program runs: ``cpu`` or ``cuda``."""
        return 'cuda' if 'CUDAExecutionProvider' in self._session.get_providers() else 'cpu'

    @property
    def score_threshold(self) -> float:
        """Smallest score that is reported, 0..1; set it to ``None`` for the bundle's own."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float | None) -> None:
        if value is None:
            value = self._bundle_threshold
        if not 0 <= value <= 1:
            raise ValueError(f'score_threshold must be from 0 to 1, not {value}')
        self._score_threshold = float(value)

    def warm_up(self, runs: int = 2) -> None:
        """Predict a grey image, so that the first real one is as fast as the rest."""
        grey = np.full((*self._input_size, 3), self.bundle.manifest.input.letterbox_fill, np.uint8)
        for _ in range(runs):
            self.predict(grey)

    def predict(self, rgb: np.ndarray) -> Prediction:
        """Predict one image (H, W, 3) uint8 RGB; raises ``ValueError`` for any other array."""
        _check_image(rgb)
        start = time.perf_counter()
        letterbox = self._letterbox_for(rgb.shape[:2])
        batch = letterbox.apply_image(rgb, self.bundle.manifest.input.letterbox_fill)[None]
        preprocessed = time.perf_counter()
        values = self._session.run(self._outputs, {'images': batch})
        inferred = time.perf_counter()
        output = {name: value[0] for name, value in zip(self._outputs, values, strict=True)}
        boxes, scores, class_ids = self._detections(letterbox, output)
        semantic, drivable = (
            self._mask(letterbox, task, output.get(task)) for task in ('semantic', 'drivable')
        )
        finished = time.perf_counter()
        timing = StageTimes(
            preprocess_ms=(preprocessed - start) * 1e3,
            inference_ms=(inferred - preprocessed) * 1e3,
            postprocess_ms=(finished - inferred) * 1e3,
        )
        size = letterbox.image_size
        return Prediction(size, boxes, scores, class_ids, semantic, drivable, timing)

    def _letterbox_for(self, image_size: Size) -> Letterbox:
        if self._letterbox.image_size != image_size:  # a camera rarely changes its size
            self._letterbox = Letterbox(image_size, self._input_size)
        return self._letterbox

    def _detections(
        self, letterbox: Letterbox, output: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes above the threshold that touch the image; those in the padding have no area."""
        if 'boxes' not in output:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
        confident = output['scores'] >= self._score_threshold
        boxes = letterbox.invert_boxes(output['boxes'][confident])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)  # false for NaN too
        class_ids = output['class_ids'][confident][inside]
        if class_ids.size and not 0 <= class_ids.min() <= class_ids.max() < len(
            self.labels['detection']
        ):
            raise self._wrong_class('detection', class_ids.max())
        return boxes[inside], output['scores'][confident][inside], class_ids

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
            f'the manifest has {len(self.labels[task])} {task} classes'
        )

    def _check_program(self) -> None:
        """The program must have the inputs and outputs that the manifest promises."""
        path = self.bundle.program_path
        inputs = {i.name: i for i in self._session.get_inputs()}
        expected = ('tensor(uint8)', [*self._input_size, 3])
        image = inputs.get('images')
        if len(inputs) != 1 or image is None or (image.type, image.shape[1:]) != expected:
            found = ', '.join(f'{i.name} {i.type} {i.shape}' for i in inputs.values())
            raise BundleError(f'{path}: its input must be images {expected}, found {found}')
        outputs = {o.name: o.type for o in self._session.get_outputs()}
        for task in self.labels:
            for name, kind in _PROGRAM_OUTPUTS[task].items():
                if outputs.get(name) != kind:
                    raise BundleError(
                        f'{path}: the manifest has the {task} task, so the program must have an '
                        f'output {name} of {kind}, found {outputs}'
                    )


def _open_session(bundle: Bundle, device: str, threads: int) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    if device not in DEVICES:
        raise UserError(f'device must be one of {", ".join(DEVICES)}, not {device!r}')
    if device == 'cuda' and 'CUDAExecutionProvider' not in available:
        raise UserError(
            "device 'cuda' needs onnxruntime with CUDA (pip install onnxruntime-gpu); "
            f"this one has {', '.join(available)}; use device 'auto' or 'cpu'"
        )
    wanted = ['CPUExecutionProvider']
    if device != 'cpu' and 'CUDAExecutionProvider' in available:
        wanted.insert(0, 'CUDAExecutionProvider')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning doubled the CPU time per image, and on a machine with other
    # work the latency too.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3  # warnings of the optimiser are not for users
    try:
        session = onnxruntime.InferenceSession(
            str(bundle.program_path), sess_options=options, providers=wanted
        )
    except Exception as error:  # onnxruntime raises its own types, which are not public
        reason = ' '.join(str(error).split())
        raise BundleError(
            f'{bundle.program_path}: onnxruntime cannot load it ({reason})'
        ) from error
    # onnxruntime falls back to the CPU without an error when the GPU cannot be opened
    if device == 'cuda' and 'CUDAExecutionProvider' not in session.get_providers():
        raise UserError(
            "device 'cuda': onnxruntime could not open a CUDA device; check the driver and "
            "the CUDA libraries, or use device 'auto' or 'cpu'"
        )
    return session


def _check_image(rgb: np.ndarray) -> None:
    if not isinstance(rgb, np.ndarray):
        raise ValueError(f'image must be a NumPy array, not {type(rgb).__name__}')
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f'image must be (H, W, 3) uint8 RGB, not {rgb.shape} {rgb.dtype}')
    if not rgb.size:
        raise ValueError(f'image must have at least one pixel, not {rgb.shape}')
