# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""nuImages into the BDD100K layout: the key frames of all six cameras.

Reads the official tables (``v1.0-train``, ``v1.0-val``, ``v1.0-test``; schema:
``docs/schema_nuimages.md`` of nuscenes-devkit). The mini release has no split: every fifth of its
key frames is ``val``. The test release has no labels: its images are written without any.

- **Boxes**: see ``_BOXES``; traffic lights, signs and trains are not annotated. A cycle's box
  holds its rider too: with one it becomes a rider's box, and an ignored one of the cycle. What
  BDD100K has no class for but would confuse with one of its own is ignored: neither learned nor
  counted. The rest (animals, cones, barriers, debris) is left out.
- **Semantic**: see ``_SEMANTIC``, by instance masks. Every other pixel is 255, unknown: no
  sidewalk, building or sky is annotated.
- **Drivable**: ``flat.driveable_surface`` is direct, everything else background. There is no
  direct/alternative split: it is *any* surface a car could drive on, without regard for traffic
  rules. An image without such a surface gets no drivable label.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION, SEMANTIC, UNKNOWN
from unidrive_training.data.bdd100k import Bdd100kWriter
from unidrive_training.data.convert import MissingSplit
from unidrive_training.data.scalabel import FrameFile

# Category → detection class, and whether its boxes are ignored.
_BOXES = {
    'human.pedestrian.adult': ('pedestrian', False),
    'human.pedestrian.child': ('pedestrian', False),
    'human.pedestrian.construction_worker': ('pedestrian', False),
    'human.pedestrian.police_officer': ('pedestrian', False),
    'human.pedestrian.personal_mobility': ('pedestrian', True),  # with the scooter or board
    'human.pedestrian.stroller': ('pedestrian', True),
    'human.pedestrian.wheelchair': ('pedestrian', True),
    'static_object.bicycle_rack': ('bicycle', True),  # one box for many bicycles
    'vehicle.bicycle': ('bicycle', False),
    'vehicle.bus.bendy': ('bus', False),
    'vehicle.bus.rigid': ('bus', False),
    'vehicle.car': ('car', False),
    'vehicle.construction': ('truck', True),
    'vehicle.emergency.ambulance': ('truck', True),
    'vehicle.emergency.police': ('car', True),  # of any kind, motorcycles too
    'vehicle.motorcycle': ('motorcycle', False),
    'vehicle.trailer': ('truck', True),
    'vehicle.truck': ('truck', False),
}
_SEMANTIC = {
    'flat.driveable_surface': 'road',
    'human.pedestrian.adult': 'person',
    'human.pedestrian.child': 'person',
    'human.pedestrian.construction_worker': 'person',
    'human.pedestrian.police_officer': 'person',
    'vehicle.bicycle': 'bicycle',
    'vehicle.bus.bendy': 'bus',
    'vehicle.bus.rigid': 'bus',
    'vehicle.car': 'car',
    'vehicle.motorcycle': 'motorcycle',
    'vehicle.truck': 'truck',
}
_CYCLES = ('vehicle.bicycle', 'vehicle.motorcycle')
_RIDDEN, _RIDERLESS = 'cycle.with_rider', 'cycle.without_rider'
_SURFACE = 'flat.driveable_surface'
_DIRECT, _BACKGROUND = 0, 2


@dataclass
class _Annotation:
    """A row of surface_ann or object_ann; ``mask``: {size, counts} with base64 counts, or None."""

    token: str
    category: str
    mask: dict | None
    box: list[float] | None = None
    attributes: tuple[str, ...] = ()


@dataclass
class _KeyFrame:
    """``image``: below the dataset's folder; ``size``: (height, width)."""

    image: str
    size: tuple[int, int]
    surfaces: list[_Annotation] = field(default_factory=list)
    objects: list[_Annotation] = field(default_factory=list)


def convert(source: Path, out: Path, split: str) -> int:
    """Write the key frames of a split; returns how many."""
    tables = _tables(source, split)
    frames = _key_frames(tables)
    labelled = any(frame.objects or frame.surfaces for frame in frames)
    if tables.name == 'v1.0-mini':
        frames = [f for i, f in enumerate(frames) if (i % 5 == 4) == (split == 'val')]
    with Bdd100kWriter(out, split, annotated=_annotated()) as writer:
        for frame in tqdm(frames, desc=f'nuimages {split}', unit='image', disable=None):
            image = source / frame.image
            if not image.is_file():
                raise UserError(f'{image} is missing; unpack the samples of nuImages there')
            writer.add(image.stem, image, **(_labels(frame, tables) if labelled else {}))
    return len(frames)


def _tables(source: Path, split: str) -> Path:
    mini = source / 'v1.0-mini'
    official = any((source / f'v1.0-{name}').is_dir() for name in ('train', 'val'))
    if mini.is_dir() and not official and split in ('train', 'val'):
        return mini
    tables = source / f'v1.0-{split}'
    if not tables.is_dir():
        raise MissingSplit(
            f'{source}: no v1.0-{split}; give the folder of nuImages that holds v1.0-train, '
            'v1.0-val and samples, or v1.0-mini and samples'
        )
    return tables


