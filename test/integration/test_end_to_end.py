# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Camera to results, live (player, node, recorder) and through process-bag: the same.

Every process is the real one, over real DDS. The results are compared as serialised messages, so
headers, boxes, scores, names and every mask pixel count.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import pytest
from live_graph import Executable, Graph
from sample_bags import TOPIC, stamp_of, write_compressed_bag, write_image_bag
from tiny_bundle import street, write_tiny_bundle

from unidrive_perception import process_bag
from unidrive_perception.bags.reader import open_bag
from unidrive_perception.bundle import default_bundle
from unidrive_perception.labels import DETECTION, SEMANTIC
from unidrive_perception.messages import (
    array_from_mask,
    arrays_from_detections,
    prediction_from_result,
)

pytestmark = pytest.mark.ros

RESULTS = [
    f'/perception/{name}' for name in ('detections', 'semantic_mask', 'drivable_mask', 'result')
]


@pytest.fixture
def graph(ros_domain):
    with Graph() as graph:
        yield graph


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


def offline(source, out, model):
    parser = argparse.ArgumentParser()
    process_bag.add_arguments(parser)
    assert process_bag.run(parser.parse_args([str(source), str(out), '--model', str(model)])) == 0
    return out


def live(graph, source, out, model, transport='raw', rate=0.4):
    """Play ``source`` to a node, so slowly that it takes every image, and record what it says."""
    node_args = (
        '--ros-args', '-r', f'image:={TOPIC}', '-p', f'model_path:={model}',
        '-p', f'image_transport:={transport}',
    )  # fmt: skip
    with (
        Executable('perception', *node_args) as node,
        Executable('bag_recorder', out, '--namespace', '/perception') as recorder,
    ):
        assert graph.spin_until(
            lambda: all(graph.node.count_subscribers(topic) for topic in RESULTS)
        ), 'the recorder has found the node'
        with Executable(
            'bag_player', source, '--wait-for-subscribers', 60, '--rate', rate
        ) as player:
            assert player.wait(120) == 0, player.output
        graph.spin_for(1.0)
        assert recorder.interrupt() == 0, recorder.output
        assert node.interrupt() == 0, node.output
    return out


def results(path):
    """Return {topic: {stamp of the image: serialised message}}."""
    found = {}
    with open_bag(path) as bag:
        for message in bag.messages(RESULTS):
            value = bag.deserialize(message)
            # Serialised anew: what Fast DDS leaves between fields is whatever was in memory.
            data = bag.typestore(message.msgtype).serialize_cdr(value, message.msgtype)
            found.setdefault(message.topic, {})[stamp_of(value.header)] = bytes(data)
    return found


def check_same(live_bag, offline_bag, count):
    published, processed = results(live_bag), results(offline_bag)
    assert set(processed) == set(RESULTS)
    for topic in RESULTS:
        assert len(processed[topic]) == count
        assert published[topic].keys() == processed[topic].keys(), topic
        for stamp in processed[topic]:
            assert published[topic][stamp] == processed[topic][stamp], (topic, stamp)


def labels(path):
    with open_bag(path) as bag:
        (message,) = bag.messages(['/perception/labels'])
        value = bag.deserialize(message)
        value.header.stamp.sec = value.header.stamp.nanosec = 0  # when the node was activated
        return str(value)


def test_real_raw_images(tmp_path, graph, tiny, shared_data):
    files = sorted((shared_data / 'udacity_clips').rglob('*.jpg'))[:3]
    pictures = [cv2.imread(str(file))[..., ::-1] for file in files]
    assert pictures[0].shape == (720, 1280, 3)
    pictures.append(street())  # the tiny model finds no objects on the real ones
    source = write_image_bag(tmp_path / 'drive', pictures=pictures, encoding='bgr8')
    live_bag = live(graph, source, tmp_path / 'live', tiny)
    offline_bag = offline(source, tmp_path / 'offline', tiny)
    check_same(live_bag, offline_bag, count=4)
    assert labels(live_bag) == labels(offline_bag)


