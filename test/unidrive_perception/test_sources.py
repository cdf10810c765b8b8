# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames of bags, videos and folders, and what is said when there are none."""

from __future__ import annotations

import numpy as np
import pytest
from sample_bags import (
    FRAME_ID,
    PERIOD_NS,
    RECORDING_DELAY_NS,
    START_NS,
    TOPIC,
    picture,
    stamp_of,
    write_compressed_bag,
    write_image_bag,
    write_images,
    write_rosbag1,
    write_video,
)

from unidrive_perception.bags.reader import BagError, BagWriter, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_perception.sources import FILE_START_NS, SourceError, open_source


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag(tmp_path, storage):
    with open_source(write_image_bag(tmp_path / 'drive', storage=storage)) as source:
        assert (source.topic, source.count) == (TOPIC, 5)
        for _ in range(2):  # a source can be read again
            frames = list(source)
            assert len(frames) == 5
            for i, frame in enumerate(frames):
                assert frame.stamp_ns == START_NS + i * PERIOD_NS + RECORDING_DELAY_NS
                assert stamp_of(frame.header) == START_NS + i * PERIOD_NS
                assert frame.frame_id == FRAME_ID
                np.testing.assert_array_equal(frame.rgb(), picture(i))
        assert source.damage is None


def test_rosbag1(tmp_path):
    with open_source(write_rosbag1(tmp_path / 'old.bag')) as source:
        assert source.topic == TOPIC
        for i, frame in enumerate(source):
            np.testing.assert_array_equal(frame.rgb(), picture(i))


def test_compressed_bag(tmp_path):
    folder = write_images(tmp_path / 'images', ['0.png', '1.png'])
    path = write_compressed_bag(tmp_path / 'drive', sorted(folder.iterdir()))
    with open_source(path) as source:
        assert source.topic == f'{TOPIC}/compressed'
        for i, frame in enumerate(source):
            np.testing.assert_array_equal(frame.rgb(), picture(i))


def test_bytes_of_a_bag_frame_are_the_recorded_ones(tmp_path):
    path = write_image_bag(tmp_path / 'drive', count=1)
    with open_bag(path) as bag, open_source(path) as source:
        (message,), (frame,) = bag.messages(), source
        assert bytes(frame.cdr(default_typestore())) == bytes(message.data)


def two_cameras(path):
    with BagWriter(path) as writer:
        make = BagFactory(writer.typestore)
        for topic in ('/left/image', '/right/image'):
            image = image_message(make, make_header(make, 1, topic), picture(0))
            writer.write(topic, image, 1)
        writer.write('/note', writer.typestore.types['std_msgs/msg/String']('x'), 1)
    return path


def test_bag_with_several_cameras(tmp_path):
    path = two_cameras(tmp_path / 'drive')
    with pytest.raises(SourceError, match='several image topics, choose one: /left/image, /right'):
        open_source(path)
    with open_source(path, '/right/image') as source:
        assert [frame.frame_id for frame in source] == ['/right/image']
    with pytest.raises(
        SourceError, match=r'no images on /note; its topics are: .*/note \(std_msgs'
    ):
        open_source(path, '/note')


def test_bag_with_a_camera_raw_and_compressed(tmp_path):
    with BagWriter(tmp_path / 'drive') as writer:
        make = BagFactory(writer.typestore)
        header = make_header(make, 1, 'front')
        jpeg = compressed_message(make, header, rgb_to_compressed(picture(0)), 'jpeg')
        writer.write('/front/compressed', jpeg, 1)
        writer.write('/front', image_message(make, header, picture(0)), 1)
    with open_source(tmp_path / 'drive') as source:
        assert source.topic == '/front'
    with open_source(tmp_path / 'drive', '/front/compressed') as source:
        assert source.msgtype == 'sensor_msgs/msg/CompressedImage'


