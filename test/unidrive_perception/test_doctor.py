# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The command `unidrive doctor` as a whole, on machines that lack this and that."""

import json
import os
import subprocess
import sys

import pytest
from tiny_bundle import write_tiny_bundle

from unidrive_perception.doctor import command, findings
from unidrive_perception.doctor.findings import Finding, as_text, exit_code, fail, ok, warn

# Python imports this by itself where it lies on PYTHONPATH, in every process.
SABOTAGE = """
import os, sys, time

class Saboteur:
    def find_spec(self, name, path=None, target=None):
        if name in os.environ.get('MISSING', '').split():
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
        if name in os.environ.get('WRONG_ABI', '').split():
            raise ImportError('numpy.core.multiarray failed to import')
        if name in os.environ.get('CRASHING', '').split():
            os.abort()
        if name in os.environ.get('HANGING', '').split():
            time.sleep(1000)

sys.meta_path.insert(0, Saboteur())
"""


@pytest.fixture
def doctor(tmp_path, repo_root):
    """Run the command in a process where some modules are missing, broken or hang."""
    sabotage = tmp_path / 'sabotage'
    sabotage.mkdir()
    (sabotage / 'sitecustomize.py').write_text(SABOTAGE)

    def run(*args, expected=0, as_json=True, **modules):
        paths = [str(sabotage), str(repo_root), os.environ.get('PYTHONPATH', '')]
        done = subprocess.run(
            [sys.executable, '-m', 'unidrive_training.cli', 'doctor', '--quick', *map(str, args)]
            + ['--json'] * as_json,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths), **modules},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return json.loads(done.stdout)['findings'] if as_json else done.stdout

    return run


def found(rows, check):
    return next(row for row in rows if row['check'] == check)