def test_real_compressed_images(tmp_path, graph, tiny, shared_data):
    files = sorted((shared_data / 'nuscenes_front').glob('*.jpg'))[:4]
    source = write_compressed_bag(tmp_path / 'drive', files, 'sqlite3')
    live_bag = live(graph, source, tmp_path / 'live', tiny, 'compressed')
    check_same(live_bag, offline(source, tmp_path / 'offline', tiny), count=4)


@pytest.fixture(scope='module')
def generated_bag(tmp_path_factory):
    """A short drive through generated streets, with its truth."""
    from unidrive_training.cli import main

    path = tmp_path_factory.mktemp('scenes') / 'drive'
    args = ['--format', 'bag', '--drives', '1', '--frames', '5', '--fps', '10', '--seed', '3']
    assert main(['scenes', str(path), *args]) == 0
    return path


def test_generated_bag(tmp_path, graph, tiny, generated_bag):
    live_bag = live(graph, generated_bag, tmp_path / 'live', tiny)
    check_same(live_bag, offline(generated_bag, tmp_path / 'offline', tiny), count=5)


def test_truth_of_a_generated_bag_fits_the_results(tmp_path, tiny, generated_bag):
    """Truth and results are joined by their stamps; the boxes of the truth lie on its masks."""
    offline(generated_bag, tmp_path / 'offline', tiny)
    with open_bag(generated_bag) as truth, open_bag(tmp_path / 'offline') as processed:
        found = {}
        for message in processed.messages(['/perception/result']):
            value = processed.deserialize(message)
            found[stamp_of(value.header)] = value.header.frame_id, prediction_from_result(value)
        boxes, masks = {}, {}
        for message in truth.messages(['/truth/detections', '/truth/semantic_mask']):
            value = truth.deserialize(message)
            stamp = stamp_of(value.header)
            frame_id, result = found[stamp]
            assert value.header.frame_id == frame_id != ''
            assert (value.image_height, value.image_width) == result.image_size
            if message.topic == '/truth/detections':
                boxes[stamp] = arrays_from_detections(value)
            else:
                masks[stamp] = array_from_mask(value)
    assert len(found) == 5 and found.keys() == boxes.keys() == masks.keys()
    shown = sum(check_boxes_on_mask(*boxes[stamp], masks[stamp]) for stamp in found)
    assert shown > 5


def check_boxes_on_mask(boxes, scores, class_ids, mask):
    """Every box is in the image, those not to be ignored (score 0) on pixels of their class."""
    assert (boxes >= 0).all() and (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes[:, 2:] <= mask.shape[::-1]).all()
    shown = scores > 0
    for (x_min, y_min, x_max, y_max), class_id in zip(
        boxes[shown].astype(int), class_ids[shown], strict=True
    ):
        name = DETECTION.names[class_id].replace('pedestrian', 'person')
        inside = mask[y_min:y_max, x_min:x_max]
        assert (inside == SEMANTIC.names.index(name)).any(), name
    return shown.sum()


def test_default_bundle_on_real_images(tmp_path, graph, shared_data):
    """The shipped model gives the same live and offline, and sees the street it is shown."""
    model = default_bundle()
    files = sorted((shared_data / 'udacity_clips').rglob('*.jpg'))[:3]
    pictures = [cv2.imread(str(file))[..., ::-1] for file in files]
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    live_bag = live(graph, source, tmp_path / 'live', model, rate=0.1)
    offline_bag = offline(source, tmp_path / 'offline', model)
    check_same(live_bag, offline_bag, count=3)
    with open_bag(offline_bag) as bag:
        for message in bag.messages(['/perception/result']):
            result = prediction_from_result(bag.deserialize(message))
            upper, lower = np.split(result.semantic[:, 400:880], 2)
            assert (lower == 0).mean() > 0.3, 'road ahead'
            assert (upper == 0).mean() < 0.2, 'no road in the sky'
