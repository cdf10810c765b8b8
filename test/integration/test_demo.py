# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The demo as a user starts it: processes, table, video and grid."""

import re

import cv2
import numpy as np
import pytest

from unidrive_training.cli import main
from unidrive_training.scenes.dataset import SceneSet, write_bag

pytestmark = pytest.mark.ros


def printed(capsys, name):
    output = capsys.readouterr().out
    values = dict(re.findall(r'^(\S.*?) {2,}(.*)$', output, re.MULTILINE))
    assert name in values, output
    return values


def test_demo_on_a_bag_with_truth(tmp_path, capsys, ros_domain):
    bag = tmp_path / 'drive'
    write_bag(bag, SceneSet(drives=1, frames=15, seed=77), 'mcap', compressed=False)
    out = tmp_path / 'out'
    assert main(['demo', '--input', str(bag), '--out', str(out)]) == 0
    values = printed(capsys, 'semantic mIoU')
    assert values['frames'].startswith('15 played')
    results = int(values['results'].split()[0])
    assert 5 <= results <= 15
    assert 20 < float(values['semantic mIoU'].removesuffix(' %')) <= 100
    assert 40 < float(values['drivable mIoU, plain'].removesuffix(' %')) <= 100
    video = cv2.VideoCapture(str(out / 'overlay.mp4'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == results
    grid = cv2.imread(str(out / 'grid.png'))
    assert grid is not None and grid.std() > 10


def test_demo_on_a_folder_of_images_without_truth(tmp_path, capsys, ros_domain):
    images = tmp_path / 'images'
    images.mkdir()
    for i in range(8):
        picture = np.full((360, 640, 3), 40 + 20 * i, np.uint8)
        cv2.imwrite(str(images / f'{i}.jpg'), picture)
    out = tmp_path / 'out'
    assert main(['demo', '--input', str(images), '--out', str(out)]) == 0
    values = printed(capsys, 'results')
    assert 'semantic mIoU' not in values
    assert (out / 'overlay.mp4').stat().st_size > 0


def test_demo_errors_are_one_sentence(tmp_path, capsys):
    missing = tmp_path / 'none.mp4'
    assert main(['demo', '--input', str(missing), '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'none.mp4' in error and error.count('\n') == 1
    assert main(['demo', '--model', str(tmp_path / 'bundle'), '--out', str(tmp_path / 'out')]) == 2
    assert 'bundle' in capsys.readouterr().err
