# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The set-up does each step once, survives interruptions and says in one sentence what lacks."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import namedtuple

import pytest

STEPS = ['make_venv', 'install_packages', 'build_messages', 'install_project']


@pytest.fixture
def bootstrap(repo_root, tmp_path, monkeypatch):
    """The set-up program on a small copy of the repository, with steps that only say so."""
    for name in ('config/setup', 'unidrive_msgs', 'launch', 'resource'):
        shutil.copytree(repo_root / name, tmp_path / name)
    for name in ('setup.py', 'setup.cfg', 'package.xml'):
        shutil.copy(repo_root / name, tmp_path / name)
    path = tmp_path / 'config' / 'setup' / 'bootstrap.py'
    spec = importlib.util.spec_from_file_location('bootstrap', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.done = []
    for name in STEPS:
        monkeypatch.setattr(module, name, recorder(module, name))
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    return module


def recorder(module, name):
    def step(distro):
        module.VENV.mkdir(exist_ok=True)
        module.done.append(name)

    return step


def steps_of_a_run(bootstrap):
    bootstrap.done.clear()
    bootstrap.run_steps(None)
    return list(bootstrap.done)


def test_a_second_run_does_nothing(bootstrap):
    assert steps_of_a_run(bootstrap) == STEPS
    assert steps_of_a_run(bootstrap) == []


@pytest.mark.parametrize(
    ('changed', 'steps'),
    [
        ('config/setup/requirements.lock', STEPS[1:]),
        ('unidrive_msgs/msg/Detection.msg', STEPS[2:]),
        ('setup.py', STEPS[3:]),
        ('launch/another.launch.py', STEPS[3:]),
    ],
)
def test_a_change_repeats_what_depends_on_it(bootstrap, changed, steps):
    steps_of_a_run(bootstrap)
    with (bootstrap.REPO / changed).open('a') as file:
        file.write('# changed\n')
    assert steps_of_a_run(bootstrap) == steps
    assert steps_of_a_run(bootstrap) == []


def test_an_interrupted_step_runs_again(bootstrap, monkeypatch):
    def interrupted(distro):
        raise KeyboardInterrupt

    finished = bootstrap.install_packages
    monkeypatch.setattr(bootstrap, 'install_packages', interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.run_steps(None)
    monkeypatch.setattr(bootstrap, 'install_packages', finished)
    assert steps_of_a_run(bootstrap) == STEPS[1:]


def test_a_step_interrupted_in_a_later_run_is_not_taken_for_done(bootstrap, monkeypatch):
    steps_of_a_run(bootstrap)
    lock = bootstrap.SETUP / 'requirements.lock'
    before = lock.read_text()
    lock.write_text(before + 'one-more==1\n')

    def interrupted(distro):
        raise KeyboardInterrupt

    finished = bootstrap.install_packages
    monkeypatch.setattr(bootstrap, 'install_packages', interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.run_steps(None)
    monkeypatch.setattr(bootstrap, 'install_packages', finished)
    lock.write_text(before)  # as it was when the step was last complete, which .venv is not
    assert steps_of_a_run(bootstrap)[0] == 'install_packages'


def test_a_sourced_distribution_makes_another_venv(bootstrap, monkeypatch):
    steps_of_a_run(bootstrap)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{bootstrap.VENV}')
    assert bootstrap.sourced_distro() is None
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{bootstrap.VENV}:/opt/ros/jazzy')
    assert bootstrap.sourced_distro() == 'jazzy'
    bootstrap.done.clear()
    bootstrap.run_steps('jazzy')
    assert bootstrap.done == STEPS


def test_a_half_installed_package_is_installed_again(repo_root, bootstrap, monkeypatch):
    spec = importlib.util.spec_from_file_location('real', bootstrap.SETUP / 'bootstrap.py')
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    calls = []
    monkeypatch.setattr(real, 'pip_install', lambda *arguments: calls.append(arguments))
    whole, half = (real.SITE_PACKAGES / f'{name}-1.dist-info' for name in ('whole', 'half'))
    for folder in (whole, half):
        folder.mkdir(parents=True)
    (whole / 'RECORD').touch()
    real.install_packages(None)
    assert calls and whole.is_dir() and not half.exists()


def test_wheels_are_mended_once(bootstrap):
    file = bootstrap.VENV / 'share' / 'std_msgs' / 'cmake' / 'thingExport.cmake'
    file.parent.mkdir(parents=True)
    file.write_text(
        '"/opt/python/cp312-cp312/include/python3.12;'
        '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"'
    )
    bootstrap.mend_wheels()
    mended = file.read_text()
    assert '/opt/python' not in mended
    include, numpy = mended.strip('"').split(';')
    assert include == sysconfig.get_path('include')
    assert numpy == f'{bootstrap.SITE_PACKAGES}/numpy/_core/include'
    bootstrap.mend_wheels()
    assert file.read_text() == mended


def test_activate_is_extended_once(bootstrap):
    activate = bootstrap.VENV / 'bin' / 'activate'
    activate.parent.mkdir(parents=True)
    activate.write_text('# made by venv\n')
    bootstrap.extend_activate(None)
    once = activate.read_text()
    bootstrap.extend_activate(None)
    assert activate.read_text() == once
    shell = f'set -eu; . {activate}; . {activate}; printf %s "$AMENT_PREFIX_PATH"'
    for before, after in (('', bootstrap.VENV), ('/opt/ros/x', f'{bootstrap.VENV}:/opt/ros/x')):
        env = dict(os.environ, AMENT_PREFIX_PATH=before)
        output = subprocess.run(
            ['sh', '-c', shell], env=env, capture_output=True, text=True, check=True
        )
        assert output.stdout == str(after)


def test_the_system_python_of_ros2_launch_finds_our_package(bootstrap, repo_root):
    activate = bootstrap.VENV / 'bin' / 'activate'
    activate.parent.mkdir(parents=True)
    activate.write_text('# made by venv\n')
    bootstrap.extend_activate('jazzy')
    shutil.copytree(repo_root / 'unidrive_perception', bootstrap.REPO / 'unidrive_perception')
    module = 'unidrive_perception.transport'
    code = f"import os, {module} as m; print(m.__file__, os.environ['PYTHONPATH'])"
    shell = f'. {activate}; cd /; {sys._base_executable} -c "{code}"'
    env = {'PATH': os.environ['PATH'], 'PYTHONPATH': '/opt/ros/x'}
    output = subprocess.run(
        ['sh', '-c', shell], env=env, capture_output=True, text=True, check=True
    )
    file, path = output.stdout.split()
    assert file == f'{bootstrap.REPO}/unidrive_perception/transport.py'
    assert path == f'{bootstrap.REPO}:/opt/ros/x'


@pytest.mark.parametrize('version', [(3, 9), (3, 14), (2, 7)])
def test_a_wrong_python_is_refused(bootstrap, monkeypatch, version):
    monkeypatch.setattr(bootstrap.sys, 'version_info', version)
    with pytest.raises(bootstrap.SetupError, match=r'needs Python 3\.10 to 3\.13, and .* PYTHON='):
        bootstrap.check_python()


def script(path, lines):
    path.write_text(f'#!/bin/sh\n{lines}\n')
    path.chmod(0o755)
    return path


def test_only_a_python_that_runs_is_recommended(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap.sys, 'version_info', (3, 9))
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(bootstrap.SetupError, match='install one and name it'):
        bootstrap.check_python()
    script(tmp_path / 'python3.12', 'echo "pyenv: python3.12: command not found"; exit 127')
    script(tmp_path / 'python3.11', 'exit 0')
    with pytest.raises(bootstrap.SetupError, match=r'use PYTHON=python3\.11$'):
        bootstrap.check_python()


@pytest.mark.parametrize('lines', [None, 'echo "command not found" >&2; exit 127', 'echo 2'])
def test_make_refuses_what_is_no_python_3_in_one_sentence(repo_root, tmp_path, lines):
    if shutil.which('make') is None:
        pytest.skip('no make')
    python = tmp_path / 'python3.9'
    if lines:
        script(python, lines)
    command = ['make', '-f', str(repo_root / 'Makefile'), 'demo', f'PYTHON={python}']
    # This test may run under make itself, which tells its children to print what they enter.
    environment = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MAKELEVEL')}
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    sentence, *rest = told.stderr.splitlines()
    assert told.returncode == 2 and told.stdout == ''
    assert sentence.startswith(f'set-up: error: there is no Python 3 called {python} here: ')
    assert 'PYTHON=' in sentence and all(line.startswith('make: ***') for line in rest)


@pytest.mark.parametrize('version', [(3, 10), (3, 13)])
def test_a_right_python_is_taken(bootstrap, monkeypatch, version):
    monkeypatch.setattr(bootstrap.sys, 'version_info', version)
    bootstrap.check_python()


def test_missing_tools_are_named_with_their_command(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(bootstrap.sysconfig, 'get_path', lambda name: str(tmp_path))
    monkeypatch.setattr(bootstrap.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(bootstrap.SetupError, match=r'sudo apt install \S+-venv g\+\+ \S+-dev$'):
        bootstrap.check_tools()


def test_a_small_disk_is_refused(bootstrap, monkeypatch):
    Usage = namedtuple('Usage', 'total used free')
    monkeypatch.setattr(bootstrap.shutil, 'disk_usage', lambda folder: Usage(9e9, 8e9, 1e9))
    with pytest.raises(bootstrap.SetupError, match=r'has 1\.0 GB free and the set-up takes'):
        bootstrap.check_disk()
    monkeypatch.setattr(bootstrap.shutil, 'disk_usage', lambda folder: Usage(9e11, 0, 9e11))
    bootstrap.check_disk()


@pytest.mark.parametrize(
    ('complaint', 'sentence'),
    [
        ("Retrying ... NewConnectionError('<...>: Failed to establish')", 'check the network'),
        ('ERROR: Could not install: [Errno 28] No space left on device', 'free some space'),
        ('ERROR: No matching distribution found for torch==99', 'for the reason above'),
    ],
)
def test_what_pip_says_becomes_a_sentence(bootstrap, monkeypatch, capfd, complaint, sentence):
    pip = bootstrap.REPO / 'pip'
    pip.write_text(f'#!{sys.executable}\nimport sys\nsys.exit({complaint!r})\n')
    pip.chmod(0o755)
    monkeypatch.setattr(bootstrap, 'PYTHON', pip)
    with pytest.raises(bootstrap.SetupError, match=sentence):
        bootstrap.pip_install('torch')
    assert complaint in capfd.readouterr().err