def test_bag_without_images(tmp_path):
    with BagWriter(tmp_path / 'notes') as writer:
        writer.write('/note', writer.typestore.types['std_msgs/msg/String']('x'), 1)
    with pytest.raises(SourceError, match=r'no images; its topics are: /note \(std_msgs/msg/Str'):
        open_source(tmp_path / 'notes')
    with BagWriter(tmp_path / 'empty'):
        pass
    with pytest.raises(SourceError, match='its topics are: none'):
        open_source(tmp_path / 'empty')


def test_damaged_bag_ends_with_a_sentence(tmp_path):
    pictures = [picture(i, 480, 800) for i in range(4)]
    path = write_image_bag(tmp_path / 'drive', pictures=pictures)
    file = path / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:-2_000_000])
    with open_source(file) as source:
        assert len(list(source)) == 2
        assert 'never finished' in source.damage


def test_a_bag_that_was_cut_before_its_first_image_says_so(tmp_path):
    path = write_image_bag(tmp_path / 'drive', pictures=[picture(0, 480, 800)])
    file = path / 'drive.mcap'
    file.write_bytes(file.read_bytes()[:1000])
    said = (
        rf'its topics are: none \({file} was never finished: only its complete messages are read'
    )
    with pytest.raises(SourceError, match=said):
        open_source(file)


def test_damaged_frame_is_an_error_of_that_frame(tmp_path):
    with BagWriter(tmp_path / 'drive') as writer:
        writer.write_raw(TOPIC, 'sensor_msgs/msg/Image', b'\0\1\0\0garbage', 1)
    with open_source(tmp_path / 'drive') as source:
        (frame,) = source
        with pytest.raises(BagError, match='not a readable sensor_msgs/msg/Image'):
            frame.rgb()


@pytest.mark.parametrize(('name', 'codec'), [('clip.avi', 'MJPG'), ('clip.mp4', 'mp4v')])
def test_video(tmp_path, name, codec):
    with open_source(write_video(tmp_path / name, codec=codec)) as source:
        assert (source.topic, source.msgtype) == (TOPIC, 'sensor_msgs/msg/Image')
        assert source.count == 12
        for _ in range(2):
            for i, frame in enumerate(source):
                assert frame.stamp_ns == stamp_of(frame.header) == FILE_START_NS + i * 50_000_000
                rgb = frame.rgb()
                assert rgb.shape == (96, 160, 3)
                error = np.abs(rgb.mean((0, 1)) - [60, 128, 20 * i % 256])
                assert error.max() < 6, (i, error)
            assert i == 11
        assert source.damage is None


def test_video_at_another_rate(tmp_path):
    with open_source(write_video(tmp_path / 'clip.avi'), '/front', fps=4) as source:
        frames = list(source)
        assert frames[2].stamp_ns == FILE_START_NS + 500_000_000
        assert frames[0].topic == '/front'


