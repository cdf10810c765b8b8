# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the real data beside the repository, and a ROS graph of one's own."""

import importlib
import itertools
import os
from pathlib import Path

import pytest

from unidrive_perception.transport import private_graph

REPO = Path(__file__).resolve().parents[1]

# Domain ids up to 101 need no port that the system may have given away. A run starts somewhere
# among them, and each test that asks for a domain gets the next;
# workers of pytest-xdist share none.
WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
DOMAINS = itertools.cycle(range(1 + WORKER, 102, WORKERS))
for _ in range(os.getpid() % 101):
    next(DOMAINS)


def missing_ros() -> str | None:
    """Why tests with the mark `ros` cannot run here, or None."""
    try:
        importlib.import_module('rclpy')
        messages = importlib.import_module('unidrive_msgs.msg')
    except ImportError as error:
        return str(error)
    # Without a build, the folder unidrive_msgs/msg is imported, as an empty namespace package.
    return None if hasattr(messages, 'PerceptionResult') else 'unidrive_msgs is not built'


def pytest_configure(config):
    os.environ.update(private_graph(next(DOMAINS)))
    if os.environ.get('UNIDRIVE_REQUIRE_ROS') == '1' and missing_ros():
        raise pytest.UsageError(f'UNIDRIVE_REQUIRE_ROS=1, but {missing_ros()}')


def pytest_runtest_setup(item):
    if item.get_closest_marker('ros') and missing_ros():
        pytest.skip(f'no ROS: {missing_ros()}')


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """The root of this repository."""
    return REPO


@pytest.fixture(scope='session')
def shared_data(repo_root) -> Path:
    """The real images, bags and masks that nobody has to have: of UNIDRIVE_DATA, or beside us."""
    folder = Path(os.environ.get('UNIDRIVE_DATA', repo_root.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real data in {folder} (UNIDRIVE_DATA)')
    return folder


@pytest.fixture
def ros_domain(monkeypatch) -> int:
    """A domain id that no other test uses, in the environment of this test and its children."""
    if missing_ros():
        pytest.skip(f'no ROS: {missing_ros()}')
    domain = next(DOMAINS)
    for name, value in private_graph(domain).items():
        monkeypatch.setenv(name, value)
    return domain
