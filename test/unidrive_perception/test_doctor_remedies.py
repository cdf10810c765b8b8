# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the doctor tells people to type exists in their kind of ROS."""

import sys

import pytest

from unidrive_perception.doctor import (
    camera_checks,
    graph_checks,
    machine_checks,
    model_checks,
    python_checks,
    remedies,
    ros_checks,
    stream_checks,
    transport_checks,
)
from unidrive_perception.doctor.graph_view import GraphView, Publisher, Status, Stream
from unidrive_perception.image_topics import IMAGE

TOPIC = '/front/image_raw'


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine with some commands on its PATH, ROS packages and a distribution."""

    def make(*commands, packages=(), distribution=''):
        for folder, names in (('bin', commands), (f'ros/{distribution}', ())):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (tmp_path / folder / name).touch(mode=0o755)
        index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
        index.mkdir(parents=True, exist_ok=True)
        for package in packages:
            (index / package).touch()
        monkeypatch.setattr(remedies, 'INSTALLED_ROS', tmp_path / 'ros')
        monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
        monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
        monkeypatch.setenv('ROS_DISTRO', distribution)

    return make


def everything_wrong() -> list[str]:
    """The remedies of findings of all kinds."""
    camera = Publisher('/', 'camera', IMAGE, 'best_effort', ['/perception'])
    view = GraphView(
        nodes=['/perception', '/perception'],
        watched_s=2.0,
        clock_publishers=1,
        use_sim_time={'/perception': False},
        perception={'/perception': [TOPIC]},
        diagnostics=[
            Status('/perception: /a', 1, '9 of 10 images dropped', {}),
            Status('/perception: /b', 2, 'broken'),
        ],
    )
    old = Stream(IMAGE, '32FC1', stamps=[1, 1], now=[10**12, 10**12], arrivals=[1, 2])
    cpu = {'version': '1.20', 'providers': ['CPUExecutionProvider']}
    findings = [
        graph_checks.nodes(view),
        *graph_checks.simulated_time(view),
        *graph_checks.diagnostics(view),
        graph_checks.not_looked_at(graph_checks.Told({}, 'crashed'), False),
        *camera_checks.camera(TOPIC, [camera, camera], view, {}, 'export X'),
        *camera_checks.camera(TOPIC, [], view, {}, 'export X'),
        *stream_checks.judge_stream(TOPIC, '/camera', old),
        *stream_checks.judge_stream(TOPIC, '/camera', old, max_age=1.0),
        *stream_checks.judge_stream(TOPIC, '/camera', old, simulated=True),
        machine_checks.processors(8, 8, 1.5),
        model_checks.did_not_run('crashed', late=False),
        model_checks.providers(cpu, 'cuda', gpu=False),
        python_checks.cv_bridge({'cv_bridge': {'works': False, 'sentence': 'it is broken'}}),
        ros_checks.distribution({}, 'broken', {}),
        ros_checks.own_messages({}),
        *ros_checks.messages({'sensor_msgs': {'missing': True}, 'vision_msgs': {}}),
    ]
    lines = [f.remedy or f.found for f in findings if f.level != 'skipped']
    return [*lines, transport_checks.compressed(), remedies.set_parameter('/a', 'b', '1')]


def test_with_wheels_nothing_of_a_distribution_is_to_be_typed(machine):
    machine('perception_node')
    lines = everything_wrong()
    assert len(lines) > 20
    for line in lines:
        assert 'ros2 ' not in line and 'apt install ros-' not in line, line
        assert '$ROS_DISTRO' not in line and '/opt/ros' not in line, line
    assert transport_checks.compressed().startswith('perception_node --ros-args -p ')


def test_with_a_distribution_its_commands_and_packages_are_named(machine):
    machine('ros2', packages=['unidrive_perception'], distribution='jazzy')
    lines = everything_wrong()
    assert 'sudo apt install ros-jazzy-sensor-msgs' in lines
    assert any('sudo apt install ros-jazzy-vision-msgs' in line for line in lines)
    assert 'sudo apt install --reinstall ros-jazzy-cv-bridge' in lines
    assert any(line.startswith('colcon build ') for line in lines)
    assert any('/jazzy/setup.bash' in line for line in lines)
    assert f'ros2 topic info -v {TOPIC}   # and end or remap all but one' in lines
    assert 'ros2 param set /perception use_sim_time true' in lines
    start = 'ros2 run unidrive_perception perception_node --ros-args -p '
    assert transport_checks.compressed().startswith(start)
    assert not any('$ROS_DISTRO' in line for line in lines)


def test_an_age_limit_is_lifted_at_the_node_that_listens(machine):
    machine('ros2', 'perception_node')
    old = Stream(IMAGE, 'rgb8', frame_id='a', stamps=[1, 2], now=[10**10] * 2, arrivals=[1, 2])
    camera = Publisher('/', 'camera', IMAGE, 'best_effort')

    def remedy(**perception):
        view = GraphView(watched_s=2.0, streams={TOPIC: old}, **perception)
        findings = camera_checks.camera(TOPIC, [camera], view, {'max_age': 1.0}, 'export X')
        return next(finding.remedy for finding in findings if finding.check == 'stamps')

    nodes = {'/rear/perception': ['/rear/image_raw'], '/front/perception': [TOPIC]}
    assert remedy(perception=nodes) == 'ros2 param set /front/perception max_age 0.0'
    assert remedy() == 'perception_node --ros-args -p max_age:=0.0'


def test_without_ros2_a_running_node_is_started_again_with_all_its_arguments(machine):
    machine('perception_node')
    start = 'perception_node --ros-args -p max_rate:=8.0   # and its other arguments'
    assert remedies.set_parameter('/perception', 'max_rate', '8.0', ours=True) == start


def test_a_distribution_without_our_workspace_cannot_ros2_run_us(machine):
    machine('ros2', 'perception_node', distribution='jazzy')
    assert remedies.run_node('-p a:=1') == 'perception_node --ros-args -p a:=1'
    assert remedies.install('vision_msgs') == 'sudo apt install ros-jazzy-vision-msgs'


def test_where_nothing_is_installed_python_starts_the_node(machine):
    machine()
    start = f'-m unidrive_perception.perception_node --ros-args {"-p a:=1"}'
    assert remedies.run_node('-p a:=1').endswith(start)
    assert sys.executable.endswith(remedies.run_node('').split()[0])


def test_a_distribution_built_from_source_has_no_apt(machine, monkeypatch):
    machine('ros2')
    monkeypatch.setenv('ROS_DISTRO', 'rolling')
    assert 'apt' not in remedies.install('vision_msgs')
    assert 'rolling' in remedies.install('vision_msgs')


def test_the_set_up_is_that_of_this_checkout(machine, repo_root, tmp_path, monkeypatch):
    machine()
    assert remedies.set_up() == f'make -C {repo_root} setup'
    monkeypatch.setattr(remedies, 'PACKAGE_ROOT', tmp_path)
    assert remedies.set_up() == remedies.GUIDE
