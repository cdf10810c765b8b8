# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the arguments of the launch files mean."""

import subprocess
import sys

import pytest

from unidrive_perception.errors import UserError
from unidrive_perception.launching import plan as launch_plan
from unidrive_perception.launching.arguments import PERCEPTION, REPLAY

DEFAULTS = {a.name: a.default or '' for a in (*REPLAY, *PERCEPTION)}


def resolve(pushed_namespace='', **given):
    return launch_plan.resolve({**DEFAULTS, **given}, pushed_namespace)


@pytest.fixture
def own(tmp_path):
    """Write a parameter file."""

    def write(node='/**', **values):
        path = tmp_path / 'own.yaml'
        path.write_text(f'{node}:\n  ros__parameters: {values}\n')
        return str(path)

    return write


def test_without_arguments_all_is_as_in_the_package():
    from unidrive_perception.launching.parameter_files import node_parameters
    from unidrive_perception.resources import config_path

    plan = resolve()
    assert plan.parameters == node_parameters([config_path('perception.param.yaml')], plan.node)
    assert plan.parameters['model_path'] == '' and 'use_sim_time' not in plan.parameters
    assert (plan.node, plan.cameras, plan.warning) == ('/perception', [''], '')


def test_arguments_beat_a_file_of_ones_own_which_beats_the_package(own):
    """Also where the file names the node and gives an int, which ROS would prefer to a float."""
    file = own('/perception', score_threshold=1, model_path='/m', max_age=2)
    plan = resolve(params_file=file, score_threshold='0.5')
    assert plan.parameters['score_threshold'] == 0.5
    assert (plan.parameters['model_path'], plan.parameters['max_age']) == ('/m', 2)
    assert plan.parameters['no_image_warning_s'] == 5.0
    assert plan.warning == ''


def test_values_have_their_types():
    plan = resolve(model='123', lazy='False', tasks='detection', max_rate='10', autostart='true')
    expected = {
        'model_path': '123',
        'lazy': False,
        'tasks': ['detection'],
        'max_rate': 10.0,
        'autostart': True,
    }
    assert {name: plan.parameters[name] for name in expected} == expected
    assert isinstance(plan.parameters['max_rate'], float)


def test_a_file_for_other_nodes_is_warned_of(own):
    file = own('/perception', lazy=False)
    plan = resolve(params_file=file, namespace='front')
    assert plan.warning == f'{file} has no parameters for /front/perception, only for /perception'
    with pytest.raises(UserError, match=r'/nowhere\.yaml cannot be read: No such file'):
        resolve(params_file='/nowhere.yaml')


@pytest.mark.parametrize(
    ('pushed', 'namespace', 'name'),
    [
        ('', '', '/perception'),
        ('', 'front', '/front/perception'),
        ('/robot', '', '/robot/perception'),
        ('/robot/', 'front/', '/robot/front/perception'),
        ('/robot', '/front', '/front/perception'),
    ],
)
def test_name_of_the_node(pushed, namespace, name):
    assert resolve(pushed, namespace=namespace).node == name


def test_a_recording_brings_its_time_and_needs_a_node_that_listens(own):
    plan = resolve(bag='drive', params_file=own(lazy=True, use_sim_time=False))
    assert (plan.parameters['lazy'], plan.parameters['use_sim_time']) == (False, True)
    assert resolve(bag='drive', lazy='true').parameters['lazy'] is True


def test_respawn():
    assert (resolve().respawn, resolve().respawn_delay) == (False, 2.0)
    plan = resolve(respawn='True', respawn_delay='1')
    assert (plan.respawn, plan.respawn_delay) == (True, 1.0)


def test_one_topic_for_a_single_camera():
    parameters = resolve(image_topic='/camera/image').parameters
    assert parameters['image_topic'] == '/camera/image'
    assert resolve().parameters.get('image_topic', 'image') == 'image'


