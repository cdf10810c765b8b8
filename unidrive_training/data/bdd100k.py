# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The one dataset format on disk: BDD100K's official layout, read and written.

::

    ROOT/images/{100k,10k}/{train,val,test}/NAME.jpg
    ROOT/labels/det_20/det_{train,val}.json          Scalabel frames; boxes in pixels
    ROOT/labels/sem_seg/masks/{train,val}/NAME.png   uint8 train ids 0..18, 255 ignored
    ROOT/labels/drivable/masks/{train,val}/NAME.png  uint8 0 direct, 1 alternative, 2 background

An image may lack the label of any task: no frame of its name in the JSON, no mask file. A
detection JSON of the newer form ``{frames, config}`` whose ``config.categories`` names fewer than
the ten categories says that only those are annotated; the others are then *unknown* there, not
absent.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training.data.box_labels import BoxLabels, read_boxes

IMAGE_SETS = ('100k', '10k')
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
_told_of: set[tuple[Path, str]] = set()  # folders and splits that a line was printed about


@dataclass(slots=True)
class Record:
    """One image of a split and where its labels are; ``None`` means this task is not labelled.

    ``pseudo``: the tasks whose label was made by a teacher.
    """

    name: str
    image: Path
    boxes: BoxLabels | None = None
    semantic: Path | None = None
    drivable: Path | None = None
    pseudo: frozenset[str] = frozenset()

    def tasks(self) -> list[str]:
        """Names of the tasks this image has labels for."""
        labels = {'detection': self.boxes, 'semantic': self.semantic, 'drivable': self.drivable}
        return [task for task, label in labels.items() if label is not None]

    def only(self, tasks: Collection[str]) -> Record:
        """The record without the labels of other tasks."""
        return Record(
            self.name,
            self.image,
            self.boxes if 'detection' in tasks else None,
            self.semantic if 'semantic' in tasks else None,
            self.drivable if 'drivable' in tasks else None,
            self.pseudo.intersection(tasks),
        )


def check_folder(root: Path) -> None:
    """UserError unless there is such a folder."""
    if not root.is_dir():
        raise UserError(f'{root}: no such folder; give a BDD100K-layout folder')


def read_split(root: str | Path, split: str) -> list[Record]:
    """All images of ``split`` below ``root``, sorted by name, with what labels they have.

    Raises UserError when the folder holds no image of that split or a label file cannot be read.
    """
    root = Path(root)
    check_folder(root)
    images = image_files(root, split)
    if not images:
        raise UserError(
            f'{root}: no images in images/100k/{split} or images/10k/{split}; '
            'give a BDD100K-layout folder (see `unidrive scenes` and `unidrive convert`)'
        )
    boxes = read_boxes(root / 'labels' / 'det_20' / f'det_{split}.json')
    semantic = _files(root / 'labels' / 'sem_seg' / 'masks' / split, ('.png',))
    drivable = _files(root / 'labels' / 'drivable' / 'masks' / split, ('.png',))
    found = {'det_20': boxes, 'sem_seg': semantic, 'drivable': drivable}
    _tell_of_strangers(root, split, images, found)
    return [
        Record(name, path, boxes.get(name), semantic.get(name), drivable.get(name))
        for name, path in sorted(images.items())
    ]


def read_image(path: Path, part: int = 1) -> np.ndarray:
    """(H, W, 3) uint8 RGB; UserError naming the file when it is no readable image.

    ``part`` 2, 4 or 8: half, quarter or eighth of the size, rounded up, at a lower cost.
    """
    image = _decoded(path, _REDUCED[part])
    if image is None:
        raise UserError(f'{path}: cannot be read as an image; delete or replace the file')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 class ids; UserError when the file is missing, unreadable or no mask."""
    mask = _decoded(path, cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise UserError(f'{path}: cannot be read as a label mask; delete or replace the file')
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise UserError(
            f'{path}: a label mask must be a one-channel 8-bit PNG, got {mask.dtype} '
            f'{mask.shape}; masks/ holds class ids, colormaps/ holds colours'
        )
    return mask


def _decoded(path: Path, flags: int) -> np.ndarray | None:
    """``None`` where OpenCV gives nothing, or gives up at a header that claims too many pixels."""
    try:
        str(path).encode()  # OpenCV crashes at a name that is not UTF-8
        return cv2.imread(str(path), flags)
    except (UnicodeEncodeError, cv2.error):
        return None


def find_image(folder: Path, name: str) -> Path:
    """The image file called ``name`` in ``folder``, whatever its type; UserError without one."""
    for suffix in IMAGE_SUFFIXES:
        path = folder / f'{name}{suffix}'
        if path.is_file():
            return path
    raise UserError(f'{folder}: no image {name} ({", ".join(IMAGE_SUFFIXES)}); download it again')


def image_files(root: Path, split: str) -> dict[str, Path]:
    """The images of a split by name; where one is in both sets, it is the file of 100k."""
    found: dict[str, Path] = {}
    for image_set in reversed(IMAGE_SETS):
        found |= _files(root / 'images' / image_set / split, IMAGE_SUFFIXES)
    return found


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by name; listing it once is much faster than asking for each."""
    if not folder.is_dir():
        return {}
    parts = (os.path.splitext(name) for name in os.listdir(folder))
    return {stem: folder / f'{stem}{end}' for stem, end in parts if end.lower() in suffixes}


