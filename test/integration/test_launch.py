# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The launch files through the real `ros2 launch`, where a ROS distribution brings it."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess

import cv2
import pytest
from live_node import Graph, wait_until
from sample_bags import write_image_bag
from tiny_bundle import street, write_tiny_bundle

pytestmark = pytest.mark.ros

PACKAGE = 'unidrive_perception'
ARGUMENTS = {
    *('model', 'image_topic', 'image_transport', 'device', 'params_file', 'namespace'),
    *('use_sim_time', 'log_level', 'bag'),
}


def why_not() -> str | None:
    """What `ros2 launch` lacks here to start our nodes, or None."""
    # `launch` alone would be found: as a namespace package, our own folder of launch files
    if importlib.util.find_spec('launch_ros') is None or shutil.which('ros2') is None:
        return 'ros2 launch is not installed (it is not on PyPI)'
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix(PACKAGE)
    except PackageNotFoundError:
        return f'{PACKAGE} is not installed as a ROS package'
    return None


@pytest.fixture(autouse=True)
def need_launch():
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def launch(ros_domain, tmp_path):
    """Start `ros2 launch` of our package; what still runs is interrupted at the end."""
    started = []

    def launch(file, *arguments):
        command = ['ros2', 'launch', PACKAGE, file, *arguments]
        with (tmp_path / 'launch.log').open('ab') as log:
            environment = {**os.environ, 'ROS_LOG_DIR': str(tmp_path), 'PYTHONUNBUFFERED': '1'}
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        started.append(process)
        return process

    launch.log = lambda: (tmp_path / 'launch.log').read_text()
    yield launch
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.fixture
def graph(ros_domain):
    graph = Graph(ros_domain)
    yield graph
    graph.close()


@pytest.fixture
def bundle(tmp_path):
    return write_tiny_bundle(tmp_path / 'tiny')


@pytest.fixture
def images(tmp_path):
    """A drive of twenty pictures."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(20):
        picture = street(360, 640)
        picture[:, : 10 * i + 1] = 0
        cv2.imwrite(str(folder / f'{i:03}.png'), picture[..., ::-1])
    return folder


@pytest.mark.parametrize(
    ('file', 'more'),
    [
        ('perception.launch.py', set()),
        ('replay.launch.py', {'output', 'rate', 'loop', 'start_offset'}),
    ],
)
def test_every_argument_is_shown(ros_domain, file, more):
    command = ['ros2', 'launch', PACKAGE, file, '-s']
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.strip(" ':") for line in shown.splitlines() if line.startswith("    '")}
    assert names == ARGUMENTS | more
    assert 'no description' not in shown.lower()
    assert 'Always so with bag, and in replay.launch.py' in shown  # use_sim_time


def test_a_wrong_argument_is_refused(launch):
    process = launch('perception.launch.py', 'device:=tpu')
    assert process.wait(60) != 0
    assert 'Argument "device" provided value "tpu" is not valid' in launch.log()


def test_node_and_bag(launch, graph, bundle, images):
    """One command: the node is active, simulated time runs, results come in its namespace."""
    from lifecycle_msgs.srv import GetState
    from rcl_interfaces.srv import GetParameters

    from unidrive_msgs.msg import DetectionArray

    results = graph.listen(DetectionArray, '/front/perception/detections')
    process = launch(
        'perception.launch.py',
        f'model:={bundle}',
        'namespace:=front',
        'image_topic:=/camera/image_raw',
        f'bag:={images}',
    )
    wait_until(lambda: results, 'a result', timeout=60)
    assert [d.class_name for d in results[0].detections] == ['red', 'blue']
    state = graph.call(GetState, '/front/perception/get_state', GetState.Request())
    assert state.current_state.label == 'active'
    request = GetParameters.Request(names=['use_sim_time', 'model_path', 'device', 'threads'])
    answer = graph.call(GetParameters, '/front/perception/get_parameters', request)
    sim_time, model, device, threads = answer.values
    assert (sim_time.bool_value, model.string_value) == (True, str(bundle))
    assert (device.string_value, threads.integer_value) == ('auto', 0)  # of the parameter file
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert 'Traceback' not in launch.log() and 'process has died' not in launch.log()


def test_arguments_beat_the_parameter_file_only_where_given(launch, graph, bundle, tmp_path):
    from rcl_interfaces.srv import GetParameters

    params = tmp_path / 'own.yaml'
    params.write_text(
        '/**:\n  ros__parameters:\n'
        f'    model_path: {bundle}\n    image_transport: compressed\n    device: auto\n'
        '    use_sim_time: true\n'
    )
    launch('perception.launch.py', f'params_file:={params}', 'device:=cpu', 'image_topic:=/x')
    request = GetParameters.Request(names=['image_transport', 'device', 'use_sim_time'])
    wait_until(lambda: '/x/compressed' in launch.log(), 'the subscription', timeout=60)
    answer = graph.call(GetParameters, '/perception/get_parameters', request)
    transport, device, sim_time = answer.values
    assert (transport.string_value, device.string_value) == ('compressed', 'cpu')
    assert sim_time.bool_value


@pytest.mark.parametrize('kind', ['folder', 'bag'])
def test_replay_records_and_ends_by_itself(launch, bundle, images, tmp_path, kind):
    from unidrive_perception.bags import open_bag

    drive = images
    if kind == 'bag':
        drive = write_image_bag(tmp_path / 'drive', pictures=[street(360, 640)] * 20)
    output = tmp_path / 'results'
    process = launch(
        'replay.launch.py', f'bag:={drive}', f'model:={bundle}', f'output:={output}', 'rate:=0.5'
    )
    assert process.wait(90) == 0, launch.log()
    assert 'Traceback' not in launch.log()
    with open_bag(output) as bag:
        names = {topic.rpartition('/')[2] for topic in bag.topics}
        assert {'detections', 'semantic_mask', 'drivable_mask', 'labels', 'timing'} <= names
        count = sum(m.topic == '/perception/detections' for m in bag.messages())
    assert count >= 1  # of 20; how many depends on the machine


@pytest.mark.parametrize('file', ['perception.launch.py', 'replay.launch.py'])
def test_a_node_that_fails_ends_the_launch(launch, images, file):
    process = launch(file, f'bag:={images}', 'model:=/nowhere/nano')
    assert process.wait(60) == 1, launch.log()
    assert '/nowhere/nano: no such model bundle folder' in launch.log()
    assert re.search(r'perception_node-\d ended with exit code 1', launch.log())
    assert 'was required' not in launch.log()  # of the player, which only follows
    assert 'nobody subscribed' not in launch.log()  # the player did not play to nobody


def test_a_folder_is_played_as_the_node_wants_it(launch, graph, bundle, images):
    from unidrive_msgs.msg import DetectionArray

    results = graph.listen(DetectionArray, '/front/perception/detections')
    arguments = ['namespace:=front', 'image_topic:=left', 'image_transport:=compressed']
    launch('perception.launch.py', f'model:={bundle}', f'bag:={images}', *arguments)
    wait_until(lambda: results, 'a result', timeout=60)
    assert 'CompressedImage on /front/left/compressed' in launch.log()


def test_the_profile_for_large_images_is_set(launch, ros_domain, monkeypatch, repo_root):
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