def test_truncated_video_ends_with_a_sentence(tmp_path):
    path = write_video(tmp_path / 'clip.avi', count=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source:
        read = len(list(source))
        assert 0 < read < 60
        if source.count > read:  # an avi without its index does not say how many there were
            assert f'{read} of its {source.count} frames' in source.damage


def test_real_video(shared_data):
    path = next((shared_data / 'udacity_clips').rglob('*.mp4'))
    with open_source(path) as source:
        frame = next(iter(source))
        assert frame.rgb().std() > 20
        assert source.count > 30


def test_folder_in_natural_order(tmp_path):
    folder = write_images(tmp_path / 'drive', ['f1.png', 'f2.png', 'f9.jpg', 'f10.png', 'F11.PNG'])
    (folder / 'notes.txt').write_text('not an image')
    with open_source(folder) as source:
        assert (source.topic, source.count) == (f'{TOPIC}/compressed', 5)
        assert [file.name for file in source.files] == [
            'F11.PNG', 'f1.png', 'f2.png', 'f9.jpg', 'f10.png',
        ]  # fmt: skip
        frames = list(source)
    assert [f.stamp_ns - FILE_START_NS for f in frames] == [i * 100_000_000 for i in range(5)]
    np.testing.assert_array_equal(frames[1].rgb(), picture(0))
    assert frames[3].message.format == 'jpeg'


def test_bdd100k_layout(tmp_path):
    write_images(tmp_path / 'images' / '100k' / 'val', ['b.jpg'])
    write_images(tmp_path / 'images' / '100k' / 'train', ['a.jpg'])
    write_images(tmp_path / 'labels' / 'sem_seg' / 'masks' / 'val', ['b.png'])
    with open_source(tmp_path) as source:
        assert [file.name for file in source.files] == ['a.jpg', 'b.jpg']


def test_folder_of_folders(tmp_path):
    write_images(tmp_path / 'seq2', ['0.png'])
    write_images(tmp_path / 'seq10', ['0.png'])
    with open_source(tmp_path) as source:
        assert [file.parent.name for file in source.files] == ['seq2', 'seq10']


def test_single_image(tmp_path):
    folder = write_images(tmp_path, ['still.png'])
    with open_source(folder / 'still.png') as source:
        (frame,) = source
        np.testing.assert_array_equal(frame.rgb(), picture(0))


def test_bad_image_is_an_error_of_that_frame(tmp_path):
    folder = write_images(tmp_path / 'drive', ['0.jpg', '1.jpg', '2.jpg'])
    data = (folder / '1.jpg').read_bytes()
    (folder / '1.jpg').write_bytes(data[: len(data) // 2])
    with open_source(folder) as source:
        good = []
        for frame in source:
            try:
                good.append(frame.rgb().shape)
            except UserError as error:
                assert 'cut off' in str(error)
        assert len(good) == 2


@pytest.mark.parametrize(
    ('make', 'options', 'words'),
    [
        (lambda path: path / 'gone', {}, 'there is no bag, video, image or folder'),
        (lambda path: path, {}, 'holds no bag and no images'),
        (lambda path: write_image_bag(path / 'b'), {'fps': 10}, 'leave fps out'),
        (lambda path: write_video(path / 'v.avi'), {'fps': 0}, 'fps must be greater than 0'),
    ],
)
def test_errors(tmp_path, make, options, words):
    with pytest.raises(UserError, match=words):
        open_source(make(tmp_path), **options)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('clip.mp4', 'damaged or no video'),
        ('notes.txt', r'notes.txt is no bag .* no video .* and no image'),
        ('noend', 'no video'),
    ],
)
def test_files_that_are_nothing(tmp_path, name, words):
    (tmp_path / name).write_text('hello ' * 1000)
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / name)


def test_several_cameras_of_a_bag_in_one_pass(tmp_path):
    path = two_cameras(tmp_path / 'drive')
    with open_source(path, ['/left/image', '/right/image']) as source:
        assert (source.topics, source.count) == (('/left/image', '/right/image'), 2)
        assert [frame.topic for frame in source] == ['/left/image', '/right/image']
    with pytest.raises(SourceError, match='no images on /rear'):
        open_source(path, ['/left/image', '/rear'])
    video = write_video(tmp_path / 'clip.avi', count=2)
    with pytest.raises(SourceError, match='is no bag, so it has one camera'):
        open_source(video, ['/left', '/right'])


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3', 'rosbag1', 'folder', 'video'])
def test_a_source_is_read_from_any_of_its_positions_on(tmp_path, kind):
    if kind == 'rosbag1':
        path = write_rosbag1(tmp_path / 'old.bag')
    elif kind == 'folder':
        path = write_images(tmp_path / 'images', [f'{i}.png' for i in range(5)])
    elif kind == 'video':
        path = write_video(tmp_path / 'clip.avi', count=5)
    else:
        path = write_image_bag(tmp_path / 'drive', storage=kind)
    with open_source(path) as source:
        frames, positions = list(source), list(source.positions())
        assert len(positions) == 5
        assert positions == sorted(positions)
        for i, position in enumerate(positions):
            rest = list(source.frames(position))
            assert [frame.stamp_ns for frame in rest] == [f.stamp_ns for f in frames[i:]]
            np.testing.assert_array_equal(rest[0].rgb(), frames[i].rgb())
        assert source.damage is None
