# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files through the real `ros2 launch`, where a ROS distribution brings it."""

import importlib.util
import re

import pytest
from live_node import wait_until
from ros2_launch import PACKAGE, bundle, filming, graph, images, launch  # noqa: F401
from sample_bags import write_image_bag
from tiny_bundle import street

from unidrive_perception.launching.arguments import MULTI_CAMERA, PERCEPTION, REPLAY

pytestmark = pytest.mark.ros

FILES = {'perception': (), 'multi_camera': MULTI_CAMERA, 'replay': REPLAY}


def parameters_of(graph, node, *names):
    """Their values, from the live node."""
    from rcl_interfaces.srv import GetParameters
    from rclpy.parameter import parameter_value_to_python

    request = GetParameters.Request(names=list(names))
    answer = graph.call(GetParameters, f'{node}/get_parameters', request)
    return [parameter_value_to_python(value) for value in answer.values]


def detections_of(graph, node):
    from unidrive_msgs.msg import DetectionArray

    return graph.listen(DetectionArray, f'{node}/detections')


@pytest.mark.parametrize(('file', 'own'), FILES.items())
def test_every_argument_is_shown(launch, file, own):
    process = launch(f'{file}.launch.py', '-s')
    assert process.wait() == 0
    names = {line.strip(" ':") for line in process.log.splitlines() if line.startswith("    '")}
    assert names == {a.name for a in (*PERCEPTION, *own)}
    assert 'no description' not in process.log.lower()
    for argument in (*PERCEPTION, *own):
        first_of_name = next(a for a in (*own, *PERCEPTION) if a.name == argument.name)
        assert first_of_name.description in process.log


