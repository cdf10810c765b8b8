# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Arrays to messages and back, the same for a live node and for a bag.

Every builder takes ``make``, a factory of :mod:`~unidrive_perception.message_factories`. A header
is passed on as it is, the same object, so stamp and frame_id of a result are those of its image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unidrive_perception.image_codec import picture_to_compressed, rgb_to_image_data
from unidrive_perception.labels import ClassInfo, LabelTable
from unidrive_perception.message_factories import Message, MessageFactory
from unidrive_perception.node.diagnostics import ENDS, STAGES, Counters

if TYPE_CHECKING:
    from unidrive_perception.predictor import Prediction

OWN = 'unidrive_msgs/msg/'
MASK_TASKS = {'semantic': 1, 'drivable': 2}
"""Task name -> the constant in SegmentationMask.msg."""


def make_header(make: MessageFactory, stamp_ns: int, frame_id: str) -> Message:
    """Make a std_msgs/Header for an image that had none (a video file, an image folder)."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = make('builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec)
    return make('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)


def stamp_of(header: Message) -> int:
    """Stamp of a std_msgs/Header in ns."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def image_message(
    make: MessageFactory, header: Message, rgb: np.ndarray, encoding: str = 'rgb8'
) -> Message:
    """Make a sensor_msgs/Image of ``rgb`` (H, W, 3) uint8, as 'rgb8', 'bgr8' or 'mono8'."""
    data, step = rgb_to_image_data(rgb, encoding)
    return make(
        'sensor_msgs/msg/Image',
        header=header,
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=step,
        data=make.uint8_array(data),
    )


def compressed_message(
    make: MessageFactory, header: Message, data: np.ndarray, codec: str
) -> Message:
    """Make a sensor_msgs/CompressedImage of the bytes of an image file, e.g. 'jpeg'."""
    return make(
        'sensor_msgs/msg/CompressedImage',
        header=header,
        format=codec,
        data=make.uint8_array(data),
    )


def jpeg_message(make: MessageFactory, header: Message, rgb: np.ndarray, quality: int) -> Message:
    """Make a sensor_msgs/CompressedImage of a picture for people, (H, W, 3) uint8, as JPEG.

    ``quality`` is 1 to 100. A picture with a side that is longer than a JPEG's can be is shrunk.
    """
    data = picture_to_compressed(rgb, 'jpeg', quality)
    return compressed_message(make, header, data, 'rgb8; jpeg compressed bgr8')


