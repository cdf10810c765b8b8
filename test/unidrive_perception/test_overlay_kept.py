# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What overlays keep from one image to the next, and that it is freed."""

import gc
import sys

import numpy as np

from unidrive_perception.labels import BDD100K_LABELS
from unidrive_perception.overlay import draw_overlay, forget
from unidrive_perception.overlay.kept import kept
from unidrive_perception.predictor import Prediction

SIZE = (720, 1280)


def test_it_is_kept_and_freed():
    made = []

    @kept(2)
    def make(number):
        made.append(number)
        return [number]

    assert make(1) is make(1) and make(2) == [2] and made == [1, 2]
    make(3)  # one too many
    assert make(1) == [1] and made == [1, 2, 3, 1]
    forget()
    assert make(1) == [1] and made == [1, 2, 3, 1, 1]


def draw(numbers):
    """Overlays of ten objects, each time with other tracks."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for number in numbers:
        scores = np.linspace(0.1, 0.9, 10, dtype=np.float32)
        boxes = np.array([[100 * i, 300, 100 * i + 80, 500] for i in range(10)], np.float32)
        tracks = np.arange(10) + 10 * number
        shown = Prediction(SIZE, boxes, scores, np.arange(10), None, None, track_ids=tracks)
        draw_overlay(image, shown, BDD100K_LABELS)


def test_drawings_are_freed():
    draw([0])
    forget()
    gc.collect()
    before = sys.getallocatedblocks()
    draw(range(200))
    gc.collect()
    assert sys.getallocatedblocks() > before + 1500  # each word is an array and what it is of
    forget()
    gc.collect()
    assert sys.getallocatedblocks() < before + 500
