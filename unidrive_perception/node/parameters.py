# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the perception node, in one table with their meaning and limits.

``config/perception.param.yaml`` repeats the names and defaults for users; a test keeps them equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from unidrive_perception.bundle import TASKS
from unidrive_perception.node.parameter_spec import (
    USE_BUNDLE_THRESHOLD,
    CameraNames,
    Choices,
    Limit,
    ParameterError,
    ParameterSpec,
    ScoreThreshold,
    TopicName,
)
from unidrive_perception.overlay import MASKS
from unidrive_perception.predictor import DEVICES

__all__ = ['PARAMETERS', 'TABLE', 'USE_BUNDLE_THRESHOLD', 'ParameterError', 'ParameterSpec']

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')

PARAMETERS = (
    ParameterSpec(
        'model_path',
        '',
        'Folder of the model bundle; empty for the one that comes with the package. A new one is '
        'loaded aside and takes over between two images; the old one stays if it fails.',
        read_only=False,
    ),
    ParameterSpec(
        'device',
        'auto',
        'Where the model runs. auto: a CUDA device if there is one, else the CPU; '
        'openvino-bfloat16: the CPU, in half the precision, faster where it has bfloat16.',
        choices=DEVICES,
    ),
    ParameterSpec('threads', 0, 'CPU threads of the model; 0 for one per core.', low=0, high=256),
    CameraNames(
        'cameras',
        [''],
        'Names of the cameras. Camera front listens to front/image and its results are below '
        '~/front/; an empty name, for a single camera, leaves that part out.',
    ),
    TopicName(
        'image_topic',
        'image',
        'Topic of a single camera; that of camera NAME is NAME.image_topic. Relative ones may be '
        'remapped.',
    ),
    ParameterSpec(
        'image_transport',
        'raw',
        'raw subscribes sensor_msgs/Image; compressed subscribes sensor_msgs/CompressedImage on '
        'the topic with /compressed appended. NAME.image_transport holds for camera NAME.',
        choices=TRANSPORTS,
    ),
    ParameterSpec(
        'image_reliability',
        'best_effort',
        'Reliability that the image subscription asks for. best_effort takes images of every '
        'publisher; reliable only those of reliable ones.',
        choices=RELIABILITIES,
    ),
    ParameterSpec(
        'result_reliability',
        'reliable',
        'Reliability that the results offer. reliable suits every subscriber; best_effort never '
        'waits for a slow one.',
        choices=RELIABILITIES,
    ),
    ParameterSpec(
        'max_batch',
        0,
        'Images of different cameras that go through the model together; 0: as many as there are '
        'cameras on CUDA, 1 on a CPU, which gains nothing.',
        low=0,
        high=16,
    ),
    ParameterSpec(
        'batch_wait_ms',
        5.0,
        'Milliseconds that the first image waits for those of the other cameras, where max_batch '
        'is more than 1.',
        read_only=False,
        low=0.0,
        high=1000.0,
    ),
    ScoreThreshold(
        'score_threshold',
        USE_BUNDLE_THRESHOLD,
        "Smallest score of a published detection, 0 to 1; -1 for the model's own.",
        read_only=False,
        low=-1.0,
        high=1.0,
    ),
    Choices(
        'tasks',
        list(TASKS),
        'Tasks whose results are published; the others are empty.',
        read_only=False,
        choices=TASKS,
    ),
    ParameterSpec(
        'mask_downscale',
        1,
        'Masks are published at 1/n of the height and width of the image, to save transport.',
        read_only=False,
        low=1,
        high=16,
    ),
    ParameterSpec(
        'tracking',
        False,
        'Follow objects from image to image: Detection.track_id.',
        read_only=False,
    ),
    ParameterSpec(
        'max_rate',
        0.0,
        'Images per second and camera that are worked on, the others are passed over; 0: all.',
        read_only=False,
        low=0.0,
        high=1000.0,
    ),
    ParameterSpec(
        'max_age',
        0.0,
        'Seconds since its stamp after which an image is skipped, on the ROS clock; 0: never.',
        read_only=False,
        low=0.0,
        high=3600.0,
    ),
    ParameterSpec(
        'lazy',
        True,
        'Listen to a camera only while somebody listens to its results.',
        read_only=False,
    ),
    ParameterSpec(
        'no_image_warning_s',
        5.0,
        'Seconds without an image after which the node warns and diagnostics turn stale.',
        read_only=False,
        low=0.1,
        high=3600.0,
    ),
    ParameterSpec(
        'overlay_masks',
        'both',
        'Masks that tint the overlay.',
        read_only=False,
        choices=MASKS,
    ),
    ParameterSpec(
        'overlay_opacity',
        1.0,
        'Strength of the tint, 0 to 1.',
        read_only=False,
        low=0.0,
        high=1.0,
    ),
    ParameterSpec(
        'overlay_legend',
        True,
        'Draw the classes of the picture along its upper edge.',
        read_only=False,
    ),
    ParameterSpec(
        'overlay_status', True, 'Draw latency, rate and drops at the bottom.', read_only=False
    ),
    ParameterSpec(
        'polygon_tolerance',
        4.0,
        'Pixels by which an outline of ~/drivable_area may leave that of the mask.',
        read_only=False,
        low=0.0,
        high=100.0,
    ),
    ParameterSpec('grid_rows', 18, 'Rows of ~/drivable_grid.', read_only=False, low=1, high=256),
    ParameterSpec(
        'grid_columns', 32, 'Columns of ~/drivable_grid.', read_only=False, low=1, high=256
    ),
    Limit(
        'watchdog_s',
        20.0,
        'Seconds without a turn of its executor after which the process ends, with the stacks of '
        'its threads, so that it can be started again; 0: never.',
        low=0.0,
        least=15.0,
        high=3600.0,
    ),
    ParameterSpec(
        'autostart',
        True,
        'Configure and activate at start; false where a lifecycle manager does that.',
    ),
)

TABLE = {spec.name: spec for spec in PARAMETERS}


def of_camera(name: str, settings: Mapping[str, Any]) -> tuple[ParameterSpec, ...]:
    """The parameters that a named camera has beside those of all; none for the empty name."""
    if not name:
        return ()
    topic = TopicName(
        f'{name}.image_topic', f'{name}/image', f'Topic of camera {name}. May be remapped.'
    )
    transport = ParameterSpec(
        f'{name}.image_transport',
        settings['image_transport'],
        f'As image_transport, for camera {name}.',
        choices=TRANSPORTS,
    )
    return topic, transport


def misspelt(names: Iterable[str], known: Collection[str] = tuple(TABLE)) -> dict[str, str]:
    """Names that are not ``known`` but nearly so, with the one that was probably meant.

    ROS ignores unknown parameters without a word, and a parameter file may serve several nodes,
    so only what looks like a slip is reported.
    """
    meant = {}
    for name in names:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if name not in known and close:
            meant[name] = close[0]
    return meant
