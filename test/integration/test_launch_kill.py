# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed under `ros2 launch`: what comes back, what ends, what is kept."""

import pytest
from live_node import wait_until
from ros2_launch import bundle, filming, graph, images, launch  # noqa: F401

from unidrive_perception.bags.reader import open_bag

pytestmark = pytest.mark.ros


def results_of(graph, node='/perception'):
    from unidrive_msgs.msg import DetectionArray

    return graph.listen(DetectionArray, f'{node}/detections')


def test_a_killed_node_comes_back(launch, graph, bundle, filming):
    results = results_of(graph)
    filming('/image')
    process = launch(
        'perception.launch.py', f'model:={bundle}', 'respawn:=true', 'respawn_delay:=0.2'
    )
    for times in (1, 2):
        wait_until(lambda: results, 'a result')
        process.kill('perception_node')
        wait_until(lambda: len(process.pids('perception_node')) == times + 1, 'the next process')  # noqa: B023
        results.clear()
    wait_until(lambda: results, 'a result of the third')
    assert process.stop() == 0
    assert process.log.count('exit code -9') == 2


ROBOT = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description():
    return LaunchDescription([
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource({file!r}), launch_arguments=[('model', {model!r})]
        ),
        ExecuteProcess(cmd=['sleep', '1000'], name='motor'),
    ])
"""


def test_a_killed_node_does_not_take_the_robot_with_it(launch, bundle, tmp_path, repo_root):
    file = tmp_path / 'robot.launch.py'
    node_file = repo_root / 'launch' / 'perception.launch.py'
    file.write_text(ROBOT.format(file=str(node_file), model=str(bundle)))
    process = launch(file)
    process.wait_for('ready for /image')
    process.kill('perception_node')
    process.wait_for('exit code -9')
    with pytest.raises(TimeoutError):
        wait_until_ended(process, 2)
    assert process.stop() == 0
    assert len(process.pids('perception_node')) == 1


def wait_until_ended(process, seconds):
    try:
        wait_until(lambda: process.process.poll() is not None, 'the end', timeout=seconds)
    except AssertionError as error:
        raise TimeoutError from error


def test_a_launch_of_nothing_else_ends_with_it(launch, bundle):
    process = launch('perception.launch.py', f'model:={bundle}')
    process.wait_for('ready for /image')
    process.kill('perception_node')
    assert process.wait() == 0


@pytest.mark.parametrize('victim', ['bag_player', 'perception_node'])
def test_what_was_recorded_before_a_kill_is_kept(launch, graph, bundle, images, tmp_path, victim):
    results = results_of(graph)
    output = tmp_path / 'results'
    process = launch(
        *('replay.launch.py', f'bag:={images}', f'model:={bundle}', f'output:={output}'),
        *('loop:=true', 'rate:=0.5'),
    )
    wait_until(lambda: len(results) > 3, 'results')
    process.kill(victim)
    assert process.wait() == 1, process.log
    assert f'{victim}-' in process.log and 'ended with exit code -9' in process.log
    with open_bag(output) as bag:
        topics = [message.topic for message in bag.messages()]
    assert topics.count('/perception/detections') > 1
    assert 'Traceback' not in process.log


def test_a_replay_goes_on_with_a_node_that_comes_back(launch, graph, bundle, images, tmp_path):
    results = results_of(graph)
    output = tmp_path / 'results'
    process = launch(
        *('replay.launch.py', f'bag:={images}', f'model:={bundle}', f'output:={output}'),
        *('loop:=true', 'rate:=0.5', 'respawn:=true', 'respawn_delay:=0'),
    )
    wait_until(lambda: results, 'a result')
    process.kill('perception_node')
    wait_until(lambda: len(process.pids('perception_node')) == 2, 'the next process')
    results.clear()
    wait_until(lambda: len(results) > 3, 'results of the next')
    assert process.stop() == 0, process.log
    with open_bag(output) as bag:
        assert sum(m.topic == '/perception/detections' for m in bag.messages()) > 3
