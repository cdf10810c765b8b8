# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the writer of bags refuses, and what it leaves when it fails."""

from __future__ import annotations

import sqlite3

import pytest
from bag_reading import check_pictures
from sample_bags import (
    write_image_bag,
)

from unidrive_perception.bags.reader import BagError, BagWriter


def test_writer_refuses_what_exists(tmp_path):
    path = write_image_bag(tmp_path / 'drive', count=1)
    with pytest.raises(BagError, match='exists already'):
        BagWriter(path)
    check_pictures(path, count=1)


def test_writer_refuses_unknown_storage_and_types(tmp_path):
    with pytest.raises(BagError, match="'rosbag1': it is one of mcap, sqlite3"):
        BagWriter(tmp_path / 'bag', 'rosbag1')
    with pytest.raises(BagError, match='odd_msgs/msg/Odd'), BagWriter(tmp_path / 'bag') as writer:
        writer.write_raw('/odd', 'odd_msgs/msg/Odd', b'', 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_error_while_writing_leaves_nothing(tmp_path, storage):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'bag', storage) as writer:
        writer.add_topic('/a', 'std_msgs/msg/String')
        assert not (tmp_path / 'bag').exists()  # it has its name only when it is complete
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('call', ['add_connection', 'write'])
def test_full_disk_is_one_sentence(tmp_path, monkeypatch, call):
    def full(*_, **__):
        raise sqlite3.OperationalError('database or disk is full')

    with (
        pytest.raises(BagError, match='cannot be written: database or disk is full'),
        BagWriter(tmp_path / 'bag', 'sqlite3') as writer,
    ):
        monkeypatch.setattr(writer._writer, call, full)
        writer.write('/a', writer.typestore.types['std_msgs/msg/String']('x'), 0)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_is_full_from_the_beginning(tmp_path):
    """Stands for a full disk: this process may write no byte into a file."""
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(BagError, match='bag cannot be written'):
            BagWriter(tmp_path / 'bag', 'sqlite3')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(BagError, match='cannot be written'):
        BagWriter(tmp_path / 'file' / 'bag')


def test_folder_of_the_bag_is_made(tmp_path):
    check_pictures(write_image_bag(tmp_path / 'new' / 'folders' / 'drive'))
