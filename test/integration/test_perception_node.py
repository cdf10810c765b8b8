# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The node over live DDS: what it publishes, and that nothing a camera sends ends it."""

import os
import time

import cv2
import numpy as np
import pytest
from live_node import Graph, NodeProcess, image_message, jpeg_message, number_of, wait_until
from raw_images import BAYER, PLAIN, YUV, encoded
from tiny_bundle import LABELS, street, tiny_bundle, write_tiny_bundle

from unidrive_perception.predictor import Predictor

pytestmark = pytest.mark.ros

RESULTS = ('detections', 'semantic_mask', 'drivable_mask', 'result', 'timing')
SMALL = street(96, 160)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


@pytest.fixture(scope='module')
def graph():
    from diagnostic_msgs.msg import DiagnosticArray

    import unidrive_msgs.msg as own

    graph = Graph()
    kinds = ('DetectionArray', 'SegmentationMask', 'SegmentationMask', 'PerceptionResult')
    for name, kind in zip(RESULTS, (*kinds, 'FrameTiming'), strict=True):
        graph.listen(getattr(own, kind), f'/perception/{name}')
    graph.listen(DiagnosticArray, '/diagnostics')
    yield graph
    graph.close()


@pytest.fixture(scope='module')
def raw(graph, bundle, tmp_path_factory):
    """A node that takes raw images, and a camera for it."""
    from sensor_msgs.msg import Image

    folder = tmp_path_factory.mktemp('raw')
    node = NodeProcess(folder, '-r', 'image:=/front/image', model_path=bundle)
    camera = graph.camera(Image, '/front/image')
    node.wait_for('waiting for sensor_msgs/msg/Image on /front/image (best_effort)')
    wait_until(camera.get_subscription_count, 'the subscription')
    wait_until(lambda: listeners(graph) == len(RESULTS), 'the result topics')
    time.sleep(0.3)  # both sides must have found each other
    yield node, camera
    assert node.stop() == 0
    assert 'Traceback' not in node.log


def listeners(graph):
    return sum(graph.node.count_publishers(f'/perception/{name}') for name in RESULTS)


def ask(graph, camera, message, number):
    """Publish one image and return the results of it, by topic."""
    camera.publish(message)

    def found():
        heard = {name: by_number(graph, name).get(number) for name in RESULTS}
        return heard if all(heard.values()) else None

    return wait_until(found, f'all results of image {number}')


def by_number(graph, name):
    return {number_of(m): m for m in list(graph.heard[f'/perception/{name}'])}


def as_array(mask):
    return np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width)


def test_every_result_of_an_image(graph, raw):
    _, camera = raw
    message = image_message(street(), number=1, frame_id='front_optical')
    results = ask(graph, camera, message, 1)
    whole = results['result']
    headers = [r.header for r in results.values()]
    headers += [whole.detections.header, whole.semantic_mask.header, whole.drivable_mask.header]
    assert all(header == message.header for header in headers)

    detections = results['detections']
    assert (detections.image_height, detections.image_width) == (720, 1280)
    assert [(d.class_id, d.class_name) for d in detections.detections] == [(0, 'red'), (2, 'blue')]
    np.testing.assert_allclose([d.score for d in detections.detections], [0.9, 0.6], rtol=1e-6)
    box = detections.detections[0].box
    found = [box.x_min, box.y_min, box.x_max, box.y_max]
    np.testing.assert_allclose(found, [128, 144, 384, 360], atol=8.1)  # one input pixel

    semantic, drivable = results['semantic_mask'], results['drivable_mask']
    assert (semantic.task, drivable.task) == (semantic.SEMANTIC, semantic.DRIVABLE)
    assert (semantic.image_height, semantic.image_width) == (720, 1280)
    assert (as_array(semantic) == street().argmax(2)).mean() > 0.96
    assert (as_array(drivable) == (street().mean(2) < 127)).mean() > 0.96
    assert whole.detections == detections
    assert (whole.semantic_mask, whole.drivable_mask) == (semantic, drivable)

    timing = results['timing']
    stages = [timing.decode_ms, timing.preprocess_ms, timing.inference_ms]
    assert min(*stages, timing.postprocess_ms, timing.publish_ms) > 0
    ended = timing.processed + timing.dropped + timing.bad + timing.failed
    assert timing.received >= ended > 0
    age = time.time() - message.header.stamp.sec
    assert timing.age_ms / 1e3 == pytest.approx(age, rel=1e-6)  # a float32


@pytest.mark.parametrize('size', [(375, 1242), (640, 480), (61, 97)])
def test_any_size(graph, raw, size):
    number = 10 + size[1]
    results = ask(graph, raw[1], image_message(street(*size), number), number)
    assert as_array(results['semantic_mask']).shape == size
    assert results['detections'].image_width == size[1]