@pytest.mark.parametrize(
    ('file', 'argument', 'sentence'),
    [
        ('perception', 'device:=tpu', 'Argument "device" provided value "tpu" is not valid'),
        ('perception', 'max_rate:=fast', 'max_rate:=fast is no number'),
        ('perception', 'params_file:=/no.yaml', '/no.yaml cannot be read: No such file'),
        ('multi_camera', 'cameras:=a,a', 'cameras:=a,a has a name twice'),
        ('multi_camera', 'model:=x', 'missing required argument.*cameras'),
        ('replay', 'rate:=2', 'missing required argument.*bag'),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(launch, file, argument, sentence):
    process = launch(f'{file}.launch.py', argument)
    assert process.wait() == 1
    assert re.search(sentence, process.log, re.DOTALL)
    assert 'Traceback' not in process.log and not process.pids('perception_node')


def test_node_and_bag(launch, graph, bundle, images):
    """One command: the node is active, simulated time runs, results come in its namespace."""
    from lifecycle_msgs.srv import GetState

    results = detections_of(graph, '/front/perception')
    process = launch(
        'perception.launch.py',
        *(f'model:={bundle}', 'namespace:=front', 'image_topic:=/camera/image_raw'),
        f'bag:={images}',
    )
    wait_until(lambda: results, 'a result')
    assert [d.class_name for d in results[0].detections] == ['red', 'blue']
    state = graph.call(GetState, '/front/perception/get_state', GetState.Request())
    assert state.current_state.label == 'active'
    names = ('use_sim_time', 'model_path', 'device', 'threads')  # the last two of the package
    assert parameters_of(graph, '/front/perception', *names) == [True, str(bundle), 'auto', 0]
    assert process.stop() == 0
    assert 'Traceback' not in process.log and 'process has died' not in process.log


def test_arguments_beat_ones_own_file_which_beats_the_package(launch, graph, bundle, tmp_path):
    """Also where ROS would prefer the file: a section of the node's, an int for a float."""
    own = tmp_path / 'own.yaml'
    own.write_text(
        f'/**:\n  ros__parameters: {{model_path: {bundle}, image_transport: compressed}}\n'
        'front:\n  perception:\n    ros__parameters: {score_threshold: 1, use_sim_time: true}\n'
        '/*/perception:\n  ros__parameters: {mask_downscale: 4, max_rate: 5}\n'
        '/perception:\n  ros__parameters: {mask_downscale: 8}\n'
    )
    process = launch(
        'perception.launch.py',
        *(f'params_file:={own}', 'namespace:=front', 'image_topic:=/x', 'lazy:=false'),
        *('score_threshold:=0.5', 'max_rate:=9', 'tracking:=True', 'tasks:=detection,drivable'),
    )
    process.wait_for('/x/compressed')
    found = parameters_of(graph, '/front/perception', 'score_threshold', 'mask_downscale')
    assert found == [0.5, 4]
    names = ('use_sim_time', 'max_rate', 'tracking', 'lazy', 'threads', 'tasks')
    *found, tasks = parameters_of(graph, '/front/perception', *names)
    assert found == [True, 9.0, True, False, 0] and list(tasks) == ['detection', 'drivable']


def test_texts_that_look_like_numbers(launch, graph, bundle):
    process = launch(
        'perception.launch.py', 'model:=123', 'autostart:=false', 'score_threshold:=1'
    )
    names = ('model_path', 'score_threshold', 'autostart')
    assert parameters_of(graph, '/perception', *names) == ['123', 1.0, False]
    assert process.stop() == 0


def test_a_file_for_another_node_is_told_of(launch, graph, bundle, tmp_path):
    own = tmp_path / 'own.yaml'
    own.write_text('perception:\n  ros__parameters: {lazy: false}\n')
    process = launch('perception.launch.py', f'params_file:={own}', 'namespace:=front')
    process.wait_for('own.yaml has no parameters for /front/perception, only for perception')


def test_a_lifecycle_manager_may_start_it(launch, graph, bundle, filming):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    results = detections_of(graph, '/perception')
    filming('/image')
    launch('perception.launch.py', f'model:={bundle}', 'autostart:=false')
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert not results
        request = ChangeState.Request(transition=Transition(id=transition))
        assert graph.call(ChangeState, '/perception/change_state', request).success
    wait_until(lambda: results, 'a result')


TWICE = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace


def generate_launch_description():
    return LaunchDescription([
        GroupAction([
            PushRosNamespace(name),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource({file!r}),
                launch_arguments={{'model': {model!r}, 'image_topic': 'raw', **more}}.items(),
            ),
        ])
        for name, more in {groups!r}
    ])
"""


def test_twice_in_the_launch_file_of_a_robot(launch, graph, bundle, filming, tmp_path, repo_root):
    file = tmp_path / 'robot.launch.py'
    groups = [('front', {'score_threshold': '0.7'}), ('rear', {'namespace': 'upper'})]
    node_file = str(repo_root / 'launch' / 'perception.launch.py')
    file.write_text(TWICE.format(file=node_file, model=str(bundle), groups=groups))
    filming('/front/raw', '/rear/upper/raw')
    nodes = ['/front/perception', '/rear/upper/perception']
    heard = [detections_of(graph, node) for node in nodes]
    process = launch(file)
    wait_until(lambda: all(heard), 'results of both')
    thresholds = [parameters_of(graph, node, 'score_threshold') for node in nodes]
    assert thresholds == [[0.7], [-1.0]]
    assert process.stop() == 0


def test_several_cameras_on_one_node(launch, graph, bundle, filming):
    filming('/front/image_raw', '/left/image_raw', '/up')
    heard = [detections_of(graph, f'/perception/{name}') for name in ('front', 'left', 'sky')]
    process = launch(
        *('multi_camera.launch.py', f'model:={bundle}', 'cameras:=front,left,sky'),
        'topics:=sky=/up',
    )
    wait_until(lambda: all(heard), 'results of all cameras')
    assert len(process.pids('perception_node')) == 1
    assert process.stop() == 0


@pytest.mark.parametrize('kind', ['folder', 'bag'])
def test_replay_records_and_ends_by_itself(launch, bundle, images, tmp_path, kind):
    drive, topic = images, 'image_topic:=raw'
    if kind == 'bag':
        drive = write_image_bag(tmp_path / 'drive', pictures=[street(360, 640)] * 20)
        topic = 'image_topic:=/camera/image_raw'
    output = tmp_path / 'results'
    arguments = [f'bag:={drive}', f'model:={bundle}', f'output:={output}', topic]
    process = launch('replay.launch.py', *arguments)
    assert process.wait(90) == 0, process.log
    assert 'Traceback' not in process.log
    counts = recorded(output)
    names = {'labels', 'detections', 'semantic_mask', 'drivable_mask', 'timing', 'result'}
    assert set(counts) == {f'/perception/{name}' for name in names}
    assert counts['/perception/detections'] >= 1  # of 20; how many depends on the machine


def recorded(path):
    """The number of messages of each topic that has any."""
    from collections import Counter

    from unidrive_perception.bags.reader import open_bag

    with open_bag(path) as bag:
        return dict(Counter(message.topic for message in bag.messages()))


def test_replay_of_several_cameras(launch, bundle, tmp_path):
    drive = tmp_path / 'drive'
    write_two_cameras(drive)
    output = tmp_path / 'results'
    process = launch(
        *('replay.launch.py', f'bag:={drive}', f'model:={bundle}', f'output:={output}'),
        *('cameras:=front,left', 'image_topic:=/{camera}/raw', 'namespace:=car'),
    )
    assert process.wait(90) == 0, process.log
    counts = recorded(output)
    assert counts['/car/perception/front/detections'] and counts['/car/perception/left/timing']


def write_two_cameras(path):
    from unidrive_perception.bags.reader import BagWriter
    from unidrive_perception.message_factories import BagFactory
    from unidrive_perception.messages import image_message, make_header

    start = 1_700_000_000_000_000_000
    with BagWriter(path, 'mcap') as writer:
        make = BagFactory(writer.typestore)
        for stamp in range(start, start + 2_000_000_000, 100_000_000):
            for name in ('front', 'left'):
                image = image_message(
                    make, make_header(make, stamp, name), street(96, 160), 'rgb8'
                )
                writer.write(f'/{name}/raw', image, stamp)


def test_replay_without_a_recording_plays_to_the_node(launch, bundle, images):
    process = launch('replay.launch.py', f'bag:={images}', f'model:={bundle}', 'rate:=4')
    assert process.wait(90) == 0, process.log
    assert '20 messages played' in process.log and 'nobody subscribed' not in process.log


@pytest.mark.parametrize('file', ['perception.launch.py', 'replay.launch.py'])
def test_a_node_that_fails_ends_the_launch(launch, images, file):
    process = launch(file, f'bag:={images}', 'model:=/nowhere/nano')
    assert process.wait(60) == 1, process.log
    assert '/nowhere/nano: no such model bundle folder' in process.log
    assert re.search(r'perception_node-\d ended with exit code 1', process.log)
    assert 'nobody subscribed' not in process.log  # the player did not play to nobody


def test_a_folder_is_played_as_the_node_wants_it(launch, graph, bundle, images):
    results = detections_of(graph, '/front/perception')
    arguments = ['namespace:=front', 'image_topic:=left', 'image_transport:=compressed']
    process = launch('perception.launch.py', f'model:={bundle}', f'bag:={images}', *arguments)
    wait_until(lambda: results, 'a result', timeout=60)
    assert 'CompressedImage on /front/left/compressed' in process.log


def test_the_profile_for_large_images_is_set(launch, monkeypatch, repo_root):
    """By the launch file too: for the nodes that others put beside ours."""
    spec = importlib.util.spec_from_file_location(
        'perception_launch', repo_root / 'launch' / 'perception.launch.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from launch import LaunchContext
    from launch.actions import SetEnvironmentVariable

    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    context = LaunchContext()
    for entity in module.generate_launch_description().entities:
        if isinstance(entity, SetEnvironmentVariable):
            entity.visit(context)
    assert context.environment['FASTDDS_DEFAULT_PROFILES_FILE'].endswith('.xml')
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', '/my/own.xml')
    entities = module.generate_launch_description().entities
    assert not [e for e in entities if isinstance(e, SetEnvironmentVariable)]
