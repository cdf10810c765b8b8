# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Models that fail, change and are announced while images go through the node."""

import time
import weakref

import numpy as np
import pytest
import yaml
from pipeline_rig import (
    Rig,
    bundle,  # noqa: F401
    ids,
)
from tiny_bundle import BLUE, RED, tiny_bundle, write_tiny_bundle

from unidrive_perception.bundle import Bundle
from unidrive_perception.image_codec import image_to_rgb
from unidrive_perception.predictor import Predictor


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


def test_a_task_that_the_model_lacks_may_be_wanted(tmp_path):
    rig = Rig(tiny_bundle(tmp_path / 'boxes', tasks=('detection',)), tasks=['semantic'])
    rig.send()
    rig.work()
    assert rig.counts() == {'processed': 1}
    assert rig.heard()[0].detections.detections == []


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
