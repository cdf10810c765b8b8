# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The proof of life by ROS's own launch_testing, where a ROS distribution brings it.

In a process of its own: the pytest plugin of launch_testing does not fit every pytest.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ros2_launch import why_not

pytestmark = pytest.mark.ros


def test_proof_of_life(ros_domain, tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    if importlib.util.find_spec('launch_testing') is None:
        pytest.skip('launch_testing is not installed (it is not on PyPI)')
    file = Path(__file__).with_name('perception_proof_of_life.py')
    run = subprocess.run(
        [sys.executable, '-m', 'launch_testing.launch_test', str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        env={**os.environ, 'PYTHONUNBUFFERED': '1', 'ROS_LOG_DIR': str(tmp_path)},
    )
    assert run.returncode == 0, run.stdout
    assert 'Ran 3 tests' in run.stdout and 'Ran 1 test' in run.stdout, run.stdout
