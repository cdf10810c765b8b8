# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Real little bags, videos and image folders for tests."""

from __future__ import annotations

import cv2
import numpy as np
from rosbags import rosbag1
from rosbags.typesys import Stores, get_typestore

from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import compressed_message, image_message, make_header

TOPIC = '/camera/image_raw'
FRAME_ID = 'camera_optical_frame'
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
RECORDING_DELAY_NS = 3_000_000
"""A camera stamps an image before the recorder gets it."""


def picture(i: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return the i-th picture (H, W, 3): blocks of colours that differ from picture to picture."""
    blocks = np.random.default_rng(i).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def stamp_of(header) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def write_image_bag(path, count=5, storage='mcap', encoding='rgb8', pictures=None, topic=TOPIC):
    """Write ``count`` pictures at 10 Hz, recorded 3 ms after their stamps."""
    with BagWriter(path, storage) as writer:
        make = BagFactory(writer.typestore)
        for i in range(count if pictures is None else len(pictures)):
            rgb = picture(i) if pictures is None else pictures[i]
            header = make_header(make, START_NS + i * PERIOD_NS, FRAME_ID)
            message = image_message(make, header, rgb, encoding)
            writer.write(topic, message, START_NS + i * PERIOD_NS + RECORDING_DELAY_NS)
    return path


def write_compressed_bag(path, files, storage='mcap'):
    """Write JPEG files as they are, at 10 Hz."""
    with BagWriter(path, storage) as writer:
        make = BagFactory(writer.typestore)
        for i, file in enumerate(files):
            header = make_header(make, START_NS + i * PERIOD_NS, FRAME_ID)
            data = np.fromfile(file, np.uint8)
            message = compressed_message(make, header, data, 'jpeg')
            writer.write(f'{TOPIC}/compressed', message, START_NS + i * PERIOD_NS)
    return path


def write_rosbag1(path, count=5):
    """Write a ROS 1 bag: pictures, camera infos, a latched string, and a type ROS 2 has not."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with rosbag1.Writer(path) as writer:
        topics = {
            TOPIC: 'sensor_msgs/msg/Image',
            '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
            '/note': 'std_msgs/msg/String',
        }
        connections = {
            topic: writer.add_connection(
                topic, msgtype, typestore=store, latching=int(topic == '/note')
            )
            for topic, msgtype in topics.items()
        }
        connections['/odd'] = writer.add_connection(
            '/odd', 'odd_msgs/msg/Odd', msgdef='Header header\nint8 x\n', md5sum='0' * 32
        )

        def write(topic, message, stamp_ns):
            data = store.serialize_ros1(message, message.__msgtype__)
            writer.write(connections[topic], stamp_ns, data)

        write('/note', types['std_msgs/msg/String']('a drive'), START_NS - 1)
        for i in range(count):
            stamp_ns = START_NS + i * PERIOD_NS
            sec, nanosec = divmod(stamp_ns, 10**9)
            stamp = types['builtin_interfaces/msg/Time'](sec, nanosec)
            header = types['std_msgs/msg/Header'](i, stamp, FRAME_ID)
            rgb = picture(i)
            image = types['sensor_msgs/msg/Image'](
                header, 48, 64, 'bgr8', 0, 192, rgb[..., ::-1].reshape(-1)
            )
            roi = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
            info = types['sensor_msgs/msg/CameraInfo'](
                header, 48, 64, 'plumb_bob', np.zeros(5), np.arange(9.0), np.eye(3).ravel(),
                np.arange(12.0), 0, 0, roi,
            )  # fmt: skip
            write(TOPIC, image, stamp_ns)
            write('/camera/camera_info', info, stamp_ns)
            writer.write(connections['/odd'], stamp_ns, bytes(17))
    return path


def write_video(path, count=12, fps=20.0, codec='MJPG'):
    size = (160, 96)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for i in range(count):
        writer.write(np.full((size[1], size[0], 3), [20 * i % 256, 128, 60], np.uint8))
    writer.release()
    return path


def write_images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(i)[..., ::-1])
    return folder
