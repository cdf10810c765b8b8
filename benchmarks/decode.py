# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How long a camera image takes to become RGB, for every encoding and for JPEG and PNG.

Beside it, in the column "copy", what copying the message's bytes takes: nothing that makes a new
array of such an image can be faster. Prints a Markdown table; ROS is not needed.

    python benchmarks/decode.py [--repeat 50] [--size 1280x720] [--image FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from unidrive_perception.image_codec import (
    SUPPORTED_ENCODINGS,
    compressed_to_rgb,
    image_to_rgb,
    rgb_to_compressed,
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=50)
    parser.add_argument('--size', default='1280x720', help='WIDTHxHEIGHT')
    parser.add_argument('--image', type=Path, help='picture for JPEG and PNG (default: generated)')
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split('x'))
    print(f'{width}×{height}, median of {args.repeat}, OpenCV {cv2.__version__}\n')
    print('| image | bytes | to RGB [ms] | copy [ms] |')
    print('| --- | --- | --- | --- |')
    for encoding in SUPPORTED_ENCODINGS:
        for note, message in raw_images(encoding, height, width):
            row(f'{encoding}{note}', lambda m=message: image_to_rgb(m), message.data, args.repeat)
    picture = read_picture(args.image, height, width)
    for codec in ('jpeg', 'png'):
        data = rgb_to_compressed(picture, codec, 90)
        message = SimpleNamespace(format=f'rgb8; {codec} compressed bgr8', data=data)
        row(codec, lambda m=message: compressed_to_rgb(m), data, args.repeat)


def raw_images(encoding: str, height: int, width: int) -> list[tuple[str, SimpleNamespace]]:
    """Return images of random bytes: without padding, with it, and with the other byte order."""
    planes = {'nv12': 1.5, 'nv21': 1.5, 'nv24': 3}
    wide = 2 if '16' in encoding else 1
    channels = next((c for text, c in CHANNELS.items() if text in encoding), 1)
    rows = int(height * planes.get(encoding, 1))
    row_bytes = width * channels * wide
    cases = [('', 0, 0), (', padded', 64, 0)] + [(', big-endian', 0, 1)] * (wide == 2)
    rng = np.random.default_rng(0)
    return [
        (
            note,
            SimpleNamespace(
                encoding=encoding,
                height=height,
                width=width,
                step=row_bytes + padding,
                is_bigendian=big_endian,
                data=rng.integers(0, 256, rows * (row_bytes + padding), np.uint8),
            ),
        )
        for note, padding, big_endian in cases
    ]


CHANNELS = {'rgba': 4, 'bgra': 4, 'UC4': 4, 'rgb': 3, 'bgr': 3, 'UC3': 3, 'yu': 2, 'uyvy': 2}


def read_picture(path: Path | None, height: int, width: int) -> np.ndarray:
    """Return the picture at ``path``, or a smooth one with some noise, at the size."""
    if path:
        return cv2.resize(cv2.imread(str(path))[..., ::-1], (width, height))
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1)
    noise = np.random.default_rng(0).integers(0, 12, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def row(name: str, decode: Callable[[], np.ndarray], data: np.ndarray, repeat: int) -> None:
    """Print one row of the table."""
    times = f'{median_ms(decode, repeat):.2f} | {median_ms(data.copy, repeat):.2f}'
    print(f'| {name} | {data.size} | {times} |', flush=True)


def median_ms(work: Callable[[], object], repeat: int) -> float:
    """Return the median of ``repeat`` runs, after two that do not count."""
    times = []
    for _ in range(repeat + 2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]) * 1e3


if __name__ == '__main__':
    main()
