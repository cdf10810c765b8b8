# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep-latest hand-over and the worker thread."""

import threading

from unidrive_perception.node.frames import FrameWorker, LatestFrames


def test_newest_frame_of_each_camera_in_order_of_arrival():
    frames = LatestFrames()
    assert [frames.put(*f) for f in (('a', 1), ('b', 1), ('a', 2), ('a', 3))] == [
        False,
        False,
        True,
        True,
    ]
    assert [frames.take(), frames.take()] == [[('a', 3)], [('b', 1)]]


def test_a_fast_camera_does_not_starve_a_slow_one():
    frames = LatestFrames()
    taken = []
    frames.put('slow', 0)
    for i in range(6):
        frames.put('fast', i)
        frames.put('fast', i + 100)
        ((camera, _),) = frames.take()
        taken.append(camera)
        if taken[-1] == 'slow':
            frames.put('slow', i)
    assert taken == ['slow', 'fast'] * 3


def test_close_wakes_the_taker_and_gives_up_what_waits():
    frames = LatestFrames()
    frames.put('a', 0)
    frames.put('b', 0)
    assert frames.take() == [('a', 0)]
    assert frames.close() == ['b']
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

    def work(batch):
        ((camera, frame),) = batch
        begun.set()
        go_on.wait(10)
        if frame == 'bad':
            raise ValueError('no good')
        done.append((camera, frame))

    worker = FrameWorker(frames, work, lambda batch, error: errors.append((batch, str(error))))
    frames.put('a', 'bad')
    assert begun.wait(10)
    begun.clear()
    frames.put('a', 'good')
    go_on.set()
    assert begun.wait(10)
    frames.put('b', 'never')
    given_up = worker.close()
    assert worker.wait(10)
    assert len(done) + len(given_up) == 2
    assert errors == [([('a', 'bad')], 'no good')]
    assert done[0] == ('a', 'good')
    assert len(done) <= 2  # b may have been taken before the stop


def test_frames_in_work_that_do_not_end_are_not_waited_for():
    frames, go_on = LatestFrames(), threading.Event()
    begun = threading.Event()
    worker = FrameWorker(frames, lambda batch: (begun.set(), go_on.wait(10)), print)
    frames.put('a', 1)
    assert begun.wait(10)
    frames.put('b', 1)
    assert worker.close() == ['b']
    assert not worker.wait(0.05)
    go_on.set()
    assert worker.wait(10)


def test_a_batch_has_each_camera_once_oldest_first():
    frames = LatestFrames()
    for camera, frame in (('a', 1), ('b', 1), ('a', 2), ('c', 1)):
        frames.put(camera, frame)
    assert frames.take(limit=2, wait_s=10) == [('a', 2), ('b', 1)]
    assert frames.take(limit=8) == [('c', 1)]


def test_a_batch_waits_for_the_other_cameras_but_not_for_long():
    frames = LatestFrames()
    frames.put('a', 1)
    assert frames.take(limit=2, wait_s=0.01) == [('a', 1)]
    frames.put('a', 2)
    late = threading.Timer(0.05, frames.put, ('b', 2))
    late.start()
    assert frames.take(limit=2, wait_s=30) == [('a', 2), ('b', 2)]
    late.join()


def test_closing_ends_the_wait_for_others():
    frames = LatestFrames()
    frames.put('a', 1)
    closer = threading.Timer(0.05, frames.close)
    closer.start()
    assert frames.take(limit=2, wait_s=30) is None
    closer.join()
