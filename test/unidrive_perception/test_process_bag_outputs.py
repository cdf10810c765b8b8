# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``process-bag`` can also write: overlays, tracks, several cameras, a summary."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from bag_processing import messages, process_bag, read, streets
from sample_bags import PERIOD_NS, START_NS, TOPIC, write_image_bag, write_images, write_video
from tiny_bundle import LABELS, tiny_bundle, write_tiny_bundle

from unidrive_perception.bags.reader import BagWriter, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import compressed_to_rgb
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.messages import (
    image_message,
    make_header,
    prediction_from_result,
    stamp_of,
)
from unidrive_perception.overlay import draw_overlay
from unidrive_perception.predictor import Predictor
from unidrive_perception.processing import chart
from unidrive_perception.sources import open_source
from unidrive_perception.tracking import WEAK_SHARE, Tracker


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


def near(picture, other):
    """JPEG pictures of the same are nearly the same."""
    return np.abs(picture.astype(int) - other).mean() < 3


def test_overlays(tmp_path, model):
    pictures = streets(2, 360, 640)
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    process_bag(source, tmp_path / 'out', '--model', model, '--overlay')
    process_bag(source, tmp_path / 'poor', '--model', model, '--overlay', '--overlay-quality', 5)
    found, poor = read(tmp_path / 'out'), read(tmp_path / 'poor')
    overlays = found['/perception/overlay/compressed']
    predictor = Predictor(tiny_bundle(tmp_path / 'bundle'))
    for (stamp_ns, overlay), (at, result), picture in zip(
        overlays, found['/perception/result'], pictures, strict=True
    ):
        assert (stamp_ns, str(overlay.header)) == (at, str(result.header))
        drawn = draw_overlay(picture, predictor.predict(picture), LABELS)
        assert near(compressed_to_rgb(overlay), drawn)
        assert not near(picture, drawn)
    assert poor['/perception/overlay/compressed'][0][1].data.size < overlays[0][1].data.size / 2


def test_tracks_are_those_of_the_tracker(tmp_path, model):
    """Also where the shards are many, and drawn in the overlays."""
    pictures = streets(24, 360, 640)
    source = write_image_bag(tmp_path / 'drive', pictures=pictures)
    process_bag(source, tmp_path / 'out', '--model', model, '--track', '--overlay')
    found = read(tmp_path / 'out')
    assert TOPIC not in found, 'images are needed for the overlays, but were not asked for'
    predictor, tracker = Predictor(tiny_bundle(tmp_path / 'bundle')), Tracker()
    predictor.candidate_threshold = predictor.score_threshold * WEAK_SHARE
    tracks = set()
    names = ('result', 'detections', 'overlay/compressed')
    rows = zip(*(found[f'/perception/{name}'] for name in names), pictures, strict=True)
    for (_, result), (_, detections), (_, overlay), picture in rows:
        expected = tracker.update(
            predictor.predict(picture), predictor.score_threshold, stamp_of(result.header)
        )
        got = prediction_from_result(result)
        for field in ('boxes', 'scores', 'class_ids', 'track_ids', 'semantic', 'drivable'):
            np.testing.assert_array_equal(getattr(got, field), getattr(expected, field), field)
        assert str(result.detections) == str(detections)
        tracks |= {(d.class_name, d.track_id) for d in detections.detections if d.track_id}
        assert near(compressed_to_rgb(overlay), draw_overlay(picture, expected, LABELS))
    assert len(tracks) > 1
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    for name, counts in summary['objects'].items():
        assert counts['tracks'] == sum(class_name == name for class_name, _ in tracks)


def test_further_topics(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(2))
    topics = ('drivable_area', 'drivable_grid', 'semantic_image', 'drivable_color')
    process_bag(source, tmp_path / 'out', '--model', model, '--also', *topics)
    found = read(tmp_path / 'out')
    assert all(len(found[f'/perception/{topic}']) == 2 for topic in topics)
    result, image = (found[f'/perception/{t}'][1][1] for t in ('result', 'semantic_image'))
    assert image.encoding == 'mono8'
    np.testing.assert_array_equal(image.data, result.semantic_mask.data)
    assert str(image.header) == str(result.header)


def write_two_cameras(path, pictures):
    """Left and right by turns; the right one sees everything upside down."""
    with BagWriter(path) as writer:
        make = BagFactory(writer.typestore)
        for i, picture in enumerate(pictures):
            for side, rgb in (('left', picture), ('right', picture[::-1])):
                header = make_header(make, START_NS + i * PERIOD_NS, side)
                image = image_message(make, header, np.ascontiguousarray(rgb))
                writer.write(f'/cam_{side}/image_raw', image, START_NS + i * PERIOD_NS)
    return path


