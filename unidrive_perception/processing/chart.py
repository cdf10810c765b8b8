# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``summary.png``: objects and latency over the time of the recording.

Drawn with OpenCV: matplotlib is not among what a robot has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from unidrive_perception.labels import Color
from unidrive_perception.processing.tally import Tally

WIDTH, HEIGHT = 1200, 760
_PANELS = {'top': (70, 350), 'bottom': (440, 700)}  # first and last row of each plot area
_LEFT, _RIGHT = 80, 980
_SCALE = 2  # everything is drawn larger, then averaged: even lines of a pixel look smooth
_LINES = 7
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_COLORS = (
    *((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)),
    *((140, 86, 75), (227, 119, 194)),
)  # of matplotlib; those of the classes are partly too dark to be told apart
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_POINTS = 300  # of a line: more frames than that are averaged


def draw_chart(title: str, tally: Tally, times: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the picture (HEIGHT, WIDTH, 3) uint8 RGB; ``times``: stage → ms of each frame."""
    canvas = _Canvas()
    canvas.text((_LEFT, 28), title, 0.62, bold=True)
    seconds, counts = tally.seconds, tally.counts
    order = np.argsort(-counts.sum(0, dtype=np.int64), kind='stable')[:_LINES]
    objects = {tally.classes[i]: counts[:, i].astype(float) for i in order if counts[:, i].any()}
    canvas.panel('top', 'objects per frame', seconds, objects)
    shown = {stage: ms for stage, ms in times.items() if ms.any()}
    canvas.panel(
        'bottom', 'latency per frame [ms], stages on top of each other', seconds, shown, 1
    )
    length = _run_length(len(seconds))
    averaged = f', means of {length} frames' if length > 1 else ''
    canvas.text(((_LEFT + _RIGHT) // 2 - 70, HEIGHT - 16), f'time of recording [s]{averaged}', 0.5)
    return cv2.resize(canvas.pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


class _Canvas:
    def __init__(self) -> None:
        self.pixels = np.full((HEIGHT * _SCALE, WIDTH * _SCALE, 3), 255, np.uint8)

    def panel(
        self,
        place: str,
        title: str,
        seconds: np.ndarray,
        lines: Mapping[str, np.ndarray],
        stacked: bool = False,
    ) -> None:
        """Draw lines over time with axes and a legend; stacked ones are filled areas."""
        top, bottom = _PANELS[place]
        x, means = _averaged(seconds, np.array(list(lines.values())).reshape(-1, len(seconds)))
        heights = np.cumsum(means, axis=0) if stacked else means
        x_ticks, y_ticks = (
            _ticks(float(seconds.max(initial=0))),
            _ticks(float(heights.max(initial=0))),
        )
        self.text((_LEFT, top - 12), title, 0.52)
        self._grid(top, bottom, x_ticks, y_ticks)
        columns = _LEFT + x / x_ticks[-1] * (_RIGHT - _LEFT)
        for i in reversed(range(len(heights))):
            rows = bottom - heights[i] / y_ticks[-1] * (bottom - top)
            self._line(columns, rows, _COLORS[i], bottom if stacked else None)
        for i, name in enumerate(lines):
            row = top + 14 + 24 * i
            self._box((_RIGHT + 20, row - 9), (_RIGHT + 38, row + 3), _COLORS[i])
            self.text((_RIGHT + 46, row + 2), name, 0.5)

    def _grid(
        self, top: int, bottom: int, x_ticks: Sequence[float], y_ticks: Sequence[float]
    ) -> None:
        for value in x_ticks:
            column = round(_LEFT + value / x_ticks[-1] * (_RIGHT - _LEFT))
            self._box((column, top), (column, bottom), _GRID)
            self.text((column - 4 * len(f'{value:g}'), bottom + 22), f'{value:g}', 0.45)
        for value in y_ticks:
            row = round(bottom - value / y_ticks[-1] * (bottom - top))
            self._box((_LEFT, row), (_RIGHT, row), _GRID)
            self.text((_LEFT - 12 - 9 * len(f'{value:g}'), row + 5), f'{value:g}', 0.45)

    def _line(self, x: np.ndarray, y: np.ndarray, color: Color, floor: int | None) -> None:
        points = np.round(np.stack([x, y], 1) * _SCALE).astype(np.int32)
        if floor is None:
            cv2.polylines(self.pixels, [points], False, color, 2 * _SCALE, cv2.LINE_AA)
        else:
            ends = [[points[-1, 0], floor * _SCALE], [points[0, 0], floor * _SCALE]]
            cv2.fillPoly(self.pixels, [np.concatenate([points, np.array(ends, np.int32)])], color)

    def _box(self, low: tuple[int, int], high: tuple[int, int], color: Color) -> None:
        low, high = (tuple(v * _SCALE for v in corner) for corner in (low, high))
        cv2.rectangle(self.pixels, low, high, color, cv2.FILLED)

    def text(self, at: tuple[int, int], text: str, size: float, bold: bool = False) -> None:
        """Write ``text`` with the left end of its baseline at (x, y)."""
        x, y = at
        thickness = _SCALE + (1 if bold else 0)
        place = (x * _SCALE, y * _SCALE)
        cv2.putText(self.pixels, text, place, _FONT, size * _SCALE, _INK, thickness, cv2.LINE_AA)


def _averaged(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of (frames,) and (lines, frames) over runs of frames; never more than _POINTS.

    The runs are alike but for the last, or a part of a recording would look smoother.
    """
    begins = np.arange(0, len(x), _run_length(len(x)))
    counts = np.diff([*begins, len(x)])
    return np.add.reduceat(x, begins) / counts, np.add.reduceat(values, begins, axis=1) / counts


def _run_length(frames: int) -> int:
    """How many frames one point of a line stands for."""
    return max(1, -(-frames // _POINTS))


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 to ``highest`` or a bit more, some five of them."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** np.floor(np.log10(highest / 5))
    step = next(s * power for s in (1, 2, 5, 10) if highest / (s * power) <= 6)
    return [round(i * step, 10) for i in range(int(np.ceil(highest / step)) + 1)]
