# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in a page that is one file: made smaller, and written into it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_QUALITY = 85


def data_uri(encoded: bytes, width: int) -> str | None:
    """An encoded picture as JPEG of at most ``width`` pixels; None where it is no picture."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    if image is None:
        return None
    if image.shape[1] > width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return 'data:image/jpeg;base64,' + base64.b64encode(jpeg.tobytes()).decode()


def worst_pictures(
    root: Path, dataset: str, task: str, worst: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """``{image, score, picture}`` of each of the worst images, the worst first.

    ``root`` has the pictures ``DATASET/TASK/IMAGE.jpg`` that evaluation stored; ``picture`` is
    None where one is missing.
    """
    return [
        {
            'image': entry['image'],
            'score': entry['score'],
            'picture': _stored(root, f'{dataset}/{task}/{entry["image"]}.jpg'),
        }
        for entry in worst
    ]


def _stored(root: Path, name: str) -> str | None:
    """A name comes from data: it must not lead out of ``root``."""
    path = (root / name).resolve()
    if root.resolve() not in path.parents or not path.is_file():
        return None
    return data_uri(path.read_bytes(), width=640)
