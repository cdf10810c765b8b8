# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of images through the node, without ROS: what is counted, published, and survived."""

import random
import time

import numpy as np
import pytest
from pipeline_rig import (
    SECOND,
    Rig,
    bundle,  # noqa: F401
)

from unidrive_perception.node import pipeline
from unidrive_perception.node.frames import FrameWorker


def test_each_image_has_one_end(bundle):
    rig = Rig(bundle)
    for second in (1_000, 1_001, 1_002):
        rig.send(second=second)
    assert rig.counts() == {'dropped': 2, 'waiting': 1}
    rig.work()
    assert rig.counts() == {'dropped': 2, 'processed': 1}
    assert [m.header.stamp.sec for m in rig.heard()] == [1_002]  # the newest
    rig.send(encoding='hsv32')
    rig.work()
    assert rig.counts()['bad'] == 1 and 'hsv32' in rig.log.errors[0]
    rig.settings['max_age'] = 0.5
    rig.send(second=999)
    rig.work()
    assert rig.counts()['late'] == 1
    rig.settings['max_rate'] = 0.001
    rig.send()
    rig.send()
    ends = {'dropped': 2, 'processed': 1, 'bad': 1, 'late': 1, 'limited': 1}
    assert rig.counts() == {**ends, 'waiting': 1}


@pytest.mark.parametrize('seed', range(4))
def test_counters_add_up_whatever_comes(bundle, seed):
    chance = random.Random(seed)
    rig = Rig(bundle, ('front', 'left', 'rear'))
    wrongs = ({}, {}, {'encoding': 'hsv32'}, {'step': 7}, {'height': 0})
    for _ in range(150):
        rig.settings['max_batch'] = chance.randint(1, 3)
        rig.settings['batch_wait_ms'] = 0.0
        rig.settings['max_age'] = chance.choice((0.0, 0.5))
        rig.settings['max_rate'] = chance.choice((0.0, 0.0, 50.0))
        for topic in rig.streams['rear'].outputs.publishers.values():
            topic.error = chance.choice((None, None, RuntimeError('gone')))
        camera = chance.choice(('front', 'front', 'left', 'rear'))
        rig.send(camera, chance.choice((1_000, 998)), **chance.choice(wrongs))
        if chance.random() < 0.4 and rig.pipeline.frames._waiting:
            rig.work()
        for name in rig.streams:
            rig.counts(name)  # adds up at any time
    for name in rig.pipeline.frames.close():
        assert rig.counts(name)['waiting'] == 1
        rig.streams[name].health.dropped()
    ends = {end for name in rig.streams for end in rig.counts(name)}
    assert ends >= {'processed', 'dropped', 'late', 'limited', 'bad'}


def test_counters_add_up_between_two_threads(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=2, batch_wait_ms=0.5)
    pipeline = rig.pipeline
    worker = FrameWorker(pipeline.frames, pipeline.work, pipeline.failed, pipeline.limits)
    for second in range(1_000, 1_400):
        rig.send('front' if second % 4 else 'left', second)
        rig.streams['front'].outputs.wanted()  # as the node does meanwhile
    for name in worker.close():
        rig.streams[name].health.dropped()
    assert worker.wait(10)
    for camera, sent in (('front', 300), ('left', 100)):
        counts = rig.counts(camera)
        assert sum(counts.values()) == sent and set(counts) <= {'processed', 'dropped'}
        seconds = [m.header.stamp.sec for m in rig.heard(camera=camera)]
        assert seconds == sorted(set(seconds)) and len(seconds) == counts.get('processed', 0)


def test_a_result_has_the_header_of_its_image(bundle):
    cameras = ('front', 'left', 'rear')
    rig = Rig(bundle, cameras, max_batch=3)
    headers = {camera: rig.send(camera, 1_000 + i) for i, camera in enumerate(cameras)}
    rig.work()
    for camera in cameras:
        (result,), (timing,) = rig.heard(camera=camera), rig.heard('timing', camera)
        assert result.header is timing.header is headers[camera]
        assert timing.batch_size == 3


@pytest.mark.parametrize('wrong', [{'encoding': 'hsv32'}, {'data': np.zeros(5, np.uint8)}])
def test_a_bad_image_costs_its_batch_nothing(bundle, wrong):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    rig.send('front', **wrong)
    rig.send('left')
    rig.work()
    assert (rig.counts('front'), rig.counts('left')) == ({'bad': 1}, {'processed': 1})
    assert rig.heard('timing', 'left')[0].batch_size == 1


def test_an_exception_of_our_decoder_costs_one_image(bundle):
    rig = Rig(bundle, ('front', 'left', 'rear'), max_batch=3)
    rig.streams['left'].decode = lambda message: 1 / 0
    for camera, wrong in (('front', {'encoding': 'hsv32'}), ('left', {}), ('rear', {})):
        rig.send(camera, **wrong)
    rig.work()
    assert rig.counts('front') == {'bad': 1}
    assert rig.counts('left') == {'failed': 1}
    assert rig.counts('rear') == {'processed': 1}
    assert 'ZeroDivisionError' in rig.log.errors[-1]