def test_several_cameras(tmp_path, model):
    pictures = streets(12)
    source = write_two_cameras(tmp_path / 'drive', pictures)
    with pytest.raises(UserError, match='has several image topics, choose one'):
        process_bag(source, tmp_path / 'out', '--model', model)
    both = ['--topic', '/cam_left/image_raw', '--topic', '/cam_right/image_raw']
    process_bag(source, tmp_path / 'both', '--model', model, *both, '--track')
    found = read(tmp_path / 'both')
    assert {topic for topic in found if topic.endswith('result')} == {
        '/perception/cam_left/result', '/perception/cam_right/result',
    }  # fmt: skip
    assert len(found['/perception/labels']) == 1
    for side in ('left', 'right'):
        alone = tmp_path / side
        topic = f'/cam_{side}/image_raw'
        process_bag(source, alone, '--model', model, '--camera', f'{side}={topic}', '--track')
        own = [(s, str(r)) for s, r in read(alone)[f'/perception/{side}/result']]
        assert own == [(s, str(r)) for s, r in found[f'/perception/cam_{side}/result']]
        assert {r.header.frame_id for _, r in found[f'/perception/cam_{side}/result']} == {side}
    cameras = json.loads((tmp_path / 'both' / 'summary.json').read_text())['cameras']
    assert [(name, c['processed']) for name, c in cameras.items()] == [
        ('cam_left', 12), ('cam_right', 12),
    ]  # fmt: skip


def test_summary(tmp_path, model, capsys):
    folder = write_images(tmp_path / 'drive', ['0.png', '1.jpg', '2.png'])
    street = streets(1, 48, 64)[0]
    cv2.imwrite(str(folder / '0.png'), street[..., ::-1])
    (folder / '1.jpg').write_bytes(b'no image')
    process_bag(folder, tmp_path / 'out', '--model', model, '--score-threshold', 0.1, '--fps', 2)
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['frames'] == {'processed': 2, 'bad': 1}
    (bad,) = summary['bad_frames']
    assert (bad['frame'], bad['stamp_ns']) == (1, 1_500_000_000)
    assert 'the compressed image' in bad['reason']
    assert summary['seconds_of_recording'] == 1.0
    results = [r for _, r in read(tmp_path / 'out')['/perception/result']]
    names = [d.class_name for r in results for d in r.detections.detections]
    assert {n: c['boxes'] for n, c in summary['objects'].items()} == {
        name: names.count(name) for name in ('red', 'green', 'blue')
    }
    assert summary['objects']['red']['per_frame'] == names.count('red') / 2 > 0
    for task in ('semantic', 'drivable'):
        masks = np.concatenate([getattr(r, f'{task}_mask').data for r in results])
        for info in LABELS[task].classes:
            assert summary[task][info.name] == pytest.approx((masks == info.id).mean(), abs=1e-6)
        assert sum(summary[task].values()) == pytest.approx(1, abs=1e-5)
    inference = summary['latency_ms']['inference']
    assert 0 < inference['p50'] <= inference['p90'] <= inference['p99'] <= inference['max']
    assert summary['latency_ms']['total']['mean'] >= inference['mean']
    assert summary['run']['frames_per_second'] > 0
    assert 'red' in capsys.readouterr().out


def test_chart(tmp_path, model):
    """White paper with lines of the colours that are used, whatever there is to show."""
    for name, pictures in (('some', streets(3)), ('one', streets(1))):
        source = write_image_bag(tmp_path / name, pictures=pictures)
        process_bag(source, tmp_path / f'{name}_out', '--model', model)
        picture = cv2.imread(str(tmp_path / f'{name}_out' / 'summary.png'))
        assert picture.shape == (760, 1200, 3)
        assert (picture == 255).all(2).mean() > 0.5
        inference = (picture[..., ::-1] == (44, 160, 44)).all(2)  # the colour of the third stage
        assert inference.sum() > 100


def test_a_summary_does_not_disturb_readers(tmp_path, model):
    source = write_image_bag(tmp_path / 'drive', pictures=streets(2))
    for storage in ('mcap', 'sqlite3'):
        out = tmp_path / storage
        process_bag(source, out, '--model', model, '--storage', storage, '--copy-images')
        suffix = {'mcap': 'mcap', 'sqlite3': 'db3'}[storage]
        assert {path.name for path in out.iterdir()} == {
            'metadata.yaml', 'summary.json', 'summary.png', f'{storage}.{suffix}',
        }  # fmt: skip
        with open_bag(out / f'{storage}.{suffix}') as file, open_bag(out) as folder:
            assert file.message_count == folder.message_count == 1 + 2 * 5
        with open_source(out) as images:
            assert images.count == 2


def test_compressed_bag_holds_the_same(tmp_path, model):
    """Results are mostly masks, which shrink; sqlite3 is not compressed."""
    video = write_video(tmp_path / 'clip.avi', count=6)
    sizes = {}
    for storage in ('mcap', 'sqlite3'):
        process_bag(video, tmp_path / storage, '--model', model, '--storage', storage)
        sizes[storage] = sum(f.stat().st_size for f in (tmp_path / storage).glob('sqlite3.db3'))
        sizes[storage] += sum(f.stat().st_size for f in (tmp_path / storage).glob('mcap.mcap'))
    assert messages(tmp_path / 'mcap') == messages(tmp_path / 'sqlite3')
    assert sizes['mcap'] < sizes['sqlite3'] / 5


def test_each_point_of_a_chart_stands_for_as_many_frames():
    x = np.arange(1000.0)
    seconds, means = chart._averaged(x, np.stack([x, 2 * x]))
    assert len(seconds) <= chart._POINTS
    steps = np.diff(seconds)[:-1]  # the last run may be shorter
    assert (steps == steps[0]).all()
    assert np.array_equal(means, [seconds, 2 * seconds]) and seconds[-1] > 990
    few, same = chart._averaged(x[:3], x[None, :3])
    assert few.tolist() == same[0].tolist() == [0, 1, 2]
