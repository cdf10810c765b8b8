# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep-latest hand-over and the worker thread."""

import threading

from unidrive_perception.frames import FrameWorker, LatestFrames


def test_newest_frame_of_each_camera_in_order_of_arrival():
    frames = LatestFrames()
    assert [frames.put(*f) for f in (('a', 1), ('b', 1), ('a', 2), ('a', 3))] == [
        False,
        False,
        True,
        True,
    ]
    assert [frames.take(), frames.take()] == [('a', 3), ('b', 1)]


def test_a_fast_camera_does_not_starve_a_slow_one():
    frames = LatestFrames()
    taken = []
    frames.put('slow', 0)
    for i in range(6):
        frames.put('fast', i)
        frames.put('fast', i + 100)
        taken.append(frames.take()[0])
        if taken[-1] == 'slow':
            frames.put('slow', i)
    assert taken == ['slow', 'fast'] * 3


def test_close_wakes_the_taker_and_gives_up_what_waits():
    frames = LatestFrames()
    results = []
    taker = threading.Thread(target=lambda: results.append(frames.take()))
    taker.start()
    frames.close()
    taker.join(10)
    assert results == [None]
    frames.put('a', 1)
    assert frames.take() is None


def test_worker_outlives_errors_and_finishes_the_frame_in_work():
    frames = LatestFrames()
    begun, go_on = threading.Event(), threading.Event()
    done, errors = [], []

    def work(camera, frame):
        begun.set()
        go_on.wait(10)
        if frame == 'bad':
            raise ValueError('no good')
        done.append((camera, frame))

    worker = FrameWorker(frames, work, lambda camera, error: errors.append((camera, str(error))))
    frames.put('a', 'bad')
    assert begun.wait(10)
    begun.clear()
    frames.put('a', 'good')
    go_on.set()
    assert begun.wait(10)
    frames.put('b', 'never')
    worker.stop()
    assert errors == [('a', 'no good')]
    assert done[0] == ('a', 'good')
    assert len(done) <= 2  # b may have been taken before the stop