def detections_message(
    make: MessageFactory, header: Message, prediction: Prediction, labels: Mapping[str, LabelTable]
) -> Message:
    """Make a DetectionArray of ``boxes`` (N, 4), ``scores``, ``class_ids``, ``track_ids`` (N,).

    ``prediction.image_size`` is (height, width); ``labels['detection']`` gives the class names.
    """
    names = labels['detection'].names if 'detection' in labels else []
    rows = zip(
        prediction.class_ids.tolist(),
        prediction.scores.tolist(),
        prediction.track_ids.tolist(),
        prediction.boxes.tolist(),
        strict=True,
    )
    detections = []
    for class_id, score, track_id, (x_min, y_min, x_max, y_max) in rows:
        box = make(OWN + 'BoundingBox', x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
        detections.append(
            make(
                OWN + 'Detection',
                class_id=class_id,
                class_name=names[class_id],
                score=score,
                track_id=track_id,
                box=box,
            )
        )
    height, width = prediction.image_size
    return make(
        OWN + 'DetectionArray',
        header=header,
        image_height=height,
        image_width=width,
        detections=detections,
    )


def mask_message(
    make: MessageFactory,
    header: Message,
    mask: np.ndarray | None,
    task: str,
    image_size: tuple[int, int],
) -> Message:
    """Make a SegmentationMask of ``mask`` (height, width) uint8 class ids.

    ``task`` is 'semantic' or 'drivable'. None, where the model lacks that task, makes 0 rows; the
    message names the task all the same.
    """
    if mask is None:
        mask = np.empty((0, 0), np.uint8)
    return make(
        OWN + 'SegmentationMask',
        header=header,
        task=MASK_TASKS[task],
        image_height=image_size[0],
        image_width=image_size[1],
        height=mask.shape[0],
        width=mask.shape[1],
        data=make.uint8_array(mask),
    )


def label_image_message(make: MessageFactory, mask: Message) -> Message:
    """Make a sensor_msgs/Image (mono8) of the class ids of a SegmentationMask; shares its data."""
    return make(
        'sensor_msgs/msg/Image',
        header=mask.header,
        height=mask.height,
        width=mask.width,
        encoding='mono8',
        is_bigendian=0,
        step=mask.width,
        data=mask.data,
    )


def result_message(
    make: MessageFactory,
    header: Message,
    detections: Message,
    semantic_mask: Message,
    drivable_mask: Message,
) -> Message:
    """Make a PerceptionResult of the three messages of one frame."""
    return make(
        OWN + 'PerceptionResult',
        header=header,
        detections=detections,
        semantic_mask=semantic_mask,
        drivable_mask=drivable_mask,
    )


def labels_message(
    make: MessageFactory,
    header: Message,
    model_name: str,
    model_sha256: str,
    labels: Mapping[str, LabelTable],
) -> Message:
    """Make the LabelTable message: the classes of each task, empty for a task that is absent."""

    def classes(task: str) -> list[Message]:
        infos = labels[task].classes if task in labels else ()
        return [_class_info(make, info.id, info.name, info.color) for info in infos]

    return make(
        OWN + 'LabelTable',
        header=header,
        model_name=model_name,
        model_sha256=model_sha256,
        detection=classes('detection'),
        semantic=classes('semantic'),
        drivable=classes('drivable'),
    )


def timing_message(
    make: MessageFactory,
    header: Message,
    stages_ms: Mapping[str, float],
    age_ms: float,
    batch_size: int,
    counters: Counters,
) -> Message:
    """Make a FrameTiming of one frame, with the counts of its camera since activation.

    ``stages_ms``: milliseconds of each of :data:`STAGES`; inference is that of the whole batch.
    """
    return make(
        OWN + 'FrameTiming',
        header=header,
        **{f'{stage}_ms': stages_ms[stage] for stage in STAGES},
        age_ms=age_ms,
        batch_size=batch_size,
        received=counters.received,
        **{end: getattr(counters, end) for end in ENDS},
    )


class ResultArrays(NamedTuple):
    """What a received PerceptionResult says: the fields of ``Prediction``, less its timing."""

    image_size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    track_ids: np.ndarray
    semantic: np.ndarray | None
    drivable: np.ndarray | None


def prediction_from_result(message: Message) -> ResultArrays:
    """Return the arrays of a PerceptionResult, from a bag or from a subscription."""
    boxes, scores, class_ids = arrays_from_detections(message.detections)
    return ResultArrays(
        (message.detections.image_height, message.detections.image_width),
        boxes,
        scores,
        class_ids,
        np.array([d.track_id for d in message.detections.detections], np.int64),
        array_from_mask(message.semantic_mask),
        array_from_mask(message.drivable_mask),
    )


def arrays_from_detections(message: Message) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 4) float32, scores (N,) float32 and class ids (N,) int64."""
    boxes = [(d.box.x_min, d.box.y_min, d.box.x_max, d.box.y_max) for d in message.detections]
    scores = [d.score for d in message.detections]
    class_ids = [d.class_id for d in message.detections]
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int64),
    )


def array_from_mask(message: Message) -> np.ndarray | None:
    """Return the (height, width) uint8 class ids of a SegmentationMask, None for one of 0 rows."""
    if not message.height:
        return None
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)


def labels_from_message(message: Message) -> dict[str, LabelTable]:
    """Return the label tables of the tasks that a LabelTable message has classes for."""
    tables = {}
    for task in ('detection', 'semantic', 'drivable'):
        infos = getattr(message, task)
        if infos:
            tables[task] = LabelTable(
                task,
                tuple(ClassInfo(i.id, i.name, (i.red, i.green, i.blue)) for i in infos),
            )
    return tables


def _class_info(
    make: Callable[..., Message], class_id: int, name: str, color: tuple[int, int, int]
) -> Message:
    red, green, blue = color
    return make(OWN + 'ClassInfo', id=class_id, name=name, red=red, green=green, blue=blue)
