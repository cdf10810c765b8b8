# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How many generated frames a second one core draws: ``python3 benchmarks/scenes.py``."""

from __future__ import annotations

import argparse
import time

import cv2

from unidrive_training.scenes import Drive


def main() -> None:
    """Draw drives and print frames per second of CPU time, with and without their set-up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--drives', type=int, default=12)
    parser.add_argument('--frames', type=int, default=10)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    drawing = total = 0.0
    for seed in range(args.drives):
        start = time.process_time()
        drive = Drive(seed, image_size=(360, 640))
        ready = time.process_time()
        for index in range(args.frames):
            drive.frame(index * 5)
        end = time.process_time()
        drawing += end - ready
        total += end - start
    frames = args.drives * args.frames
    print(f'{frames} frames of {args.drives} drives, 640×360, one core (CPU time):')
    print(f'{frames / drawing:.1f} frames/s; {frames / total:.1f} with the set-up of each drive')


if __name__ == '__main__':
    main()
