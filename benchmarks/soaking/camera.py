# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A camera of the soak: images whose header says what they are, some of them broken on purpose.

    python3 benchmarks/soaking/camera.py front --rate 10

The frame_id of image and result is ``front/STAMP/HEIGHTxWIDTH``, so that a listener sees from the
header of a result alone whether there was such an image; that of a broken image is ``broken``.
"""

from __future__ import annotations

import argparse
import array
import random
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

SIZES = ((720, 1280), (480, 640), (375, 1242))
BROKEN = (
    {'encoding': 'hsv32'},
    {'step': 7},
    {'data': array.array('B', bytes(100))},
    {'height': 0, 'width': 0},
    {'height': 2**32 - 1},
)


def main() -> None:
    """Publish until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('name')
    parser.add_argument('--rate', type=float, default=10.0, help='images per second')
    parser.add_argument('--broken', type=float, default=0.05, help='share of broken images')
    parser.add_argument('--size', help='WIDTHxHEIGHT; default: several')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--calm', type=Path, help='while this file is there: one size, all whole')
    options = parser.parse_args()
    ended = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(True))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node(f'{options.name}_camera')
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    images = node.create_publisher(Image, f'/{options.name}/image', qos)
    infos = node.create_publisher(CameraInfo, f'/{options.name}/camera_info', qos)
    chance = random.Random(options.seed)
    sizes = [tuple(map(int, options.size.split('x')))[::-1]] if options.size else SIZES
    pictures = [_picture(size, chance.randrange(2**32)) for size in sizes]
    due = time.monotonic()
    while not ended:
        calm = options.calm is not None and options.calm.exists()
        message = _image(options.name, pictures[0] if calm else chance.choice(pictures))
        if not calm and chance.random() < options.broken:
            message.header.frame_id = 'broken'
            for field, value in chance.choice(BROKEN).items():
                setattr(message, field, value)
        images.publish(message)
        infos.publish(CameraInfo(header=message.header, height=message.height))
        due = max(due + 1 / options.rate, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    node.destroy_node()
    rclpy.shutdown()


def _picture(size: tuple[int, int], seed: int) -> Image:
    """An image of soft noise, which a model sees objects in now and then."""
    height, width = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    data = array.array('B', cv2.GaussianBlur(noise, (0, 0), 3).tobytes())
    return Image(height=height, width=width, encoding='rgb8', step=3 * width, data=data)


def _image(camera: str, picture: Image) -> Image:
    """The picture with a header of its own; the pixels are not copied."""
    stamp = time.time_ns()
    message = Image(
        height=picture.height,
        width=picture.width,
        encoding=picture.encoding,
        step=picture.step,
        data=picture.data,
    )
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = f'{camera}/{stamp}/{picture.height}x{picture.width}'
    return message


if __name__ == '__main__':
    main()
