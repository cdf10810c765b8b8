# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Results as messages of the common package ``vision_msgs``, where that is installed.

``make`` is a factory of :mod:`unidrive_perception.messages`. The layout is that of vision_msgs 4,
which Humble, Jazzy and Kilted have; LabelInfo came with 4.1, so a Humble that was never updated
(4.0) has only the detections. What is installed is found out by making one, not by the name of
the distribution: :func:`can_make`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unidrive_perception.labels import LabelTable
from unidrive_perception.message_factories import Message, MessageFactory, MessagesMissingError
from unidrive_perception.messages import make_header
from unidrive_perception.predictor import Prediction

VISION = 'vision_msgs/msg/'
DETECTIONS = VISION + 'Detection2DArray'
LABEL_INFO = VISION + 'LabelInfo'

Box = tuple[float, float, float, float]
"""xyxy in pixels."""


def can_make(make: MessageFactory, msgtype: str) -> bool:
    """Say whether ``make`` knows :data:`DETECTIONS` or :data:`LABEL_INFO` as we fill it."""
    try:
        if msgtype == LABEL_INFO:
            return _vision_class(make, 7, 'car').class_id == 7
        header, box = make_header(make, 0, ''), (0.0, 0.0, 2.0, 4.0)
        detection = _detection(make, header, box, 7, 0.5, 3, _no_pose(make))
        # Read back: newer distributions do not check the fields that a message is made with.
        hypothesis, center = detection.results[0].hypothesis, detection.bbox.center
        return (detection.id, hypothesis.class_id, center.position.y) == ('3', '7', 2.0)
    except (ImportError, MessagesMissingError):  # not installed, not in the bag's type store
        return False
    except (AttributeError, AssertionError, TypeError):  # another layout
        return False


def detection_2d_array_message(
    make: MessageFactory, header: Message, prediction: Prediction, labels: Mapping[str, LabelTable]
) -> Message:
    """Make a Detection2DArray; each box is a centre and a size in pixels of the original image.

    ``class_id`` is the number of the class as text, not its name: ObjectHypothesis.msg calls it an
    id to be looked up, LabelInfo is the table to look it up in, and other packages read a number
    there. ``id`` is the track id as text, empty where the object is not followed.
    """
    del labels  # names go out with LabelInfo; the argument is that of all builders
    rows = zip(
        prediction.boxes.tolist(),
        prediction.class_ids.tolist(),
        prediction.scores.tolist(),
        prediction.track_ids.tolist(),
        strict=True,
    )
    pose = _no_pose(make)
    detections = [_detection(make, header, *row, pose) for row in rows]
    return make(DETECTIONS, header=header, detections=detections)


def label_info_message(
    make: MessageFactory, header: Message, table: LabelTable, threshold: float
) -> Message:
    """Make a LabelInfo: the classes of one task, and the smallest score (0..1) that is reported.

    Publish it latched, beside what it explains. 255 in a mask is a pixel without a class, as
    LabelInfo.msg has it for 8 bits, and needs no entry.
    """
    classes = [_vision_class(make, info.id, info.name) for info in table.classes]
    return make(LABEL_INFO, header=header, class_map=classes, threshold=float(threshold))


def _vision_class(make: MessageFactory, class_id: int, name: str) -> Message:
    return make(VISION + 'VisionClass', class_id=class_id, class_name=name)


def _detection(
    make: MessageFactory,
    header: Message,
    box: Box,
    class_id: int,
    score: float,
    track_id: int,
    pose: Message,
) -> Message:
    hypothesis = make(VISION + 'ObjectHypothesis', class_id=str(class_id), score=score)
    result = make(VISION + 'ObjectHypothesisWithPose', hypothesis=hypothesis, pose=pose)
    return make(
        VISION + 'Detection2D',
        header=header,
        results=[result],
        bbox=_bounding_box(make, *box),
        id=str(track_id) if track_id else '',
    )


def _bounding_box(
    make: MessageFactory, x_min: float, y_min: float, x_max: float, y_max: float
) -> Message:
    center = make(VISION + 'Point2D', x=(x_min + x_max) / 2, y=(y_min + y_max) / 2)
    return make(
        VISION + 'BoundingBox2D',
        center=make(VISION + 'Pose2D', position=center, theta=0.0),
        size_x=x_max - x_min,
        size_y=y_max - y_min,
    )


def _no_pose(make: MessageFactory) -> Message:
    """Make the pose in space of an object of which only the place in the image is known."""
    position = make('geometry_msgs/msg/Point', x=0.0, y=0.0, z=0.0)
    orientation = make('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)
    pose = make('geometry_msgs/msg/Pose', position=position, orientation=orientation)
    return make('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=np.zeros(36))
