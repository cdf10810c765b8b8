# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The output folder of ``unidrive pseudo-label``, of which a kill at any moment loses nothing.

Below ``.work`` each finished image has a small JSON file, written last, beside the settings that
it was made with. When all images have theirs, they become one detection JSON and the index. Images
that come later are done likewise, and join those that are there.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unidrive_perception.errors import UserError
from unidrive_training import distributed
from unidrive_training.data.bdd100k import Record
from unidrive_training.data.pseudo_labels import INDEX, WORK, boxes_file, mask_file
from unidrive_training.data.scalabel import FrameFile
from unidrive_training.engine.run_lock import LOCK
from unidrive_training.engine.teachers import PseudoLabels
from unidrive_training.typed import read_json


class PseudoLabelFiles:
    """Pseudo-labels of one split in one folder; several processes may write to it at once."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self._work = folder / WORK
        self._images = self._work / 'images'
        self._index = folder / INDEX
        self._finished: dict[str, Any] = {}

    def open(self, settings: dict[str, Any]) -> dict[str, list[str]] | None:
        """Which tasks each image of a finished folder is labelled for, else ``None``.

        Raises UserError when the folder was begun with other settings or holds something else.
        """
        for path in (self._index, self._work / INDEX):
            if path.is_file():
                then = read_json(path, 'give a new folder')
                if change := _change({key: then.get(key) for key in settings}, settings):
                    raise UserError(
                        f'{self.folder}: its pseudo-labels were begun otherwise ({change}); run '
                        'the same command, or give a new folder'
                    )
                if path == self._index:
                    self._finished = then
                    return {name: list(tasks) for name, tasks in then['images'].items()}
                return None
        ours = {WORK, LOCK}
        if self.folder.exists() and {path.name for path in self.folder.iterdir()} - ours:
            raise UserError(f'{self.folder} holds other files; give a new folder')
        return None

    def begin(self, settings: dict[str, Any]) -> None:
        """Begin, or go on with what was begun."""
        self._images.mkdir(parents=True, exist_ok=True)
        self._replace(self._work / INDEX, json.dumps(settings, indent=2).encode())

    def done(self) -> set[str]:
        """Names of the images that need nothing more."""
        return {path.stem for path in self._images.glob('*.json')}

    def store(self, record: Record, labels: PseudoLabels) -> None:
        """Write an image's masks, then its JSON."""
        for task, mask in labels.masks.items():
            path = mask_file(self.folder, task, self.split, record.name)
            self._replace(path, _png(mask))
        self._finish(
            record.name, {'file': record.image.name, 'boxes': labels.boxes, 'facts': labels.facts}
        )

    def store_unreadable(self, name: str) -> None:
        """There is nothing to label."""
        self._finish(name, {'unreadable': True})

    def merge(self, settings: dict[str, Any], names: Iterable[str], classes: list[str]) -> dict:
        """One detection JSON and the index, which is returned: of the images called ``names``, and
        of those that were finished before. Nothing else stays.

        ``classes``: names of the detection classes that are labelled.
        """
        facts: dict[str, dict] = dict(self._finished.get('images', {}))
        unreadable: list[str] = []
        fresh = self._fresh_frames(sorted(names), facts, unreadable)
        partial = self._work / 'boxes.json'
        with partial.open('w') as file:
            file.write('{"frames": [')
            separator, last = '\n', None
            for frame in heapq.merge(fresh, self._finished_frames(), key=_name):
                if _name(frame) != last:  # a killed merge may have brought it there before
                    file.write(separator + json.dumps(frame))
                    separator, last = ',\n', _name(frame)
            categories = [{'name': name} for name in classes]
            file.write(f'\n], "config": {json.dumps({"categories": categories})}}}\n')
        if 'detection' in settings['teachers']:
            path = boxes_file(self.folder, self.split)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial, path)
        index = settings | {'images': dict(sorted(facts.items())), 'unreadable': unreadable}
        self._replace(self._index, json.dumps(index, indent=1).encode())
        self.tidy()
        return index

    def _fresh_frames(
        self, names: Iterable[str], facts: dict[str, dict], unreadable: list[str]
    ) -> Iterator[dict[str, Any]]:
        """The boxes of the images below ``.work``; puts what else is known of them where given."""
        for name in names:
            image = self._read(name)
            if 'unreadable' in image:
                unreadable.append(name)
                continue
            facts[name] = facts.get(name, {}) | image['facts']
            if image['boxes'] is not None:
                frame = {'name': image['file'], 'attributes': {}, 'timestamp': 0}
                yield frame | {'labels': image['boxes']}

    def _finished_frames(self) -> Iterable[dict[str, Any]]:
        path = boxes_file(self.folder, self.split)
        return FrameFile(path) if self._finished and path.is_file() else ()

    def tidy(self) -> None:
        """Remove what a kill after the index was written has left."""
        if self._work.exists():
            shutil.rmtree(self._work)

    def _finish(self, name: str, facts: dict[str, Any]) -> None:
        self._replace(self._images / f'{name}.json', json.dumps(facts).encode())

    def _read(self, name: str) -> dict[str, Any]:
        path = self._images / f'{name}.json'
        return read_json(path, 'delete it if it is there, and run the same command again')

    def _replace(self, path: Path, content: bytes) -> None:
        """Write aside, below ``.work``, and rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._work / f'{path.name}.{distributed.rank()}.{os.getpid()}.part'
        partial.write_bytes(content)
        os.replace(partial, path)


def _name(frame: dict[str, Any]) -> str:
    return os.path.splitext(frame['name'])[0]


def _png(mask: np.ndarray) -> bytes:
    return cv2.imencode('.png', mask, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def _change(then: Any, now: Any, key: str = '') -> str | None:
    """The first value that differs, in words."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted(then.keys() | now.keys()):
            inner = f'{key}.{name}' if key else name
            if found := _change(then.get(name, 'absent'), now.get(name, 'absent'), inner):
                return found
        return None
    return None if then == now else f'{key} was {then}, is {now}'