def test_without_ros_the_rest_is_checked(doctor, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    rows = doctor('--model', model, MISSING='rclpy')
    assert found(rows, 'ROS')['level'] == 'WARN'
    for check in ('messages', 'graph', 'round trip'):
        assert found(rows, check)['level'] == 'skipped'
        assert found(rows, check)['found'].startswith('no ROS here: ')
    assert found(rows, 'bundle')['figures']['name'] == 'tiny'
    assert 'numpy' in found(rows, 'packages')['figures']


def test_missing_and_broken_packages(doctor):
    rows = doctor(MISSING='rclpy scipy tqdm', WRONG_ABI='cv2', expected=1)
    packages = [row for row in rows if row['check'] == 'packages']
    assert packages[0]['figures'] == {'missing': ['scipy', 'tqdm']}
    assert packages[0]['remedy'].endswith('scipy tqdm')
    assert found(rows, 'opencv')['level'] == 'FAIL'
    assert 'pip install' in found(rows, 'opencv')['remedy']


def test_a_package_that_crashes(doctor):
    rows = doctor(CRASHING='onnxruntime', MISSING='rclpy', expected=1)
    assert found(rows, 'onnxruntime')['level'] == 'FAIL'
    assert 'SIGABRT' in found(rows, 'onnxruntime')['found']
    assert 'numpy' in found(rows, 'packages')['figures']
    assert 'SIGABRT' in found(rows, 'bundle')['found']


def test_a_package_that_takes_too_long_is_not_called_broken(doctor, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    rows = doctor('--model', model, HANGING='scipy', MISSING='rclpy')
    assert found(rows, 'scipy')['level'] == 'WARN'
    assert 'took longer than' in found(rows, 'scipy')['found']
    assert 'less busy' in found(rows, 'scipy')['remedy']
    assert 'numpy' in found(rows, 'packages')['figures']
    assert [row['found'] for row in rows if 'not reached: yaml, tqdm' in row['found']]


def test_a_ros_that_hangs_is_a_failure_and_no_topic_passes(doctor):
    rows = doctor('--image-topic', '/camera/imag_raw', HANGING='rclpy', expected=1)
    assert found(rows, 'ROS')['level'] == 'FAIL'
    assert 'took longer than' in found(rows, 'ROS')['found']
    topic = found(rows, '/camera/imag_raw')
    assert (topic['level'], topic['found']) == ('WARN', 'not looked at')


def test_busy_and_its_remedy_are_said_once(doctor):
    text = doctor(HANGING='onnxruntime rclpy', as_json=False, expected=1)
    assert text.count('took longer than') > 2
    assert text.count('busy') == 1
    assert text.count('→ (as above, at onnxruntime)') >= 2


@pytest.mark.ros
def test_a_graph_that_was_not_looked_at_is_not_told_of(doctor, tmp_path, ros_domain):
    """The graph alone hangs: rclpy itself is well."""
    model = write_tiny_bundle(tmp_path / 'tiny')
    rows = doctor(
        *('--model', model, '--image-topic', '/camera/imag_raw'), HANGING='rosgraph_msgs'
    )
    assert found(rows, 'ROS')['level'] == 'OK'
    assert found(rows, 'graph')['level'] == 'WARN'
    assert found(rows, '/camera/imag_raw')['level'] == 'WARN'


def test_a_broken_bundle(doctor, tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    with (model / 'model.onnx').open('ab') as program:
        program.write(b'damage')
    rows = doctor('--model', model, MISSING='rclpy', expected=1)
    assert 'SHA-256' in found(rows, 'bundle')['found']
    assert found(rows, 'bundle')['remedy']


def test_a_parameter_file_counts_and_is_used(doctor, tmp_path):
    file = tmp_path / 'node.yaml'
    model = tmp_path / 'nowhere'
    file.write_text(
        f'perception:\n  ros__parameters: {{model_path: {model}, score_treshold: 0.5, threads: x}}'
    )
    rows = doctor('--params-file', file, MISSING='rclpy', expected=1)
    wrong = [row['found'] for row in rows if row['check'] == 'parameters']
    assert 'did you mean score_threshold?' in wrong[0]
    assert 'threads must be a whole number' in wrong[1]
    assert str(model) in found(rows, 'bundle')['found']


def test_text_is_aligned_and_without_colour_in_a_pipe(doctor):
    text = doctor(MISSING='rclpy numpy', as_json=False, expected=1)
    assert '\033' not in text
    lines = [line for line in text.splitlines() if line.startswith('  ') and line[2] != ' ']
    assert len(lines) > 8
    assert all(line[:10].strip() in findings.COLOURS and line[10] != ' ' for line in lines)
    assert all(line[27] == ' ' and line[28] != ' ' for line in lines)
    assert ' FAIL' in text.splitlines()[-1]


def test_a_finding_is_wrapped_and_its_remedy_is_not():
    finding = warn('memory', 'one two three ' * 20, 'do ' + 'something ' * 20)
    lines = as_text(finding, width=60).splitlines()
    assert all(len(line) <= 60 for line in lines[:-1])
    assert lines[-1].strip().startswith('→ do something') and len(lines[-1]) > 200
    again = as_text(finding, known={finding.remedy: 'load'}).splitlines()
    assert again[-1].strip() == '→ (as above, at load)'
    assert '→' not in as_text(ok('b', ''), known={finding.remedy: 'load'})
    assert as_text(finding, colour=True).startswith('  \033[33mWARN')


def test_only_failures_count_for_the_exit_code():
    assert exit_code([ok('a', ''), warn('b', '', 'x'), Finding('c', 'skipped', '')]) == 0
    assert exit_code([ok('a', ''), fail('b', '', 'x')]) == 1


def test_a_check_that_breaks_does_not_take_the_others_along(monkeypatch):
    from unidrive_perception.doctor import clock_checks

    def broken(_):
        raise TypeError('oh')
        yield

    monkeypatch.setattr(clock_checks, 'check', broken)
    (finding,) = command.findings_of('clock_checks', None)
    assert finding.level == 'WARN' and 'TypeError: oh' in finding.found


@pytest.mark.parametrize('text', ['', '12', '0x4', '1280x', 'axb', '1280x720x3', '65000x65000'])
def test_a_wrong_size_is_refused(text):
    with pytest.raises(command.argparse.ArgumentTypeError):
        command._size(text)


@pytest.mark.parametrize(
    'text', ['', '/', '/a b', '/camera/', '/a//b', '/4k/image', '~/image', '/{node}']
)
def test_a_wrong_topic_name_is_refused(text):
    with pytest.raises(command.argparse.ArgumentTypeError, match='is no topic like'):
        command._topic(text)


def test_a_topic_gets_its_full_name():
    assert command._topic('camera/image_raw') == command._topic('/camera/image_raw')


def test_without_the_ros2_command_none_is_told_to_be_typed(doctor):
    text = doctor(
        *('--model', '/nowhere'), as_json=False, expected=1, PATH='/nowhere', ROS_DISTRO=''
    )
    assert '→' in text
    assert 'ros2 ' not in text and 'apt install ros-' not in text and '$ROS_DISTRO' not in text