def test_topics_of_several_cameras(own):
    def topics(**given):
        found = resolve(**given).parameters.items()
        return {n: t for n, t in found if n.endswith('.image_topic')}

    pattern = '/{camera}/raw'
    expected = {'front.image_topic': '/front/raw', 'left.image_topic': '/left/raw'}
    assert topics(cameras='front, left', image_topic=pattern) == expected
    assert topics(params_file=own(cameras=['front', 'left']), image_topic=pattern) == expected
    given = {'cameras': 'front,left', 'topics': 'left=/x'}
    assert topics(**given, image_topic=pattern) == {**expected, 'left.image_topic': '/x'}
    assert topics(**given) == {'left.image_topic': '/x'}
    assert topics(cameras='front,left') == {}
    assert topics(cameras='front', image_topic='/x') == {'front.image_topic': '/x'}
    assert resolve(cameras='front,left').parameters['cameras'] == ['front', 'left']


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        ({'cameras': 'front,,left'}, 'cameras:=front,,left has an empty name'),
        ({'cameras': 'front,front'}, 'cameras:=front,front has a name twice'),
        (
            {'cameras': 'front,left', 'image_topic': '/a'},
            r'one topic for 2 cameras \(front, left\)',
        ),
        ({'image_topic': '/{camera}/raw'}, 'needs names for {camera}: cameras:=front,left'),
        ({'cameras': 'front', 'topics': 'rear=/a'}, 'names rear, and the cameras are: front'),
        ({'topics': 'rear=/a'}, 'the cameras are: none; give cameras:=front,left'),
        ({'cameras': 'front', 'topics': 'front'}, "must be like front=/a,left=/b, not 'front'"),
        ({'cameras': 'front', 'topics': 'front='}, "must be like front=/a,left=/b, not 'front='"),
        ({'cameras': 'a', 'topics': 'a=/a,a=/b'}, 'names camera a twice'),
        ({'cameras': 'a', 'topics': 'a=/a,'}, 'topics:=a=/a, has an empty name'),
        ({'cameras': 'a,b', 'topics': 'a=/i,b=/i'}, 'cameras a and b are both on /i'),
        ({'score_threshold': 'high'}, 'score_threshold:=high is no number'),
    ],
)
def test_what_cannot_be_meant(given, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve(**given)


def test_what_is_recorded():
    assert resolve(namespace='car').recorded() == [
        '/car/perception/labels',
        '/car/perception/detections',
        '/car/perception/semantic_mask',
        '/car/perception/drivable_mask',
        '/car/perception/result',
        '/car/perception/timing',
    ]
    topics = resolve(cameras='front,left').recorded()
    assert len(topics) == 11 and '/perception/left/semantic_mask' in topics


def played(plan, recording):
    """The options of the player beside the recording and those for waiting."""
    arguments = plan.player_arguments(recording, 20)
    assert arguments[:4] == [recording, '--clock', '--wait-for-subscribers', '20']
    return arguments[4:]


@pytest.mark.parametrize(
    ('given', 'topic', 'compressed'),
    [
        ({}, 'image', False),
        ({'image_topic': 'camera/image', 'namespace': 'front'}, 'camera/image', False),
        ({'image_topic': '/camera/image', 'image_transport': 'raw'}, '/camera/image', False),
        ({'image_topic': 'i', 'image_transport': 'compressed'}, 'i/compressed', True),
        ({'image_topic': '/i/compressed'}, '/i/compressed', True),
        ({'cameras': 'front'}, 'front/image', False),
        ({'cameras': 'front', 'image_topic': '/{camera}/i'}, '/front/i', False),
    ],
)
def test_where_a_video_is_played(given, topic, compressed):
    encoding = ['--encoding', 'jpeg'] if compressed else []
    options = played(resolve(**given), 'drive.mp4')
    assert options == ['--topic', topic, *encoding]


def test_where_a_video_is_played_by_a_parameter_file(own):
    values = {
        'cameras': ['front'],
        'front': {'image_topic': '/f', 'image_transport': 'compressed'},
    }
    options = played(resolve(params_file=own(**values)), 'drive.mp4')
    assert options == ['--topic', '/f/compressed', '--encoding', 'jpeg']


def test_a_video_has_no_second_camera():
    with pytest.raises(UserError, match=r'drive\.mp4 is no bag: .* cameras are front, left'):
        played(resolve(cameras='front,left'), 'drive.mp4')


def test_a_bag_is_played_as_it_is(tmp_path):
    """The player refuses those options with it."""
    plan = resolve(cameras='front,left', image_transport='compressed')
    assert played(plan, 'drive.mcap') == []
    assert played(resolve(), str(tmp_path)) == ['--topic', 'image']
    (tmp_path / 'metadata.yaml').touch()
    assert played(plan, str(tmp_path)) == []


def test_options_of_the_replay():
    given = {**DEFAULTS, 'rate': '2', 'loop': 'True'}
    expected = ['--rate', '2.0', '--start-offset', '0.0', '--loop']
    assert launch_plan.replay_options(given) == expected
    with pytest.raises(UserError, match='rate:=fast is no number'):
        launch_plan.replay_options({**DEFAULTS, 'rate': 'fast'})


def test_it_needs_nothing_that_the_interpreter_of_launch_may_lack():
    code = (
        'import sys\n'
        'for name in ("numpy", "cv2", "onnxruntime", "rosbags", "scipy", "rclpy"):\n'
        '    sys.modules[name] = None\n'
        'import unidrive_perception.launching.plan, unidrive_perception.transport\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
