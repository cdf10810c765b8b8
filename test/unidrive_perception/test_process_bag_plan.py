# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""How the frames are divided into shards, and what the cameras are called."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.processing.cameras import Camera, asked_cameras
from unidrive_perception.processing.plan import SHARD_FRAMES, Plan, make_shards, shares
from unidrive_perception.processing.work_folder import WorkFolder


@pytest.mark.parametrize('count', [1, 9, 10, 25, 159, 160, 161, 1600, 12345])
def test_shards_cover_every_frame_once(count):
    positions = 1_700_000_000_000_000_000 + np.arange(count) * 100
    shards = make_shards(positions)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    ends = [shard.begin + shard.count for shard in shards]
    assert [shard.begin for shard in shards] == [0, *ends[:-1]]
    assert ends[-1] == count
    assert [shard.is_last for shard in shards] == [False] * (len(shards) - 1) + [True]
    assert [shard.position for shard in shards] == [positions[shard.begin] for shard in shards]
    assert max(shard.count for shard in shards) <= SHARD_FRAMES
    assert min(shard.count for shard in shards[:-1] or shards) >= min(count, 10)


def test_frames_of_one_nanosecond_stay_together():
    positions = [0] * 15 + [5] * 12 + list(range(6, 30))
    begins = [shard.begin for shard in make_shards(positions)]
    assert begins == [0, 15, 27, 37, 47]


def test_files_that_overlap_are_cut_only_where_a_reader_can_begin():
    """Positions in the order of reading; from each shard's position on, what follows is read."""
    rng = np.random.default_rng(0)
    positions = np.arange(300) + rng.integers(0, 8, 300)
    shards = make_shards(positions)
    assert len(shards) > 8
    for shard in shards:
        readable = np.flatnonzero(positions >= shard.position)
        assert readable.tolist() == list(range(shard.begin, 300))
    assert len(make_shards(np.arange(300)[::-1])) == 1
    assert make_shards([]) == []


def test_shares_are_runs_of_about_as_many_frames():
    shards = make_shards(range(1000))
    for jobs in (1, 2, 3, 7):
        parts = shares(shards, jobs)
        assert len(parts) == jobs
        assert [shard for part in parts for shard in part] == shards
        frames = [sum(shard.count for shard in part) for part in parts]
        assert max(frames) - min(frames) <= 2 * max(shard.count for shard in shards)
    assert [len(part) for part in shares(shards[:2], 8)] == [1, 1]
    assert shares([], 2) == []


def test_names_of_cameras():
    assert asked_cameras([], []) == []
    assert asked_cameras(['/camera/image_raw'], []) == [Camera('/camera/image_raw')]
    both = asked_cameras(['/cam_front/image_raw', '/cam_left/image_rect/compressed'], [])
    assert [camera.name for camera in both] == ['cam_front', 'cam_left']
    same = asked_cameras(['/front/camera/image', '/rear/camera/image'], [])
    assert [camera.name for camera in same] == ['front_camera', 'rear_camera']
    named = asked_cameras(['/left/image'], ['front=/a/b'])
    assert [(camera.name, camera.topic) for camera in named] == [
        ('front', '/a/b'), ('left', '/left/image'),
    ]  # fmt: skip
    assert named[0].prefix == '/perception/front/'


@pytest.mark.parametrize(
    ('topics', 'named', 'words'),
    [
        ([], ['front'], '--camera must be like front=/cam_front/image_raw, not front'),
        ([], ['front='], '--camera must be like'),
        ([], ['a=/x', 'a=/y'], 'a list of different names'),
        ([], ['1=/x'], 'a letter first'),
        ([], ['result=/x'], 'other names than'),
        (['/x', '/x'], [], '/x is given twice'),
        (['/x'], ['a=/x'], '/x is given twice'),
    ],
)
def test_wrong_cameras(topics, named, words):
    with pytest.raises(UserError, match=words):
        asked_cameras(topics, named)


def test_a_plan_is_kept(tmp_path):
    work = WorkFolder(tmp_path / 'out')
    plan = Plan(make_shards(range(40)), 'damaged')
    with work.hold():
        assert work.read_plan({'model': 'a'}) is None
        work.write_plan({'model': 'a'}, plan)
        assert work.read_plan({'model': 'a'}) == plan
        with pytest.raises(UserError, match=r'\(--model was a, is now b\).*remove the folder'):
            work.read_plan({'model': 'b'})
        (work.path / 'plan.json').write_text(json.dumps({'job': {}}))
        with pytest.raises(UserError, match='cannot be read'):
            work.read_plan({'model': 'a'})
    assert not work.path.exists(), 'nothing was finished'
