# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of the drivable area: polygons (DrivableArea) and a grid (DrivableGrid).

``make`` is a factory of :mod:`unidrive_perception.messages`. Where the model lacks the task, or it
is switched off, a message has no polygons or no layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unidrive_perception.drivable import drivable_grid, drivable_polygons
from unidrive_perception.labels import LabelTable
from unidrive_perception.message_factories import Message, MessageFactory
from unidrive_perception.messages import OWN
from unidrive_perception.predictor import Prediction


def drivable_area_message(
    make: MessageFactory,
    header: Message,
    prediction: Prediction,
    labels: Mapping[str, LabelTable],
    tolerance_px: float,
) -> Message:
    """Make a DrivableArea; ``tolerance_px`` is how far a border may be from that of the mask."""
    height, width = prediction.image_size
    polygons = []
    if prediction.drivable is not None:
        table = labels['drivable']
        for polygon in drivable_polygons(
            prediction.drivable, table, prediction.image_size, tolerance_px
        ):
            polygons.append(
                make(
                    OWN + 'DrivablePolygon',
                    class_id=polygon.class_id,
                    class_name=table.names[polygon.class_id],
                    outline=_polygon(make, polygon.outline),
                    holes=[_polygon(make, hole) for hole in polygon.holes],
                )
            )
    return make(
        OWN + 'DrivableArea',
        header=header,
        image_height=height,
        image_width=width,
        polygons=polygons,
    )


def drivable_grid_message(
    make: MessageFactory,
    header: Message,
    prediction: Prediction,
    labels: Mapping[str, LabelTable],
    rows: int,
    columns: int,
) -> Message:
    """Make a DrivableGrid of ``rows`` × ``columns`` cells."""
    height, width = prediction.image_size
    layers = []
    if prediction.drivable is not None:
        table = labels['drivable']
        for class_id, shares in drivable_grid(prediction.drivable, table, rows, columns).items():
            layers.append(
                make(
                    OWN + 'DrivableGridLayer',
                    class_id=class_id,
                    class_name=table.names[class_id],
                    data=make.uint8_array(shares),
                )
            )
    return make(
        OWN + 'DrivableGrid',
        header=header,
        image_height=height,
        image_width=width,
        rows=rows,
        columns=columns,
        layers=layers,
    )


def _polygon(make: MessageFactory, points: np.ndarray) -> Message:
    return make(
        'geometry_msgs/msg/Polygon',
        points=[make('geometry_msgs/msg/Point32', x=x, y=y, z=0.0) for x, y in points.tolist()],
    )
