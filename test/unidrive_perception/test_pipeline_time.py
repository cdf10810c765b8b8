# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Stamps, ages and stages of images on their way through the node."""

import math
import time
from dataclasses import replace

import pytest
from pipeline_rig import (
    SECOND,
    Rig,
    bundle,  # noqa: F401
    ids,
)

from unidrive_perception.predictor import StageTimes


def test_timing_tells_the_counters(bundle):
    rig = Rig(bundle)
    rig.send()
    rig.send()
    rig.work()
    (timing,) = rig.heard('timing')
    assert (timing.received, timing.processed, timing.dropped) == (2, 1, 1)
    assert timing.batch_size == 1 and timing.age_ms == 0
    assert min(timing.decode_ms, timing.inference_ms, timing.publish_ms) > 0


def test_each_stage_has_its_own_time(bundle, monkeypatch):
    rig = Rig(bundle, tracking=True)
    stream, model = rig.streams['front'], rig.pipeline.model
    slow = {'decode': 0.04, 'track': 0.08, 'publish': 0.16}

    def slowly(function, seconds):
        return lambda *arguments: (time.sleep(seconds), function(*arguments))[1]

    monkeypatch.setattr(stream, 'decode', slowly(stream.decode, slow['decode']))
    monkeypatch.setattr(stream.tracker, 'update', slowly(stream.tracker.update, slow['track']))
    monkeypatch.setattr(stream.outputs, 'publish', slowly(stream.outputs.publish, slow['publish']))
    known = StageTimes(preprocess_ms=1e6, inference_ms=2e6, postprocess_ms=3e6)
    predict = model.predict_batch

    def predict_with_known_times(images):
        return [replace(prediction, timing=known) for prediction in predict(images)]

    monkeypatch.setattr(model, 'predict_batch', predict_with_known_times)
    rig.send()
    rig.work()
    (timing,) = rig.heard('timing')
    for stage, seconds in slow.items():
        assert getattr(timing, f'{stage}_ms') >= 1e3 * seconds
    told = (timing.preprocess_ms, timing.inference_ms, timing.postprocess_ms)
    assert told == (1e6, 2e6, 3e6)


@pytest.mark.parametrize(('now_ns', 'second'), [(0, 1_000), (1_000 * SECOND, 0)])
def test_without_clock_or_stamp_the_age_is_unknown_and_no_image_is_late(bundle, now_ns, second):
    rig = Rig(bundle, max_age=0.001)
    rig.now_ns = now_ns
    rig.send(second=second)
    rig.work()
    assert rig.counts() == {'processed': 1}
    assert math.isnan(rig.heard('timing')[0].age_ms)


def test_an_image_of_the_future_is_not_late(bundle):
    rig = Rig(bundle, max_age=0.001)
    rig.send(second=1_010)
    rig.work()
    assert rig.counts() == {'processed': 1}
    assert rig.heard('timing')[0].age_ms == -10_000


def test_time_that_jumps_back_ends_the_tracks_of_that_camera(bundle):
    rig = Rig(bundle, ('front', 'left'), tracking=True)

    def film(front, left):
        for i in range(3):
            for camera, second in (('front', front), ('left', left)):
                header = rig.send(camera, second)
                header.stamp.nanosec = i * SECOND // 10
                rig.work()
        return ids(rig), ids(rig, 'left')

    assert film(1_000, 1_000) == ({1, 2}, {1, 2})
    assert film(900, 1_001) == ({3, 4}, {1, 2})
    assert [line for line in rig.log.infos if 'jumped back' in line] == [
        '/front/image: stamps jumped back by 100.200 s'
    ]
    assert film(1_000, 1_002) == ({5, 6}, {1, 2})


def test_how_long_a_batch_is_in_work(bundle):
    rig, seen = Rig(bundle), []

    def decode(message):
        seen.append(rig.pipeline.busy_s(time.monotonic() + 60))
        return 1 / 0

    rig.streams['front'].decode = decode
    rig.send()
    rig.work()
    assert 60 <= seen[0] < 120
    assert rig.pipeline.busy_s(time.monotonic() + 60) == 0


def test_late_images_are_told_of_with_their_age(bundle):
    rig = Rig(bundle, max_age=0.5)
    for second in (998, 997):
        rig.send(second=second)
        rig.work()
    assert rig.counts() == {'late': 2}
    (said,) = rig.log.warnings  # at most one in a second
    assert said == '/front/image: image skipped: it is 2.00 s old, max_age is 0.5 s'


def test_stamps_that_come_in_another_order_end_no_tracks(bundle):
    rig = Rig(bundle, tracking=True)
    for nanosec in (0, 1, 3, 2, 4, 6, 5):
        rig.send().stamp.nanosec = nanosec * SECOND // 10
        rig.work()
    assert ids(rig) == {1, 2}
    assert not [line for line in rig.log.infos if 'jumped back' in line]


def test_stamps_that_jump_back_silence_no_error_and_are_told_once_a_second(bundle):
    rig = Rig(bundle)
    for second in (1_000, 900, 1_000, 900):
        rig.send(second=second)
        rig.work()
    rig.send(encoding='nonsense')
    rig.work()
    assert len([line for line in rig.log.infos if 'jumped back' in line]) == 1
    assert len(rig.log.errors) == 1


def test_a_timing_that_cannot_be_told_is_no_failed_image(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    rig.topic('timing').error = RuntimeError('no room')
    for camera in rig.streams:
        rig.send(camera)
    rig.work()
    assert (rig.counts('front'), rig.counts('left')) == ({'processed': 1}, {'processed': 1})
    assert len(rig.heard()) == len(rig.heard(camera='left')) == 1
    assert 'RuntimeError: no room' in rig.log.errors[0]
