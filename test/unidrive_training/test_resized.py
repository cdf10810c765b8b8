# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Shrunk copies and reduced decoding give what shrinking a whole image gives."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import cv2
import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_training.data import resized
from unidrive_training.data.bdd100k import Bdd100kWriter, read_split
from unidrive_training.data.resized import ResizedCopies
from unidrive_training.data.sample import load_sample


def write(root, count):
    """Frames of 320×180 pixels with soft random shapes and all labels."""
    rng = np.random.default_rng(0)
    with Bdd100kWriter(root, 'train') as writer:
        for number in range(count):
            image = rng.integers(60, 200, (9, 16, 1)) + rng.integers(-20, 20, (9, 16, 3))
            masks = rng.integers(0, 3, (2, 9, 16), np.uint8)
            large = [cv2.resize(m, (320, 180), interpolation=cv2.INTER_NEAREST) for m in masks]
            writer.add(
                str(number),
                cv2.resize(image.astype(np.uint8), (320, 180)),
                boxes=np.array([[10, 20, 33.5, 41]]),
                class_ids=np.array([2]),
                semantic=large[0],
                drivable=large[1],
            )
    return read_split(root, 'train')


@pytest.fixture
def record(tmp_path):
    return write(tmp_path / 'data', 1)[0]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


def assert_close(one, other):
    """Labels are equal; pixels are as near as JPEG lets them."""
    np.testing.assert_array_equal(one.semantic, other.semantic)
    np.testing.assert_array_equal(one.drivable, other.drivable)
    np.testing.assert_array_equal(one.boxes.boxes, other.boxes.boxes)
    assert one.image.shape == other.image.shape
    assert np.abs(one.image.astype(int) - other.image).mean() < 3


def test_a_copy_is_the_shrunk_sample_and_is_made_once(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 200)
    first = load_sample(record, copies=copies)
    assert first.image.shape == (112, 200, 3)
    assert_close(first, load_sample(record, 200))
    made = files(copies.folder)
    assert sorted(path.suffix for path in made) == ['.jpg', '.png', '.png']
    again = load_sample(record, copies=copies)
    np.testing.assert_array_equal(first.image, again.image)
    assert_close(first, again)
    assert files(copies.folder) == made


def test_the_originals_are_not_decoded_again(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 200)
    first = load_sample(record, copies=copies)
    originals = {str(record.image), str(record.semantic), str(record.drivable)}
    decode = cv2.imread

    def watched(path, *args):
        assert path not in originals
        return decode(path, *args)

    with mock.patch('cv2.imread', watched):
        assert_close(first, load_sample(record, copies=copies))


def test_a_smaller_side_may_be_asked_for(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 200)
    sample, direct = load_sample(record, 100, copies), load_sample(record, 100)
    np.testing.assert_allclose(sample.boxes.boxes, direct.boxes.boxes)
    assert sample.image.shape[:2] == sample.semantic.shape == (56, 100)
    assert (sample.semantic == direct.semantic).mean() > 0.9  # nearest of nearest
    assert load_sample(record, 300, copies).image.shape == (112, 200, 3)


def test_small_images_are_not_copied(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 320)
    one, other = load_sample(record, copies=copies), load_sample(record)
    np.testing.assert_array_equal(one.image, other.image)
    assert_close(one, other)
    assert not copies.folder.exists()


def test_a_changed_original_is_noticed(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 200)
    load_sample(record, copies=copies)
    status = record.semantic.stat()
    cv2.imwrite(str(record.semantic), np.full((180, 320), 7, np.uint8))
    os.utime(record.semantic, ns=(status.st_atime_ns, status.st_mtime_ns))  # by its size alone
    assert (load_sample(record, copies=copies).semantic == 7).all()
    cv2.imwrite(str(record.semantic), np.full((180, 320), 9, np.uint8))
    assert (load_sample(record, copies=copies).semantic == 9).all()


def _load_all(folder, records):
    cv2.setNumThreads(0)  # the parent's threads are not here
    copies = ResizedCopies(folder, 160)
    return [int(load_sample(record, copies=copies).image.sum()) for record in records]


def test_many_processes_share_a_folder(tmp_path):
    records = write(tmp_path / 'data', 16)
    copies = tmp_path / 'copies'
    with ProcessPoolExecutor(4, get_context('fork')) as pool:
        sums = list(pool.map(_load_all, [copies] * 4, [records] * 4))
    assert sums[0] == sums[1] == sums[2] == sums[3] == _load_all(copies, records)
    cv2.setNumThreads(-1)
    assert len(files(copies)) == 3 * 16
    assert {path.suffix for path in files(copies)} == {'.jpg', '.png'}  # and no .part


def test_nothing_half_written_remains(record, tmp_path):
    copies = ResizedCopies(tmp_path / 'copies', 200)
    full = OSError(28, 'No space left on device')
    with (
        mock.patch.object(resized.os, 'replace', side_effect=full),
        pytest.raises(UserError, match=r'No space left on device.*make room'),
    ):
        load_sample(record, copies=copies)
    assert not files(copies.folder)
    copies = ResizedCopies(record.image, 200)  # a file, not a folder
    with pytest.raises(UserError, match='cannot hold resized copies'):
        load_sample(record, copies=copies)


@pytest.mark.parametrize(
    ('longest_side', 'part'), [(160, 2), (150, 2), (161, 1), (80, 4), (40, 4)]
)
def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(record, longest_side, part):
    cv2.imwrite(str(record.image), cv2.imread(str(record.image)))  # OpenCV's default quality
    png = record.image.with_suffix('.png')
    cv2.imwrite(str(png), cv2.imread(str(record.image)))  # decoded whole, then shrunk
    flags = []
    decode = cv2.imread

    def watched(path, flag):
        flags.append(flag)
        return decode(path, flag)

    with mock.patch('cv2.imread', watched):
        reduced = load_sample(record, longest_side)
    expected = {1: 'IMREAD_COLOR'}.get(part, f'IMREAD_REDUCED_COLOR_{part}')
    assert flags[0] == getattr(cv2, expected)
    record.image = png
    whole = load_sample(record, longest_side)
    assert_close(reduced, whole)
    assert np.abs(reduced.image.astype(int) - whole.image).mean() < 2.5


def test_an_odd_size_and_a_turned_jpeg_keep_boxes_in_place(record):
    """Half of 321×181 is 161×91, which is no factor for boxes; EXIF 6 turns the picture."""
    from PIL import Image

    picture = Image.fromarray(np.zeros((181, 321, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(record.image, exif=exif)
    record.semantic = record.drivable = None
    sample = load_sample(record, 100)
    assert sample.image.shape == (100, 56, 3)
    factor = np.array([56 / 181, 100 / 321] * 2, np.float32)
    np.testing.assert_allclose(sample.boxes.boxes, record.boxes.boxes * factor, rtol=1e-6)