def test_weak_boxes_are_only_for_the_tracker(bundle):
    rig = Rig(bundle, score_threshold=0.8)  # blue has 0.6
    for tracking in (False, True):
        rig.settings['tracking'] = tracking
        rig.send()
        rig.work()
        assert [d.class_name for d in rig.heard()[-1].detections.detections] == ['red']


def test_settings_hold_from_the_next_image_on(bundle):
    rig = Rig(bundle)

    def answer(**settings):
        rig.settings.update(settings)
        rig.send()
        rig.work()
        return rig.heard()[-1]

    assert len(answer(score_threshold=0.1).detections.detections) == 3
    assert len(answer(score_threshold=-1.0).detections.detections) == 2
    assert answer(mask_downscale=4).semantic_mask.height == 24
    less = answer(tasks=['drivable', 'detection'])
    assert (less.semantic_mask.height, less.drivable_mask.height) == (0, 24)


def test_nothing_is_published_when_nobody_listens(bundle):
    rig = Rig(bundle, topics=())
    rig.send()
    rig.work()
    assert rig.counts() == {'processed': 1}
    assert not any(topic.heard for topic in rig.streams['front'].outputs.publishers.values())


def test_a_publisher_that_raises_costs_the_image_of_its_camera(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    rig.topic('result').error = RuntimeError('no room')
    for camera in rig.streams:
        rig.send(camera)
    rig.work()
    assert (rig.counts('front'), rig.counts('left')) == ({'failed': 1}, {'processed': 1})
    assert 'RuntimeError: no room' in rig.log.errors[0]
    assert not rig.heard('timing')


def test_what_worker_catches_is_counted_for_the_whole_batch(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    for camera in rig.streams:
        rig.send(camera)
    batch = rig.pipeline.frames.take(2)
    rig.pipeline.failed(batch, MemoryError('of the settings'))
    assert rig.counts('front') == rig.counts('left') == {'failed': 1}


def test_batches_are_no_larger_than_the_cameras_that_send(bundle):
    rig = Rig(bundle, ('front', 'left', 'dead'), batch_wait_ms=20.0)
    for camera in ('front', 'left'):
        rig.send(camera)
    assert rig.pipeline.limits() == (1, 0.02)  # on the CPU one by one
    rig.settings['max_batch'] = 8
    assert rig.pipeline.limits() == (2, 0.02)


def test_a_camera_none_of_whose_images_are_taken_is_not_waited_for(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=8, max_rate=0.01)
    for camera in rig.streams:
        rig.send(camera)
    assert rig.pipeline.limits()[0] == 2
    rig.streams['left'].admitted -= 2.0  # its last that was taken is 2 s old
    rig.send('left')
    assert rig.counts('left') == {'limited': 1, 'waiting': 1}
    assert rig.pipeline.limits()[0] == 1


def test_a_broken_camera_does_not_fill_the_disk_nor_silence_another(bundle):
    rig = Rig(bundle, ('front', 'left'))
    for _ in range(5):
        for camera in rig.streams:
            rig.send(camera, encoding='nonsense')
            rig.work()
    assert [text.partition(':')[0] for text in rig.log.errors] == ['/front/image', '/left/image']


def test_a_message_that_fails_keeps_the_others_not_back(bundle):
    rig = Rig(bundle, topics=('result', 'detections', 'timing'))
    rig.topic('result').error = RuntimeError('no room')
    rig.send()
    rig.work()
    assert rig.counts() == {'failed': 1} and len(rig.heard('detections')) == 1


def test_the_first_image_is_told_once(bundle):
    rig = Rig(bundle)
    rig.send()
    rig.send()
    assert rig.log.infos == ["first image on /front/image: frame_id 'front'"]
    assert not rig.log.warnings


@pytest.mark.parametrize(
    ('clock', 'said'),
    [
        (1_059, None),
        (1_130, '2 minutes behind the clock'),
        (1_700_000_000, '54 years behind the clock'),
        (200, '13 minutes ahead of the clock'),
        (0, None),  # not known yet
    ],
)
def test_stamps_of_another_time_are_told_once(bundle, clock, said):
    rig = Rig(bundle)
    rig.now_ns = clock * SECOND
    rig.send(second=1_000)
    rig.send(second=1_001)
    assert len(rig.log.warnings) == bool(said) and (said or '') in ''.join(rig.log.warnings)


def test_a_clock_that_does_not_come_is_missed(bundle, monkeypatch):
    monkeypatch.setattr(pipeline, 'CLOCK_S', 0.05)
    rig = Rig(bundle)
    rig.now_ns = 0
    rig.send(second=1_000)
    assert not rig.log.warnings
    time.sleep(0.06)
    rig.send(second=1_001)
    rig.send(second=1_002)
    (warning,) = rig.log.warnings
    assert warning.startswith('/front/image: use_sim_time is true and nobody publishes /clock')


def test_stamps_are_compared_as_soon_as_the_clock_is_known(bundle):
    rig = Rig(bundle)
    rig.now_ns = 0
    rig.send(second=1_000)
    assert not rig.log.warnings
    rig.now_ns = 5_000 * SECOND
    rig.send(second=1_001)
    (warning,) = rig.log.warnings
    assert warning.startswith('/front/image: stamps are 67 minutes behind the clock, so ages ')
