# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole check of one folder: lists, files, and what one file says about another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unidrive_training.data.check.boxes import check_against_image
from unidrive_training.data.check.files import Split, read_files
from unidrive_training.data.check.findings import Findings
from unidrive_training.data.check.layout import advise
from unidrive_training.data.check.pixels import Contents, examine

_FEW_MASKS = 5  # fewer say nothing about how ids were given


@dataclass
class Report:
    """``images``: split → {'images': how many, task: how many of them have its label}."""

    images: dict[str, dict[str, int]]
    found: Findings


def check(root: Path, splits: Sequence[str], decode: bool, workers: int) -> Report:
    """Look at everything below ``root``; never raises for what is there."""
    found = Findings()
    for line in advise(root):
        found.add('another layout', line)
    files = [read_files(root, split, found) for split in splits]
    if not any(split.names for split in files):
        found.add('no images', f'{root}: none in images/100k/SPLIT or images/10k/SPLIT')
    jobs = {}
    for split in files:
        jobs |= {path: 'image' for images in split.images.values() for path in images.values()}
        jobs |= {path: task for task, m in split.masks.items() for path in m.values()}
    contents = examine(jobs, decode, workers)
    for path, content in contents.items():
        for kind, reason in content.faults:
            found.add(kind, f'{path.relative_to(root)}: {reason}')
    for split in files:
        _compare_sizes(split, root, contents, found)
        _look_at_tops(split, contents, found)
    _compare_images(files, contents, found)
    return Report({split.name: _counts(split) for split in files if split.names}, found)


def _counts(split: Split) -> dict[str, int]:
    labels = {task: len(names & split.names) for task, names in split.labels().items()}
    return {'images': len(split.names), **labels}


def _compare_sizes(
    split: Split, root: Path, contents: dict[Path, Contents], found: Findings
) -> None:
    """Masks and boxes against the image that the loader reads with them."""
    for name in sorted(split.names):
        size = contents[split.image(name)].size
        if size is None:
            continue
        check_against_image((split.boxes or {}).get(name, []), size, found)
        for masks in split.masks.values():
            mask = masks.get(name)
            if mask and contents[mask].size not in (None, size):
                got, want = ('×'.join(map(str, s[::-1])) for s in (contents[mask].size, size))
                found.add('mask size', f'{mask.relative_to(root)}: {got}, its image {want}')


def _look_at_tops(split: Split, contents: dict[Path, Contents], found: Findings) -> None:
    """The first row of nearly every picture is sky or houses, never where to drive."""
    tops = [contents[path].top for path in split.masks['drivable'].values()]
    known = [top for top in tops if top is not None]
    direct = known.count(0)
    if len(known) >= _FEW_MASKS and direct > len(known) / 2:
        found.add('older drivable ids', f'{split.name}: {direct} of {len(known)} masks')


def _compare_images(files: list[Split], contents: dict[Path, Contents], found: Findings) -> None:
    """Images that are the same, and names that are the same, within and between splits."""
    by_name, by_digest = defaultdict(list), defaultdict(list)
    for split in files:
        for image_set, images in split.images.items():
            for name, path in images.items():
                image = (split.name, image_set, name)
                by_name[name].append((image, contents[path].digest))
                if contents[path].digest:
                    by_digest[contents[path].digest].append(image)
    for same in by_digest.values():
        _tell_of_copies(same, found)
    for name, namesakes in by_name.items():
        _tell_of_namesakes(name, namesakes, found)


def _tell_of_copies(same: list[tuple[str, str, str]], found: Findings) -> None:
    if len(same) == 1:
        return
    case = ' = '.join('/'.join((image_set, split, name)) for split, image_set, name in same)
    if len({split for split, _, _ in same}) > 1:
        found.add('image in two splits', case)
    elif len({name for _, _, name in same}) > 1:
        found.add('duplicate image', case)
    else:
        found.add('image in 100k and 10k', case)


def _tell_of_namesakes(name: str, namesakes: list[tuple], found: Findings) -> None:
    splits = defaultdict(set)
    for (split, _, _), digest in namesakes:
        splits[split].add(digest)
    for split, digests in splits.items():
        if len(digests) > 1:
            found.add('one name, two images', f'{split}: {name} differs in 100k and 10k')
    if len(splits) > 1 and len(set().union(*splits.values())) > 1:
        found.add('name in two splits', f'{name}: {", ".join(splits)}')
