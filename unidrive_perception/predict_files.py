# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that ``unidrive predict`` writes. Each has its name only once it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import picture_to_compressed
from unidrive_perception.labels import LabelTable
from unidrive_perception.predictor import Prediction

SPLIT = 'predict'
"""The part of a BDD100K-layout dataset that predictions take the place of."""
MASK_FOLDERS = {
    'semantic': f'labels/sem_seg/masks/{SPLIT}',
    'drivable': f'labels/drivable/masks/{SPLIT}',
}
BOXES = f'labels/det_20/det_{SPLIT}.json'
OVERLAYS = 'overlays'


def write_overlay(out: Path, name: str, picture: np.ndarray, codec: str) -> None:
    """Write ``overlays/NAME.jpg`` or ``.png`` of an RGB picture."""
    suffix = {'jpeg': '.jpg', 'png': '.png'}[codec]
    _write(out / OVERLAYS / f'{name}{suffix}', picture_to_compressed(picture, codec).tobytes())


def write_masks(out: Path, name: str, prediction: Prediction) -> None:
    """Write the class ids of each mask as a PNG of one channel."""
    for task, folder in MASK_FOLDERS.items():
        mask = getattr(prediction, task)
        if mask is not None:
            _, data = cv2.imencode('.png', mask)
            _write(out / folder / f'{name}.png', data.tobytes())


def scalabel_frame(
    name: str,
    prediction: Prediction,
    labels: Mapping[str, LabelTable],
    video: str | None = None,
    index: int = 0,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """Return the boxes of an image as Scalabel has them; ``name`` is that of its file.

    Of a ``video``, ``index`` counts its frames and ``seconds`` its time. An object that is
    followed has the same id in all frames.
    """
    names = labels['detection'].names if 'detection' in labels else []
    rows = zip(
        prediction.boxes.tolist(),
        prediction.scores.tolist(),
        prediction.class_ids.tolist(),
        prediction.track_ids.tolist(),
        strict=True,
    )
    found = [
        {
            'id': str(track_id or f'{name}:{i}'),
            'category': names[class_id],
            'score': round(score, 6),
            'attributes': {},
            'box2d': {k: round(v, 3) for k, v in zip(('x1', 'y1', 'x2', 'y2'), box, strict=True)},
        }
        for i, (box, score, class_id, track_id) in enumerate(rows)
    ]
    frame = {'name': name, 'attributes': {}, 'timestamp': round(seconds * 1e3), 'labels': found}
    return {**frame, 'videoName': video, 'frameIndex': index} if video else frame


class BoxFile:
    """Writes ``det_predict.json`` frame by frame; a context manager, none after an error."""

    def __init__(self, out: Path, labels: Mapping[str, LabelTable]) -> None:
        """Begin the file in ``out``."""
        self._path = out / BOXES
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._aside = _aside(self._path)
        self._file = self._aside.open('w', encoding='utf-8')
        self._names = labels['detection'].names if 'detection' in labels else []
        self._separator = '{"frames": [\n'

    def add(self, frame: dict[str, Any]) -> None:
        """Append a frame; see :func:`scalabel_frame`."""
        self._file.write(self._separator + json.dumps(frame))
        self._separator = ',\n'

    def __enter__(self) -> BoxFile:
        return self

    def __exit__(self, error_type: type | None, *_: TracebackType | Exception | None) -> None:
        """Finish the file."""
        if error_type is None:
            begun = '' if self._separator.startswith(',') else self._separator
            config = {'categories': [{'name': name} for name in self._names]}
            self._file.write(f'{begun}\n], "config": {json.dumps(config)}}}\n')
        self._file.close()
        _finish(self._aside, self._path, error_type)


class OverlayVideo:
    """Writes ``overlays/NAME.mp4``; a context manager, after an error nothing remains.

    Frames of another size than the first are made to fit: a video has but one.
    """

    def __init__(self, out: Path, name: str, fps: float) -> None:
        """Begin the video when its first frame comes."""
        self._path, self._fps = out / OVERLAYS / f'{name}.mp4', fps
        self._aside = _aside(self._path)
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, picture: np.ndarray) -> None:
        """Append an RGB picture."""
        if self._writer is None:
            self._size = picture.shape[1::-1]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter_fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(str(self._aside), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise UserError(
                    f'{self._path} cannot be written (this OpenCV has no mp4 encoder, or the disk '
                    f'is full); --no-overlay leaves it out'
                )
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(self, error_type: type | None, *_: TracebackType | Exception | None) -> None:
        """Finish the video."""
        if self._writer is not None:
            self._writer.release()
            _finish(self._aside, self._path, error_type)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        aside.write_bytes(data)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)


def _aside(path: Path) -> Path:
    """Where a file is written: hidden, and with its suffix, by which OpenCV knows the format."""
    return path.with_name(f'.part-{path.name}')


def _finish(aside: Path, path: Path, error_type: type | None) -> None:
    if error_type is None:
        os.replace(aside, path)
    else:
        aside.unlink(missing_ok=True)
