# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Recognises BDD100K's other layouts, and says in a line what to do about each.

Its archives were packed in different ways over the years: unpacked each into a folder of its own
they nest the layout one or two folders deeper, and releases up to 2019 name labels differently.
"""

from __future__ import annotations

import os
from pathlib import Path

_DEPTH = 4  # how deep a nested layout is looked for
_SPLITS = ('train', 'val', 'test')


def advise(root: Path) -> list[str]:
    """One line per thing of another layout, none for a folder in the layout."""
    folders = _folders(root)
    return [
        *_nested(root, folders),
        *_image_sets(root, folders),
        *_older_boxes(root, folders),
        *_older_masks(root, folders),
    ]


def _folders(root: Path) -> list[Path]:
    """Folders below ``root``, relative to it; those of a split are not entered."""
    found = []
    for place, names, _ in os.walk(root):
        here = Path(place).relative_to(root)
        found += [here / name for name in sorted(names)]
        deep = len(here.parts) >= _DEPTH
        names[:] = [] if deep else [n for n in sorted(names) if n not in _SPLITS]
    return found


def _nested(root: Path, folders: list[Path]) -> list[str]:
    """``images`` and ``labels`` below another folder than the root."""
    parts = [
        folder.parent
        for folder in folders
        if folder.parent.name in ('images', 'labels')
        and folder.name in ('100k', '10k', 'det_20', 'sem_seg', 'drivable')
    ]
    homes = sorted({part.parent for part in parts if part.parent != Path()})
    if not homes:
        return []
    if len(homes) == 1 and not any(part.parent == Path() for part in parts):
        return [f'the layout is deeper: give {root / homes[0]}']
    named = ', '.join(str(home) for home in homes)
    return [f'the layout is in pieces: move images/ and labels/ of {named} into one folder']


def _image_sets(root: Path, folders: list[Path]) -> list[str]:
    lines = []
    for folder in folders:
        if folder.name in _SPLITS and folder.parent.name in ('100k', '10k'):
            if folder.parent.parent.name not in ('images', 'labels'):
                lines.append(f'move {folder} to images/{folder.parent.name}/{folder.name}')
            elif folder.parent.parent.name == 'images':
                inner = [entry.name for entry in _entries(root / folder) if entry.is_dir()]
                lines += [f'move the files of {folder / n} to {folder}' for n in sorted(inner)]
    return lines


def _older_boxes(root: Path, folders: list[Path]) -> list[str]:
    lines = []
    for folder in (Path(), *folders):
        for split in _SPLITS:
            for name in (f'bdd100k_labels_images_{split}.json', f'det_v2_{split}_release.json'):
                there = (root / f'labels/det_20/det_{split}.json').is_file()
                if (root / folder / name).is_file() and not there:
                    lines.append(
                        f'{folder / name} is of an older release: move it to '
                        f'labels/det_20/det_{split}.json, its boxes can be read'
                    )
        if folder.name in _SPLITS and _has(root / folder, '.json'):
            lines.append(
                f'{folder} holds a JSON file per image, of 2018: download "Detection 2020 Labels"'
            )
    return lines


def _older_masks(root: Path, folders: list[Path]) -> list[str]:
    lines = []
    for folder in folders:
        if folder.name == 'drivable_maps' and not (root / 'labels/drivable/masks').is_dir():
            lines.append(
                f'{folder} is of 2018, its ids mean other things (0 background, 1 direct, '
                '2 alternative): download "Drivable Area" for labels/drivable/masks'
            )
        elif folder.name == 'seg' and not (root / 'labels/sem_seg/masks').is_dir():
            lines.append(
                f'{folder} is of 2018: move {folder}/images/SPLIT to images/10k/SPLIT, and '
                f'{folder}/labels/SPLIT/NAME_train_id.png to labels/sem_seg/masks/SPLIT/NAME.png'
            )
        elif folder.parent.name == 'masks':
            for suffix in ('_train_id.png', '_drivable_id.png'):
                if _has(root / folder, suffix):
                    lines.append(f'{folder}: rename NAME{suffix} to NAME.png')
    return lines


def _has(folder: Path, suffix: str) -> bool:
    return any(entry.name.endswith(suffix) for entry in _entries(folder))


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
