# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Every message that can be published about one image, each built when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from unidrive_perception.drivable_messages import drivable_area_message, drivable_grid_message
from unidrive_perception.labels import LabelTable
from unidrive_perception.message_factories import Message, MessageFactory
from unidrive_perception.messages import (
    detections_message,
    image_message,
    jpeg_message,
    label_image_message,
    mask_message,
    result_message,
)
from unidrive_perception.overlay import OverlayStyle, color_mask, draw_overlay
from unidrive_perception.predictor import Prediction
from unidrive_perception.vision_messages import detection_2d_array_message

OVERLAY_QUALITY = 80
"""JPEG quality of overlay/compressed: a picture for people."""

TOPIC_TYPES = {
    'result': 'unidrive_msgs/msg/PerceptionResult',
    'detections': 'unidrive_msgs/msg/DetectionArray',
    'semantic_mask': 'unidrive_msgs/msg/SegmentationMask',
    'drivable_mask': 'unidrive_msgs/msg/SegmentationMask',
    'drivable_area': 'unidrive_msgs/msg/DrivableArea',
    'drivable_grid': 'unidrive_msgs/msg/DrivableGrid',
    'semantic_image': 'sensor_msgs/msg/Image',
    'drivable_image': 'sensor_msgs/msg/Image',
    'semantic_color': 'sensor_msgs/msg/Image',
    'drivable_color': 'sensor_msgs/msg/Image',
    'detections_2d': 'vision_msgs/msg/Detection2DArray',
    'camera_info': 'sensor_msgs/msg/CameraInfo',
    'overlay': 'sensor_msgs/msg/Image',
    'overlay/compressed': 'sensor_msgs/msg/CompressedImage',
}
"""Topic of a camera -> type, in the order of publishing: what machines use before pictures.

An attribute of :class:`FrameMessages` has the name of each, with ``_`` for ``/``.
"""


class FrameMessages:
    """The messages of one image; parts that several of them hold are built once.

    A message that there is nothing for (the colours of a task that the model lacks, a camera
    without CameraInfo) is ``None``.
    """

    def __init__(
        self,
        make: MessageFactory,
        header: Message,
        rgb: np.ndarray,
        prediction: Prediction,
        labels: Mapping[str, LabelTable],
        settings: Mapping[str, Any],
        info: Message | None = None,
        status: str = '',
    ) -> None:
        """Take what ``prediction`` says about ``rgb`` under the header of its image.

        ``settings`` are the node's parameters, ``info`` the CameraInfo of the camera, ``status``
        the line at the bottom of the overlay.
        """
        self._make, self._header, self._rgb = make, header, rgb
        self._prediction, self._labels, self._settings = prediction, labels, settings
        self._info, self._status = info, status

    def get(self, topic: str) -> Message | None:
        """Return the message of a topic in :data:`TOPIC_TYPES`."""
        return getattr(self, topic.replace('/', '_'))

    @cached_property
    def result(self) -> Message:
        """Everything about the image in one message."""
        parts = self.detections, self.semantic_mask, self.drivable_mask
        return result_message(self._make, self._header, *parts)

    @cached_property
    def detections(self) -> Message:
        """The objects."""
        return detections_message(self._make, self._header, self._prediction, self._labels)

    @cached_property
    def semantic_mask(self) -> Message:
        """What every pixel is."""
        return self._mask('semantic')

    @cached_property
    def drivable_mask(self) -> Message:
        """Where one may drive."""
        return self._mask('drivable')

    @cached_property
    def drivable_area(self) -> Message:
        """Where one may drive, as polygons."""
        tolerance = self._settings['polygon_tolerance']
        return drivable_area_message(
            self._make, self._header, self._prediction, self._labels, tolerance
        )

    @cached_property
    def drivable_grid(self) -> Message:
        """Where one may drive, as a grid."""
        size = self._settings['grid_rows'], self._settings['grid_columns']
        return drivable_grid_message(
            self._make, self._header, self._prediction, self._labels, *size
        )

    @cached_property
    def semantic_image(self) -> Message | None:
        """What every pixel is, as an image of class ids."""
        return self._label_image('semantic')

    @cached_property
    def drivable_image(self) -> Message | None:
        """Where one may drive, as an image of class ids."""
        return self._label_image('drivable')

    @cached_property
    def semantic_color(self) -> Message | None:
        """What every pixel is, in the colours of the classes."""
        return self._color('semantic')

    @cached_property
    def drivable_color(self) -> Message | None:
        """Where one may drive, in the colours of the classes."""
        return self._color('drivable')

    @cached_property
    def detections_2d(self) -> Message:
        """The objects, for those who know vision_msgs."""
        return detection_2d_array_message(self._make, self._header, self._prediction, self._labels)

    @cached_property
    def camera_info(self) -> Message | None:
        """The calibration of the camera, with the stamp of this image."""
        if self._info is not None:
            self._info.header = self._header
        return self._info

    @cached_property
    def overlay(self) -> Message:
        """What the model sees, drawn over the image."""
        return image_message(self._make, self._header, self._picture)

    @cached_property
    def overlay_compressed(self) -> Message:
        """The same as JPEG."""
        return jpeg_message(self._make, self._header, self._picture, OVERLAY_QUALITY)

    @cached_property
    def _picture(self) -> np.ndarray:
        settings = self._settings
        style = OverlayStyle(
            masks=settings['overlay_masks'],
            opacity=settings['overlay_opacity'],
            legend=settings['overlay_legend'],
        )
        status = self._status if settings['overlay_status'] else ''
        return draw_overlay(self._rgb, self._prediction, self._labels, style, status)

    def _mask(self, task: str) -> Message:
        mask = getattr(self._prediction, task)
        return mask_message(self._make, self._header, mask, task, self._prediction.image_size)

    def _label_image(self, task: str) -> Message | None:
        message = getattr(self, f'{task}_mask')
        return label_image_message(self._make, message) if message.height else None

    def _color(self, task: str) -> Message | None:
        mask = getattr(self._prediction, task)
        if mask is None:
            return None
        picture = color_mask(mask, self._labels[task])
        return image_message(self._make, self._header, picture)
