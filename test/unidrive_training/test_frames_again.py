# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive frames`` into a folder that has some: after a kill, again, of another recording."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import cv2
from drive_bags import book, content, frames, noisy, write_drive
from sample_bags import picture, write_compressed_bag, write_image_bag, write_images

from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_training.data.bdd100k import read_split
from unidrive_training.data.frame_folder import FrameFolder


def test_killed_and_started_again(tmp_path):
    folder = write_images(tmp_path / 'images', [])
    for i in range(80):
        (folder / f'{i:03d}.jpg').write_bytes(rgb_to_compressed(picture(i, 360, 640)).tobytes())
    files = sorted(folder.iterdir())
    every_other_a_duplicate = [file for file in files for _ in range(2)]
    bag = write_compressed_bag(tmp_path / 'drive', every_other_a_duplicate)
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    frames(bag, whole, '--rate', 0)
    assert len(book(whole)) == 80
    command = [sys.executable, '-m', 'unidrive_training.cli', 'frames', bag, out, '--rate', '0']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = out / 'provenance.jsonl'
    while process.poll() is None and not (lines.exists() and len(lines.read_bytes()) > 5000):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    taken = lines.read_bytes().count(b'\n')
    assert 0 < taken < 80
    frames(bag, out, '--rate', 0)
    assert content(out) == content(whole)


def test_killed_at_the_worst_moments(tmp_path, capsys):
    """Half a line written, its image there; half an image lying aside."""
    bag, whole, out = write_drive(tmp_path / 'drive'), tmp_path / 'whole', tmp_path / 'out'
    for folder in (whole, out):
        frames(bag, folder, '--rate', 0)
    lines = (out / 'provenance.jsonl').read_bytes()
    last = lines.rstrip().rindex(b'\n')
    (out / 'provenance.jsonl').write_bytes(lines[: last + 90])
    (out / 'images/100k/train/.unfinished').write_bytes(b'half')
    frames(bag, out, '--rate', 0)
    assert content(out) == content(whole)
    capsys.readouterr()
    frames(bag, out, '--rate', 0)
    assert '0 kept, 35 there already, 0 too close in time, 5 near' in capsys.readouterr().out
    assert content(out) == content(whole)


def test_another_bag_is_added_without_what_was_seen(tmp_path, capsys):
    out = tmp_path / 'out'
    one = write_image_bag(tmp_path / 'one', pictures=[picture(i) for i in (1, 2, 3)])
    frames(one, out, '--rate', 0)
    before = content(out / 'images')
    pictures = [picture(9), noisy(picture(2), 0), picture(8)]
    two = write_image_bag(tmp_path / 'two', pictures=pictures)
    frames(two, out, '--rate', 0, '--split', 'val')
    assert '2 kept, 0 too close in time, 1 near-duplicates' in capsys.readouterr().out
    assert before.items() < content(out / 'images').items()
    assert len(read_split(out, 'train')) == 3 and len(read_split(out, 'val')) == 2
    assert [entry['split'] for entry in book(out)] == ['train'] * 3 + ['val'] * 2


def test_videos_of_one_name_do_not_overwrite_each_other(tmp_path):
    clips = []
    for i, fps in enumerate((20.0, 10.0)):
        (tmp_path / str(i)).mkdir()
        path = tmp_path / str(i) / 'clip.avi'
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, (64, 48))
        for j in range(6):
            writer.write(picture(10 * i + j))
        writer.release()
        clips.append(path)
    for _ in range(2):
        frames(*clips, tmp_path / 'out', '--rate', 5)
        names = [entry['name'] for entry in book(tmp_path / 'out')]
        assert names == [
            'clip-1000000000', 'clip-1200000000',
            'clip-1000000000_2', 'clip-1200000000_2', 'clip-1400000000',
        ]  # fmt: skip


def test_a_folder_keeps_its_names_when_an_image_is_added(tmp_path):
    folder = write_images(tmp_path / 'stills', ['b.jpg', 'c.png', 'sub c.jpg'])
    frames(folder, tmp_path / 'out')
    (folder / 'a.jpg').write_bytes(rgb_to_compressed(picture(77)).tobytes())
    frames(folder, tmp_path / 'out')
    entries = book(tmp_path / 'out')
    assert [entry['name'] for entry in entries] == [
        'stills-b', 'stills-c', 'stills-sub_c', 'stills-a',
    ]  # fmt: skip
    assert entries[1]['source'] == str(folder / 'c.png')
    images = tmp_path / 'out/images/100k/train'
    assert (images / 'stills-b.jpg').read_bytes() == (folder / 'b.jpg').read_bytes()
    assert (images / 'stills-c.jpg').read_bytes()[:2] == b'\xff\xd8'


def test_only_one_run_at_a_time(tmp_path, capsys):
    bag = write_image_bag(tmp_path / 'drive')
    with FrameFolder(tmp_path / 'out', 'train'):
        frames(bag, tmp_path / 'out', status=2)
    assert 'another `unidrive frames` is writing there' in capsys.readouterr().err
    frames(bag, tmp_path / 'out')