def _tell_of_strangers(
    root: Path, split: str, images: Collection[str], labels: Mapping[str, Collection[str]]
) -> None:
    """Labels whose image is missing are the usual sign of a wrong or half download."""
    strangers = {kind: set(names).difference(images) for kind, names in labels.items()}
    counts = ', '.join(f'{len(names)} {kind}' for kind, names in strangers.items() if names)
    # Before the processes of a training have joined, only the environment tells them apart.
    if counts and (root, split) not in _told_of and os.environ.get('RANK', '0') == '0':
        _told_of.add((root, split))
        first = min(set().union(*strangers.values()))
        print(
            f'warning: {root}: labels of {split} without an image: {counts}; the first {first}',
            file=sys.stderr,
        )


@dataclass
class Bdd100kWriter:
    """Writes one split of a BDD100K-layout folder; a context manager, or call :meth:`close`.

    ``annotated``: names of the detection categories that are labelled at all, all ten by default.
    """

    root: str | Path
    split: str
    annotated: list[str] | None = None
    jpeg_quality: int = 92
    _frames: list[dict] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        self._json = self.root / 'labels' / 'det_20' / f'det_{self.split}.json'
        if self._json.exists():
            raise UserError(f'{self._json} exists; give an empty output folder')

    def __enter__(self) -> Bdd100kWriter:
        return self

    def __exit__(self, error_type: type | None, *_: object) -> None:
        if error_type is None:  # boxes of half a dataset must not look like those of a whole one
            self.close()

    def add(
        self,
        name: str,
        image: np.ndarray | Path,
        boxes: np.ndarray | None = None,
        class_ids: np.ndarray | None = None,
        semantic: np.ndarray | None = None,
        drivable: np.ndarray | None = None,
        ignored: np.ndarray | None = None,
    ) -> None:
        """Write one image with the labels that are not ``None``.

        ``image`` (H, W, 3) uint8 RGB, or the path of a file to copy as it is (a JPEG is not
        encoded twice); ``boxes`` (N, 4) xyxy pixels with ``class_ids`` (N,) and ``ignored`` (N,)
        bool, true where a detector is neither to find nor to leave out; ``semantic`` and
        ``drivable`` (H, W) uint8.
        """
        images = self.root / 'images' / '100k'
        if isinstance(image, Path):
            self._path(images, name, image.suffix).write_bytes(image.read_bytes())
        else:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
            _write(self._path(images, name, '.jpg'), bgr, quality)
        for kind, mask in (('sem_seg', semantic), ('drivable', drivable)):
            if mask is not None:
                path = self._path(self.root / 'labels' / kind / 'masks', name, '.png')
                _write(path, mask, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if boxes is not None:
            self._frames.append(_scalabel_frame(name, boxes, class_ids, ignored))

    def close(self) -> None:
        """Write the detection JSON (only when some image had box labels)."""
        if not self._frames:
            return
        self._json.parent.mkdir(parents=True, exist_ok=True)
        names = self.annotated or DETECTION.names
        document = {'frames': self._frames, 'config': {'categories': [{'name': n} for n in names]}}
        partial = self._json.with_suffix('.json.part')
        partial.write_text(json.dumps(document))
        partial.rename(self._json)
        self._frames = []

    def _path(self, base: Path, name: str, suffix: str) -> Path:
        path = base / self.split / f'{name}{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _write(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), pixels, options):
        raise UserError(f'{path}: could not be written; is the disk full?')


def _scalabel_frame(
    name: str, boxes: np.ndarray, class_ids: np.ndarray, ignored: np.ndarray | None
) -> dict:
    ignored = np.zeros(len(boxes), bool) if ignored is None else ignored
    labels = [
        {
            'id': str(i),
            'category': DETECTION.names[int(class_id)],
            'attributes': {'ignored': True} if ignored[i] else {},
            'box2d': dict(zip(('x1', 'y1', 'x2', 'y2'), map(float, box), strict=True)),
        }
        for i, (box, class_id) in enumerate(zip(boxes, class_ids, strict=True))
    ]
    return {'name': f'{name}.jpg', 'attributes': {}, 'timestamp': 0, 'labels': labels}
