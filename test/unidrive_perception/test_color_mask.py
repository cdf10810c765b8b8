# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks as pictures: the official colour of every class."""

import numpy as np

from unidrive_perception.labels import DRIVABLE, SEMANTIC, UNKNOWN
from unidrive_perception.overlay import color_mask


def test_every_class_has_its_colour_and_the_rest_is_black():
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    picture = color_mask(mask, SEMANTIC)
    assert (picture.shape, picture.dtype) == ((8, 32, 3), np.uint8)
    colors = picture.reshape(-1, 3).tolist()
    assert colors[: len(SEMANTIC)] == [list(info.color) for info in SEMANTIC.classes]
    assert not any(map(any, colors[len(SEMANTIC) :])) and colors[UNKNOWN] == [0, 0, 0]


def test_mask_that_is_a_view():
    mask = np.array([[0, 1, 2, 255]], np.uint8)[:, ::-1]
    assert color_mask(mask, DRIVABLE)[0, 3].tolist() == [219, 94, 86]