def test_encodings_and_padded_rows(graph, raw):
    image = street(96, 160)
    expected = ask(graph, raw[1], image_message(image, 20), 20)['result']
    padded = np.zeros((96, 500), np.uint8)
    padded[:, :480] = image.reshape(96, 480)
    variants = (
        image_message(image[..., ::-1], 21, encoding='bgr8'),
        image_message(padded, 22, width=160, step=500),
        image_message(np.dstack([image, image[..., :1]]), 23, encoding='rgba8', step=640),
    )
    for message in variants:
        whole = ask(graph, raw[1], message, number_of(message))['result']
        assert whole.semantic_mask.data == expected.semantic_mask.data
        assert whole.detections.detections == expected.detections.detections


@pytest.mark.parametrize('encoding', [*PLAIN, *BAYER, *YUV])
def test_every_encoding_over_dds(graph, raw, encoding):
    rows = np.ascontiguousarray(encoded(encoding, SMALL))
    fields = {'encoding': encoding, 'height': 96, 'width': 160, 'step': rows[0].nbytes}
    number = 2000 + [*PLAIN, *BAYER, *YUV].index(encoding)
    results = ask(graph, raw[1], image_message(rows.view(np.uint8), number, **fields), number)
    is_gray = encoding in PLAIN and PLAIN[encoding][0] == 1
    found = [d.class_name for d in results['detections'].detections]
    assert found == ([] if is_gray else ['red', 'blue'])  # swapped channels swap their boxes
    boxes = [d.box.x_min for d in results['detections'].detections]
    assert boxes == sorted(boxes)
    assert as_array(results['semantic_mask']).shape == (96, 160)


def bad_images():
    """What a broken camera might send; each with a part of what is said about it."""
    small = SMALL
    yield image_message(small, encoding='hsv32'), "encoding 'hsv32' is not supported"
    yield image_message(small, step=7), 'needs a step of'
    yield image_message(small, data=b''), 'bytes of data, not 0'
    yield image_message(small, data=bytes(100)), 'bytes of data, not 100'
    yield image_message(small, height=0, width=0), 'has no pixels'
    yield image_message(small, height=2**32 - 1, width=2**32 - 1), 'not 480'
    yield (
        image_message(small, encoding='nv12', width=161, height=97, step=161),
        'must be a multiple',
    )


def test_bad_images_are_counted_and_survived(graph, raw):
    node, camera = raw
    count = ask(graph, camera, image_message(SMALL, 300), 300)['timing'].bad
    number = 300
    for message, reason in bad_images():
        message.header.stamp.sec = 5

        def counted(message=message):
            nonlocal number
            number += 1
            camera.publish(message)
            time.sleep(0.05)  # or the good image replaces the bad one before it is looked at
            return ask(graph, camera, image_message(SMALL, number), number)['timing'].bad

        new = wait_until(lambda seen=count: (n := counted()) > seen and n, reason)
        count = new
    assert "encoding 'hsv32' is not supported; these are: rgb8" in node.log
    errors = [line for line in node.log.splitlines() if '[ERROR]' in line]
    assert 1 <= len(errors) <= count  # at most one a second


def statuses(graph, name):
    return [s for m in list(graph.heard['/diagnostics']) for s in m.status if name in s.name]


def test_diagnostics_tell_of_bad_images_and_of_better_times(graph, raw):
    _, camera = raw
    name = '/perception: /front/image'
    warned = wait_until(
        lambda: [s for s in statuses(graph, name) if 'could not be decoded' in s.message],
        'a status about bad images',
    )
    assert warned[0].level in (b'\x01', b'\x02')

    def recovered():
        time.sleep(0.1)  # slow enough that none is dropped
        camera.publish(image_message(SMALL, 50))
        return statuses(graph, name)[-1].level == b'\x00'

    wait_until(recovered, 'an OK status')
    values = {v.key: v.value for v in statuses(graph, name)[-1].values}
    node = {v.key: v.value for v in statuses(graph, '/perception: node')[-1].values}
    assert node['model'] == 'tiny' and node['device'] in ('cpu', 'cuda')
    assert float(values['input rate [Hz]']) > 0 and float(values['output rate [Hz]']) > 0
    assert int(values['bad']) >= 7


def test_labels_wait_for_a_late_subscriber(graph, raw):
    from rclpy.qos import QoSDurabilityPolicy

    from unidrive_msgs.msg import LabelTable

    latched = graph.listen(
        LabelTable,
        '/perception/labels',
        depth=1,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
    )
    (table,) = wait_until(lambda: latched, 'the label table')
    assert (table.model_name, len(table.model_sha256)) == ('tiny', 64)
    for task, labels in LABELS.items():
        assert [c.name for c in getattr(table, task)] == labels.names
    assert (table.detection[0].red, table.detection[0].green) == labels_colour(0)


def labels_colour(i):
    return LABELS['detection'].classes[i].color[:2]


