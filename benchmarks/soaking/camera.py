# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A camera of the soak: images whose header says what they are, some of them broken on purpose.

    python3 benchmarks/soaking/camera.py front --rate 10

The frame_id of image and result is ``front/STAMP/HEIGHTxWIDTH/EPOCH``, so that a listener sees
from the header of a result alone whether there was such an image; that of a broken image is
``broken``.
The stamps of an epoch rise; another epoch, which has a higher number, begins when they jump back,
as in a bag that begins anew.
"""

from __future__ import annotations

import argparse
import array
import os
import random
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

SIZES = ((720, 1280), (480, 640), (375, 1242))
BROKEN = (
    {'encoding': 'hsv32'},
    {'step': 7},
    {'data': array.array('B', bytes(100))},
    {'height': 0, 'width': 0},
    {'height': 2**32 - 1},
)
BROKEN_FILES = ({'data': array.array('B', b'no picture')}, {'data': array.array('B')})
JUMP_NS = 100 * 10**9


def main() -> None:
    """Publish until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('name')
    parser.add_argument('--rate', type=float, default=10.0, help='images per second')
    parser.add_argument('--broken', type=float, default=0.05, help='share of broken images')
    parser.add_argument(
        '--jumps', type=float, default=0.0, help='share after which stamps go back'
    )
    parser.add_argument('--jpeg', action='store_true', help='send CompressedImage')
    parser.add_argument('--size', help='WIDTHxHEIGHT; default: several')
    parser.add_argument('--nice', type=int, default=0, help='as that of the program nice')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--calm', type=Path, help='while this file is there: one size, all whole')
    options = parser.parse_args()
    os.nice(options.nice)
    ended = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(True))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node(f'{options.name}_camera')
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    kind, suffix, broken = Image, '', BROKEN
    if options.jpeg:
        kind, suffix, broken = CompressedImage, '/compressed', BROKEN_FILES
    images = node.create_publisher(kind, f'/{options.name}/image{suffix}', qos)
    infos = node.create_publisher(CameraInfo, f'/{options.name}/camera_info', qos)
    chance = random.Random(options.seed)
    sizes = [tuple(map(int, options.size.split('x')))[::-1]] if options.size else SIZES
    pictures = [Picture(size, chance.randrange(2**32), options.jpeg) for size in sizes]
    due, epoch, behind = time.monotonic(), time.time_ns(), 0
    while not ended:
        calm = options.calm is not None and options.calm.exists()
        if not calm and chance.random() < options.jumps:
            epoch, behind = time.time_ns(), behind + JUMP_NS
        picture = pictures[0] if calm else chance.choice(pictures)
        message = picture.message(options.name, time.time_ns() - behind, epoch)
        if not calm and chance.random() < options.broken:
            message.header.frame_id = 'broken'
            for field, value in chance.choice(broken).items():
                setattr(message, field, value)
        images.publish(message)
        infos.publish(CameraInfo(header=message.header, height=picture.height))
        due = max(due + 1 / options.rate, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    node.destroy_node()
    rclpy.shutdown()


class Picture:
    """Soft noise, which a model sees objects in now and then; its bytes are made once."""

    def __init__(self, size: tuple[int, int], seed: int, as_jpeg: bool) -> None:
        """Make it of ``size``, (height, width)."""
        self.height, self.width = size
        noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
        rgb = cv2.GaussianBlur(noise, (0, 0), 3)
        data = cv2.imencode('.jpg', rgb)[1] if as_jpeg else rgb
        self._as_jpeg, self._data = as_jpeg, array.array('B', data.tobytes())

    def message(self, camera: str, stamp: int, epoch: int) -> Image | CompressedImage:
        """The picture with a header of its own."""
        if self._as_jpeg:
            message = CompressedImage(format='rgb8; jpeg compressed bgr8', data=self._data)
        else:
            message = Image(
                height=self.height,
                width=self.width,
                encoding='rgb8',
                step=3 * self.width,
                data=self._data,
            )
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id = f'{camera}/{stamp}/{self.height}x{self.width}/{epoch}'
        return message


if __name__ == '__main__':
    main()