def _annotated() -> list[str]:
    return sorted({'rider', *(name for name, _ in _BOXES.values())})


def _key_frames(tables: Path) -> list[_KeyFrame]:
    """The key frames of a release with their annotations, sorted by file name."""
    frames = {}
    fields = ('token', 'is_key_frame', 'filename', 'width', 'height')
    for token, is_key_frame, name, width, height in _rows(tables, 'sample_data', *fields):
        if is_key_frame:
            frames[token] = _KeyFrame(name, (height, width))
    categories, attributes = (
        dict(_rows(tables, table, 'token', 'name')) for table in ('category', 'attribute')
    )
    common = ('sample_data_token', 'token', 'category_token', 'mask')
    try:
        for frame, token, category, mask in _rows(tables, 'surface_ann', *common):
            frames[frame].surfaces.append(_Annotation(token, categories[category], mask))
        rows = _rows(tables, 'object_ann', *common, 'bbox', 'attribute_tokens')
        for frame, token, category, mask, box, has in rows:
            annotation = _Annotation(
                token, categories[category], mask, box, tuple(attributes[a] for a in has)
            )
            frames[frame].objects.append(annotation)
    except KeyError as error:
        raise UserError(
            f'{tables}: an annotation names {error}, which no other table has; '
            'unpack the metadata of nuImages again'
        ) from error
    return sorted(frames.values(), key=lambda frame: frame.image)


def _rows(tables: Path, table: str, *fields: str) -> Iterator[tuple[Any, ...]]:
    """These fields of every row; a whole table of a million rows would not fit in memory."""
    path = tables / f'{table}.json'
    try:
        for row in FrameFile(path):
            yield tuple([row[name] for name in fields])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path}: no nuImages table ({error!r}); unpack the metadata of nuImages again'
        ) from error


def _labels(frame: _KeyFrame, tables: Path) -> dict[str, np.ndarray]:
    """What ``Bdd100kWriter.add`` takes."""
    labels = _boxes(frame.objects)
    # Columns first, as in the run lengths: painting is then four times as fast.
    semantic = np.full(frame.size[::-1], UNKNOWN, np.uint8)
    drivable = np.full(frame.size[::-1], _BACKGROUND, np.uint8)
    for annotation in (*frame.surfaces, *sorted(frame.objects, key=lambda a: a.token)):
        pixels = _pixels(annotation, frame.size, tables)
        if pixels is not None:
            semantic[pixels] = _semantic_id(annotation)
            drivable[pixels] = _DIRECT if annotation.category == _SURFACE else _BACKGROUND
    if (semantic != UNKNOWN).any():
        labels['semantic'] = np.ascontiguousarray(semantic.T)
    if any(annotation.category == _SURFACE for annotation in frame.surfaces):
        labels['drivable'] = np.ascontiguousarray(drivable.T)
    return labels


def _boxes(objects: list[_Annotation]) -> dict[str, np.ndarray]:
    boxes, class_ids, ignored = [], [], []
    for annotation in objects:
        found = [_BOXES[annotation.category]] if annotation.category in _BOXES else []
        if annotation.category in _CYCLES and _RIDERLESS not in annotation.attributes:
            found = [(found[0][0], True)]
            if _RIDDEN in annotation.attributes:
                found.append(('rider', False))
        for name, is_ignored in found:
            boxes.append(annotation.box)
            class_ids.append(DETECTION.names.index(name))
            ignored.append(is_ignored)
    return {
        'boxes': np.asarray(boxes, np.float32).reshape(-1, 4),
        'class_ids': np.asarray(class_ids, np.int64),
        'ignored': np.asarray(ignored, bool),
    }


def _semantic_id(annotation: _Annotation) -> int:
    name = _SEMANTIC.get(annotation.category)
    ridden = annotation.category in _CYCLES and _RIDERLESS not in annotation.attributes
    return UNKNOWN if name is None or ridden else SEMANTIC.names.index(name)


def _pixels(annotation: _Annotation, size: tuple[int, int], tables: Path) -> np.ndarray | None:
    """(width, height) bool, or ``None`` where nothing of the object can be seen."""
    if annotation.mask is None:
        return None
    try:
        if tuple(annotation.mask['size']) != size:
            raise ValueError(f'size {annotation.mask["size"]}, of its image {list(size)}')
        counts = base64.b64decode(annotation.mask['counts'], validate=True)
        runs = {'size': list(size), 'counts': counts}
        mask = rle.decode(runs)
        if np.count_nonzero(mask) != rle.area(runs):  # what they do not reach may hold anything
            raise ValueError('its run lengths do not fill it')
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{tables}: the mask of annotation {annotation.token} cannot be read ({error}); '
            'unpack the metadata of nuImages again'
        ) from error
    return mask.T.view(bool)
