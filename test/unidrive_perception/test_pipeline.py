# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of images through the node, without ROS: what is counted, published, and survived."""

import math
import random
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import yaml
from tiny_bundle import BLUE, RED, street, tiny_bundle, write_tiny_bundle

from unidrive_perception.bundle import Bundle
from unidrive_perception.image_codec import image_to_rgb
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import image_message, make_header
from unidrive_perception.node.diagnostics import CameraHealth
from unidrive_perception.node.frame_messages import TOPIC_TYPES
from unidrive_perception.node.frames import FrameWorker
from unidrive_perception.node.outputs import Outputs
from unidrive_perception.node.parameters import PARAMETERS
from unidrive_perception.node.pipeline import Pipeline
from unidrive_perception.node.stream import CameraStream
from unidrive_perception.predictor import Predictor, StageTimes

MAKE = BagFactory(default_typestore())
SMALL = street(96, 160)
ENDS = ('processed', 'dropped', 'late', 'limited', 'bad', 'failed')
SECOND = 10**9


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp('pipeline') / 'tiny')


class Topic:
    """A publisher that keeps what it is given, or raises ``error``."""

    def __init__(self):
        self.subscribers, self.heard, self.error = 0, [], None

    def get_subscription_count(self):
        return self.subscribers

    def publish(self, message):
        if self.error:
            raise self.error
        self.heard.append(message)


class Log:
    """Keeps what a node would log."""

    def __init__(self):
        self.infos, self.warnings, self.errors = [], [], []

    def info(self, text, **_):
        self.infos.append(text)

    def warning(self, text):
        self.warnings.append(text)

    def error(self, text):
        self.errors.append(text)


class Rig:
    """A pipeline with cameras, and everything that a node would give it."""

    def __init__(self, bundle, cameras=('front',), topics=('result', 'timing'), **settings):
        self.settings = {spec.name: spec.default for spec in PARAMETERS} | settings
        self.now_ns, self.log, self.announced = 1_000 * SECOND, Log(), []
        self.streams = {}
        for name in cameras:
            publishers = {topic: Topic() for topic in (*TOPIC_TYPES, 'timing')}
            for topic in topics:
                publishers[topic].subscribers = 1
            health = CameraHealth(f'/{name}/image', now=0.0)
            self.streams[name] = CameraStream(
                name, health.topic, image_to_rgb, Outputs(publishers), health
            )
        self.pipeline = Pipeline(
            Predictor(bundle, 'cpu', 1),
            self.streams,
            MAKE,
            settings=lambda: self.settings,
            now_ns=lambda: self.now_ns,
            log=self.log,
            announce=self.announced.append,
        )

    def send(self, camera='front', second=1_000, rgb=SMALL, **wrong):
        header = make_header(MAKE, second * SECOND, camera)
        message = image_message(MAKE, header, rgb)
        for field, value in wrong.items():
            setattr(message, field, value)
        self.pipeline.receive(camera, message)
        return header

    def work(self):
        self.pipeline.work(self.pipeline.frames.take(*self.pipeline.limits()))

    def topic(self, name, camera='front'):
        return self.streams[camera].outputs.publishers[name]

    def heard(self, name='result', camera='front'):
        return self.topic(name, camera).heard

    def counts(self, camera='front'):
        """All counters that are not zero; ``received`` must be the sum of the others."""
        counters = self.streams[camera].health.counters
        found = {name: getattr(counters, name) for name in ENDS if getattr(counters, name)}
        waiting = counters.received - sum(found.values())
        assert 0 <= waiting <= 1
        return found | ({'waiting': waiting} if waiting else {})


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


def with_classes(folder, count):
    """A bundle whose manifest has the first ``count`` detection classes."""
    write_tiny_bundle(folder)
    manifest = folder / 'manifest.yaml'
    content = yaml.safe_load(manifest.read_text())
    content['tasks']['detection']['classes'] = content['tasks']['detection']['classes'][:count]
    content['program'].pop('labels_sha256', None)  # the bundle would be refused
    manifest.write_text(yaml.safe_dump(content))
    return Bundle.load(folder)


def filled(colour):
    return np.full((96, 160, 3), colour, np.uint8)


def test_a_model_that_fails_on_one_image_of_a_batch_costs_one(tmp_path):
    """Its table lacks blue, so the whole batch raises; one by one, only the blue image does."""
    rig = Rig(with_classes(tmp_path / 'wrong', 1), ('front', 'left', 'rear'), max_batch=3)
    for camera, colour in (('front', RED), ('left', BLUE), ('rear', RED)):
        rig.send(camera, rgb=filled(colour))
    rig.work()
    assert [rig.counts(camera) for camera in rig.streams] == [
        {'processed': 1},
        {'failed': 1},
        {'processed': 1},
    ]
    assert rig.heard()[0].detections.detections[0].class_name == 'red'
    assert not rig.heard(camera='left')
    assert 'gave class id 2' in rig.log.errors[0] and 'Traceback' not in rig.log.errors[0]


