# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Publishes the results of one image, and builds only those messages that somebody listens to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unidrive_perception.labels import LabelTable
from unidrive_perception.messages import (
    Message,
    MessageFactory,
    detections_message,
    image_message,
    mask_message,
    result_message,
)
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Prediction

RESULT_TYPES = {
    'detections': 'DetectionArray',
    'semantic_mask': 'SegmentationMask',
    'drivable_mask': 'SegmentationMask',
    'result': 'PerceptionResult',
}
"""Topic below ``~/`` -> type in unidrive_msgs; :class:`Outputs` publishes these and overlay."""


class Outputs:
    """The result publishers of the node; each needs ``publish`` and ``get_subscription_count``."""

    def __init__(
        self, publishers: Mapping[str, Any], make: MessageFactory, labels: Mapping[str, LabelTable]
    ) -> None:
        """Publish with ``publishers``, by topic name, what ``make`` makes."""
        self._publishers, self._make, self._labels = publishers, make, labels

    def publish(self, header: Message, rgb: np.ndarray, prediction: Prediction) -> None:
        """Publish what the network says about ``rgb`` under the header of its image."""
        wanted = {n for n, p in self._publishers.items() if p.get_subscription_count()}
        for name, message in self._results(header, prediction, wanted).items():
            if name in wanted:
                self._publishers[name].publish(message)
        if 'overlay' in wanted:
            picture = draw_overlay(rgb, prediction, self._labels)
            self._publishers['overlay'].publish(image_message(self._make, header, picture))

    def _results(
        self, header: Message, prediction: Prediction, wanted: set[str]
    ) -> dict[str, Message]:
        """The wanted messages and, where the result is wanted, its parts: each is built once."""
        make, size = self._make, prediction.image_size
        whole = 'result' in wanted
        messages = {}
        if whole or 'detections' in wanted:
            messages['detections'] = detections_message(make, header, prediction, self._labels)
        for task in ('semantic', 'drivable'):
            if whole or f'{task}_mask' in wanted:
                mask = getattr(prediction, task)
                messages[f'{task}_mask'] = mask_message(make, header, mask, task, size)
        if whole:
            messages['result'] = result_message(make, header, *messages.values())
        return messages
