# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is inside image and mask files: read, hashed and decoded in worker processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from unidrive_perception.errors import UserError
from unidrive_perception.labels import BDD100K_LABELS, UNKNOWN
from unidrive_training.data.bdd100k import read_image, read_mask
from unidrive_training.data.headers import image_size, mask_header

_FILES_PER_PROCESS = 200  # fewer are not worth the start of another process
_words: BinaryIO  # in a worker: what went to its stderr


@dataclass
class Contents:
    """``size``: (height, width), ``None`` when unreadable; ``faults``: (kind of finding, reason);
    ``digest`` of an image's file; ``top``: id of most pixels of the first row of a decoded mask.
    """

    size: tuple[int, int] | None = None
    faults: tuple[tuple[str, str], ...] = ()
    digest: bytes | None = None
    top: int | None = None


def examine(files: dict[Path, str], decode: bool, workers: int) -> dict[Path, Contents]:
    """File → what is in it; ``files``: path → 'image' or the task of a mask.

    Images are hashed; ``decode``: pixels are looked at too.
    """
    processes = max(1, min(workers, len(files) // _FILES_PER_PROCESS))
    jobs = [(path, what, decode) for path, what in files.items()]
    # Not a fork of this process, which may have threads.
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(processes, context, _start) as pool:
        results = tqdm(
            pool.map(_examine, jobs, chunksize=16),
            total=len(jobs),
            desc='check',
            unit='file',
            dynamic_ncols=True,
        )
        try:
            return dict(zip(files, results, strict=True))
        except BrokenProcessPool as error:
            raise UserError(
                'a process that decodes images was killed, perhaps for memory; '
                'try --workers 1, or --fast, which decodes nothing'
            ) from error


def _start() -> None:
    """libjpeg and libpng say on stderr what is wrong with a file; OpenCV does not pass it on."""
    global _words
    cv2.setNumThreads(1)
    _words = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process
    os.dup2(_words.fileno(), 2)


def _said() -> list[str]:
    """The lines on stderr since the last call."""
    _words.seek(0)
    lines = _words.read().decode(errors='replace').splitlines()
    _words.seek(0)
    _words.truncate()
    return lines


def _examine(job: tuple[Path, str, bool]) -> Contents:
    path, what, decode = job
    _said()  # of the file before
    try:
        return _image(path, decode) if what == 'image' else _mask(path, what, decode)
    except Exception as error:  # UserError, and whatever a decoder raises at a hostile file
        reasons = [*_said(), str(error).removeprefix(f'{path}: ') or repr(error)]
        kind = 'undecodable image' if what == 'image' else 'unreadable mask'
        return Contents(faults=((kind, reasons[0]),))


def _image(path: Path, decode: bool) -> Contents:
    contents = Contents(image_size(path))
    contents.digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    if decode:
        contents.size = read_image(path).shape[:2]
        lost = [line for line in _said() if line.startswith(('Corrupt', 'Premature'))]
        contents.faults = tuple(('damaged image', line) for line in lost[:1])
    return contents


def _mask(path: Path, task: str, decode: bool) -> Contents:
    header = mask_header(path)
    if not header.one_channel:
        return Contents(
            faults=(('colours instead of ids', 'more than one channel, or a palette'),)
        )
    if header.bits != 8:
        return Contents(header.size, (('mask not 8-bit', f'{header.bits} bits'),))
    contents = Contents(header.size)
    if decode:
        mask = read_mask(path)
        ids = np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256]))
        wrong = ids[(ids >= len(BDD100K_LABELS[task])) & (ids != UNKNOWN)]
        if wrong.size:
            contents.faults = (('mask id', ' '.join(map(str, wrong))),)
        contents.top = int(np.bincount(mask[0]).argmax())
    return contents
