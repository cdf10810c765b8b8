# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of things that `unidrive check-data` can find, and the list of what it found."""

from __future__ import annotations

from collections import defaultdict

# What to do about each. A problem costs labels, accuracy or an honest evaluation ...
PROBLEMS = {
    'no images': 'give the folder that holds images/ and labels/',
    'unreadable folder': 'give yourself the right to read it',
    'another layout': 'the loader does not look there',
    'unexpected file': 'the loader does not read it; move it away',
    'undecodable image': 'download it again, or delete it and its labels',
    'damaged image': 'a part of its pixels is lost; download it again',
    'one name, two images': 'only one of them is read; rename or delete the other',
    'duplicate image': 'it counts twice; delete all but one',
    'image in two splits': 'the evaluation is not honest; delete it from the training split',
    'label without image': 'download the images, or delete the label',
    'unreadable mask': 'download it again, or delete it',
    'colours instead of ids': 'masks/ holds class ids; colours belong in colormaps/',
    'only colormaps': 'colours are not read; download the masks of the same archive',
    'mask not 8-bit': 'save it as a one-channel 8-bit PNG',
    'mask size': 'it must have the width and height of its image',
    'mask id': 'ids are 0..18 (semantic) or 0..2 (drivable), and 255 for unknown',
    'older drivable ids': 'the tops of most are id 0: it means direct, not background as in '
    'drivable_maps of 2018; download the Drivable Area labels',
    'unreadable label file': 'download it again',
    'bad frame': 'a frame is an object with a name and, if any, a list of labels',
    'frame named twice': 'only the last one is read; merge their labels',
    'bad label': 'a label is an object with a category and a box2d',
    'unknown category': 'its boxes are left out; rename it to one of the ten, or delete them',
    'box not a number': 'x1, y1, x2 and y2 are finite numbers of pixels',
    'reversed box': 'x1 < x2 and y1 < y2; swap them',
    'empty box': 'it has no area; delete it',
    'box outside': 'it is clipped to the image; are the boxes of another image size?',
}
# ... and a note does not.
NOTES = {
    'image without any label': 'pseudo-labelling and unlabelled sources can use it',
    'frame without labels': 'read as an image in which there is no object',
    'no label file': 'no image of the split has boxes',
    'image in 100k and 10k': 'one image: the labels of both are used together',
    'name in two splits': 'their pictures differ, so they are two images',
}


class Findings:
    """Cases by kind, in the order of the tables above; prints nothing."""

    def __init__(self) -> None:
        self._cases: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, case: str) -> None:
        """One case of a kind of ``PROBLEMS`` or ``NOTES``."""
        assert kind in PROBLEMS or kind in NOTES, kind
        self._cases[kind].append(printable(case))

    def problems(self) -> dict[str, list[str]]:
        """Kind → its cases."""
        return {kind: self._cases[kind] for kind in PROBLEMS if kind in self._cases}

    def notes(self) -> dict[str, list[str]]:
        """Kind → its cases."""
        return {kind: self._cases[kind] for kind in NOTES if kind in self._cases}


def printable(text: str) -> str:
    """Names of files may hold line breaks, terminal commands and bytes that are no text."""
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
