# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The replay to look at: an overlay video and a grid of single frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.messages import stamp_of
from unidrive_perception.overlay import draw_overlay, picture_grid
from unidrive_perception.sources import FrameSource
from unidrive_training.demo.report import Outcome, with_results

_GRID = 9
_COLUMNS = 3


def write_video(path: Path, source: FrameSource, outcome: Outcome) -> Path:
    """Every frame that has a result, drawn over; at the rate of the recording."""
    fps = max(1.0, (len(outcome.stamps) - 1) / outcome.span_s) if outcome.span_s > 0 else 10.0
    writer = None
    for picture in _overlays(source, outcome, set(outcome.stamps)):
        if writer is None:
            size = (picture.shape[1], picture.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, size)
            if not writer.isOpened():
                raise UserError(f'{path}: this OpenCV cannot write mp4 videos')
        writer.write(cv2.cvtColor(cv2.resize(picture, size), cv2.COLOR_RGB2BGR))
    if writer is not None:
        writer.release()
    return path


def write_grid(path: Path, source: FrameSource, outcome: Outcome) -> Path:
    """Nine frames spread over the replay."""
    stamps = outcome.stamps
    chosen = {stamps[i] for i in np.linspace(0, len(stamps) - 1, _GRID).astype(int)}
    grid = picture_grid(list(_overlays(source, outcome, chosen)), _COLUMNS)
    if not cv2.imwrite(str(path), cv2.cvtColor(grid, cv2.COLOR_RGB2BGR)):
        raise UserError(f'{path}: could not be written; is the disk full?')
    return path


def _overlays(source: FrameSource, outcome: Outcome, stamps: set[int]) -> Iterator[np.ndarray]:
    wanted = ((stamp_of(f.header), f) for f in source if stamp_of(f.header) in stamps)
    for frame, result in with_results(wanted, outcome.results):
        yield draw_overlay(frame.rgb(), result, outcome.labels)
