# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames neither too close in time nor alike: on real drives, moving ones stay, standing go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drive_bags import book, frames, noisy
from sample_bags import PERIOD_NS, START_NS, picture

from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_training.data.bdd100k import read_image, read_split
from unidrive_training.data.frame_selection import Pace, SeenImages, thumbnail


def test_a_little_early_is_not_too_early():
    """At 10 Hz with 4 ms of jitter, 5 Hz is every second frame."""
    pace, taken = Pace(5), []
    for i in range(50):
        stamp_ns = START_NS + i * PERIOD_NS + (-4_000_000, 3_000_000, 0)[i % 3]
        if pace.is_due('front', stamp_ns):
            pace.take('front', stamp_ns)
            taken.append(i)
    assert taken == list(range(0, 50, 2))
    assert pace.is_due('rear', START_NS)
    assert pace.is_due('front', START_NS - 10**12)  # the clock was set back


def test_seen_images_remembers_all():
    seen = SeenImages()
    assert not seen.has_near_duplicate(thumbnail(picture(0)))
    for i in range(300):
        assert not seen.has_near_duplicate(thumbnail(picture(i)))
        seen.add(thumbnail(picture(i)))
    assert all(seen.has_near_duplicate(thumbnail(noisy(picture(i), i))) for i in range(0, 300, 50))
    dark = np.zeros((48, 64, 3), np.uint8)
    seen.add(thumbnail(dark))
    assert seen.has_near_duplicate(thumbnail(noisy(dark, 1)))  # noise makes no picture


@pytest.mark.parametrize(
    ('source', 'fps', 'kept'),
    [
        ('nuscenes_front', 2, 52),  # one of a car that waits while another comes
        ('udacity_clips/project_video_frames_1fps', 1, 51),
        ('udacity_clips/videos/solidWhiteRight.mp4', 25, 18),
        ('udacity_clips/videos/vehicle_detection_test_video.mp4', 25, 4),
    ],
)
def test_real_drives_stay_and_real_stops_go(tmp_path, shared_data, source, fps, kept):
    path = shared_data / source
    images = sorted(path.iterdir()) if path.is_dir() else None
    out = tmp_path / 'out'
    frames(path, out, '--fps', fps, '--rate', 2)
    assert abs(len(book(out)) - kept) <= 1
    image = read_image(images[0] if images else read_split(out, 'train')[0].image)
    seen = SeenImages()
    seen.add(thumbnail(image))
    for i, gain in enumerate((0.9, 1.0, 1.1)):
        jpeg = rgb_to_compressed(noisy(image, i, gain), quality=60)
        standing = cv2.cvtColor(cv2.imdecode(jpeg, 1), cv2.COLOR_BGR2RGB)
        assert seen.has_near_duplicate(thumbnail(standing))