def test_overlay_while_somebody_looks(graph, raw):
    from sensor_msgs.msg import Image

    overlays = graph.listen(Image, '/perception/overlay')
    wait_until(lambda: graph.node.count_subscribers('/perception/overlay'), 'our subscription')

    def seen():
        ask(graph, raw[1], image_message(street(360, 640), 60), 60)
        return overlays

    picture = wait_until(seen, 'an overlay')[0]
    assert (picture.height, picture.width, picture.encoding) == (360, 640, 'rgb8')
    assert picture.header == image_message(SMALL, 60).header
    drawn = np.frombuffer(picture.data, np.uint8).reshape(360, 640, 3)
    difference = np.abs(drawn.astype(int) - street(360, 640)).sum(2)
    assert (difference > 20).mean() > 0.3  # tinted


@pytest.fixture(scope='module')
def compressed(graph, bundle, tmp_path_factory):
    from sensor_msgs.msg import CompressedImage

    node = NodeProcess(
        tmp_path_factory.mktemp('compressed'),
        *('-r', 'image:=/rear/image', '-r', '__ns:=/rear'),
        model_path=bundle,
        image_transport='compressed',
    )
    camera = graph.camera(CompressedImage, '/rear/image/compressed')
    from unidrive_msgs.msg import PerceptionResult

    results = graph.listen(PerceptionResult, '/rear/perception/result')
    node.wait_for('waiting for sensor_msgs/msg/CompressedImage on /rear/image/compressed')
    wait_until(camera.get_subscription_count, 'the subscription')
    time.sleep(0.3)
    yield node, camera, results
    assert node.stop() == 0


def test_garbage_instead_of_jpegs(compressed):
    node, camera, results = compressed
    good = jpeg_message(SMALL, 1)
    for data in (b'', b'\xff\xd8\xff', bytes(5000), bytes(good.data)[:400]):
        message = jpeg_message(SMALL, 2)
        message.data = data
        camera.publish(message)
        time.sleep(0.05)
    camera.publish(good)
    wait_until(lambda: [m for m in results if number_of(m) == 1], 'the good image')
    assert not [m for m in results if number_of(m) == 2]
    assert 'Traceback' not in node.log


def test_real_images_give_what_the_predictor_gives(compressed, shared_data, bundle):
    """Camera JPEGs through DDS and the node, against the same file straight into the model."""
    files = sorted((shared_data / 'stills').rglob('*.jpg'))[:6]
    assert files, 'shared/data/stills has no pictures'
    _, camera, results = compressed
    predictor = Predictor(tiny_bundle(bundle), threads=1)
    for number, file in enumerate(files, start=100):
        message = jpeg_message(SMALL, number)
        message.data = file.read_bytes()
        camera.publish(message)

        def heard(number=number):
            return [m for m in results if number_of(m) == number]

        (whole,) = wait_until(heard, f'{file.name}')
        rgb = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        expected = predictor.predict(rgb)
        assert np.array_equal(as_array(whole.semantic_mask), expected.semantic)
        assert np.array_equal(as_array(whole.drivable_mask), expected.drivable)
        found = [
            (d.class_id, d.box.x_min, d.box.y_min, d.box.x_max, d.box.y_max)
            for d in whole.detections.detections
        ]
        truth = zip(expected.class_ids.tolist(), expected.boxes.tolist(), strict=True)
        assert found == [(i, *box) for i, box in truth]


FAILING_BRIDGE = """
from sensor_msgs.msg import Image

class CvBridge:
    def cv2_to_imgmsg(self, pixels, encoding):
        return pixels

    def imgmsg_to_cv2(self, message, encoding):
        if isinstance(message, Image):
            raise ValueError('only small ones')
        return message[..., ::-1]
"""


def test_a_bridge_that_fails_costs_no_image(ros_domain, bundle, tmp_path):
    """Stands for a cv_bridge that passes its trial and then refuses the camera's images."""
    from sensor_msgs.msg import Image

    from unidrive_msgs.msg import FrameTiming

    (tmp_path / 'cv_bridge').mkdir()
    (tmp_path / 'cv_bridge' / '__init__.py').write_text(FAILING_BRIDGE)
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    graph = Graph(ros_domain)
    node = NodeProcess(tmp_path, env={'PYTHONPATH': path}, model_path=bundle)
    try:
        timings = graph.listen(FrameTiming, '/perception/timing')
        camera = graph.camera(Image, '/image')
        node.wait_for('cv_bridge converts raw images')
        wait_until(camera.get_subscription_count, 'the subscription')
        wait_until(lambda: graph.node.count_publishers('/perception/timing'), 'the timing topic')
        time.sleep(0.3)  # both sides must have found each other
        for number in (1, 2):
            camera.publish(image_message(SMALL, number, encoding='bgr8'))
            wait_until(
                lambda number=number: timings and number_of(timings[-1]) == number, 'a result'
            )
        assert (timings[-1].processed, timings[-1].bad, timings[-1].failed) == (2, 0, 0)
        assert node.log.count('cv_bridge cannot convert a bgr8 image') == 1
    finally:
        node.stop()
        graph.close()