def test_a_batch_ends_with_the_model_it_began_with(bundle, tmp_path):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    other = Predictor(tiny_bundle(tmp_path / 'other', tasks=('semantic',)), 'cpu', 1)

    def decode_while_the_model_changes(message):
        rig.pipeline.change_model(other)
        return image_to_rgb(message)

    rig.streams['front'].decode = decode_while_the_model_changes
    for begun_with in ('old', 'new'):
        rig.send('front')
        rig.send('left')
        rig.work()
        for camera in rig.streams:
            result = rig.heard(camera=camera)[-1]
            found = (len(result.detections.detections), result.drivable_mask.height)
            assert found == ((2, 96) if begun_with == 'old' else (0, 0))


def test_objects_are_followed_into_a_model_with_the_same_classes(bundle, tmp_path):
    rig = Rig(bundle, tracking=True)
    for model in (rig.pipeline.model, Predictor(tiny_bundle(tmp_path / 'same'), 'cpu', 1)):
        rig.pipeline.change_model(model)
        for _ in range(3):
            rig.send()
            rig.work()
        assert ids(rig) == {1, 2}


def test_an_object_does_not_keep_a_class_that_the_new_model_lacks(bundle, tmp_path):
    rig = Rig(bundle, tracking=True)
    for second in range(1_000, 1_004):
        rig.send(second=second, rgb=filled(BLUE))
        rig.work()
    (blue,) = rig.heard()[-1].detections.detections
    assert (blue.class_name, blue.track_id) == ('blue', 1)
    rig.pipeline.change_model(Predictor(with_classes(tmp_path / 'less', 1), 'cpu', 1))
    for second in range(1_004, 1_008):
        rig.send(second=second, rgb=filled(RED))  # where the blue one was
        rig.work()
    assert rig.counts() == {'processed': 8}, rig.log.errors
    (red,) = rig.heard()[-1].detections.detections
    assert (red.class_name, red.track_id) == ('red', 2)


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


def ids(rig, camera='front'):
    return {d.track_id for d in rig.heard(camera=camera)[-1].detections.detections}


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


def test_a_task_that_the_model_lacks_may_be_wanted(tmp_path):
    rig = Rig(tiny_bundle(tmp_path / 'boxes', tasks=('detection',)), tasks=['semantic'])
    rig.send()
    rig.work()
    assert rig.counts() == {'processed': 1}
    assert rig.heard()[0].detections.detections == []


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


def test_a_timing_that_cannot_be_told_is_no_failed_image(bundle):
    rig = Rig(bundle, ('front', 'left'), max_batch=2)
    rig.topic('timing').error = RuntimeError('no room')
    for camera in rig.streams:
        rig.send(camera)
    rig.work()
    assert (rig.counts('front'), rig.counts('left')) == ({'processed': 1}, {'processed': 1})
    assert len(rig.heard()) == len(rig.heard(camera='left')) == 1
    assert 'RuntimeError: no room' in rig.log.errors[0]


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


def test_a_new_model_is_announced_before_its_first_results(bundle, tmp_path):
    rig = Rig(bundle)
    rig.send()
    rig.work()
    assert rig.announced == []
    other = Predictor(tiny_bundle(tmp_path / 'other'), 'cpu', 1)
    rig.pipeline.change_model(other)
    assert rig.announced == [other]  # no image is in work
    for _ in range(2):
        rig.send()
        rig.work()
    assert rig.announced == [other]


def test_a_model_that_comes_amid_a_batch_is_announced_after_it(bundle, tmp_path):
    rig = Rig(bundle)
    other, announced = Predictor(tiny_bundle(tmp_path / 'other'), 'cpu', 1), []

    def decode_while_the_model_changes(message):
        rig.pipeline.change_model(other)
        announced.append(list(rig.announced))
        return image_to_rgb(message)

    rig.streams['front'].decode = decode_while_the_model_changes
    rig.send()
    rig.work()
    assert announced == [[]] and rig.announced == []  # the results out are those of the old one
    rig.pipeline.announce_again()  # a new threshold: the tables will be told of it soon enough
    assert rig.announced == []
    rig.streams['front'].decode = image_to_rgb
    rig.send()
    rig.work()
    assert rig.announced == [other]
    rig.pipeline.announce_again()
    assert rig.announced == [other, other]


def test_a_model_whose_tables_could_not_be_published_is_announced_again(bundle, tmp_path):
    rig = Rig(bundle)
    other, told = Predictor(tiny_bundle(tmp_path / 'other'), 'cpu', 1), []

    def announce(model):
        told.append(model)
        if len(told) == 1:
            raise RuntimeError('gone')

    rig.pipeline._announce = announce
    with pytest.raises(RuntimeError):
        rig.pipeline.change_model(other)
    for _ in range(2):
        rig.send()
        rig.work()
    assert told == [other, other] and rig.counts() == {'processed': 2}
    assert rig.pipeline.busy_s(time.monotonic()) == 0


def test_a_replaced_model_is_let_go_at_once(bundle, tmp_path):
    rig = Rig(bundle)
    rig.send()
    rig.work()
    old = weakref.ref(rig.pipeline.model)
    rig.pipeline.change_model(Predictor(tiny_bundle(tmp_path / 'other'), 'cpu', 1))
    assert old() is None


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


def test_images_of_another_size_are_noticed(bundle):
    rig = Rig(bundle)
    for size, is_new in (((96, 160), False), ((96, 160), False), ((48, 64), True)):
        rig.send(rgb=street(*size))
        rig.work()
        assert rig.pipeline.take_new_sizes() is is_new
    assert rig.pipeline.take_new_sizes() is False


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
