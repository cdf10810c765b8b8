# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The choice of the Fast DDS profile."""

from xml.etree import ElementTree

import pytest

from unidrive_perception import transport
from unidrive_perception.transport import USER_CHOICES, dds_environment

NAMESPACE = '{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}'


def test_the_profile_depends_on_the_room(repo_root, monkeypatch):
    for room, name in ((transport.ROOM_FOR_LARGE, 'fastdds.xml'), (64 << 20, 'fastdds_small.xml')):
        monkeypatch.setattr(transport, 'free_shared_memory', lambda room=room: room)
        path = str(repo_root / 'config' / name)
        assert dds_environment({}) == {'FASTDDS_DEFAULT_PROFILES_FILE': path}


@pytest.mark.parametrize('name', USER_CHOICES)
def test_a_user_who_chose_is_left_alone(name):
    assert dds_environment({name: 'anything'}) == {}
    assert dds_environment({name: ''})


def test_older_distributions_get_the_older_name_too():
    assert set(dds_environment({'ROS_DISTRO': 'humble'})) == set(USER_CHOICES[:2])
    assert set(dds_environment({'ROS_DISTRO': 'kilted'})) == set(USER_CHOICES[:1])


def test_no_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(transport, 'SHARED_MEMORY', tmp_path / 'none')
    assert transport.free_shared_memory() == 0
    monkeypatch.setattr(transport, 'SHARED_MEMORY', tmp_path)
    assert transport.free_shared_memory() > 0


def test_segments_fit_and_hold_an_image(repo_root):
    """Five processes must fit into Docker's 64 MB, and an image of 1920×1080 into each."""
    sizes = {}
    for name in ('fastdds.xml', 'fastdds_small.xml'):
        root = ElementTree.parse(repo_root / 'config' / name).getroot()
        sizes[name] = int(root.find(f'.//{NAMESPACE}segment_size').text)
    assert 5 * sizes['fastdds_small.xml'] <= 64 << 20
    assert min(sizes.values()) > 1920 * 1080 * 3
    assert sizes['fastdds.xml'] == 64 << 20


def test_the_command_for_other_programs():
    """It is for a shell where nothing is set yet, whatever is set in this one."""
    command = transport.profile_command({USER_CHOICES[0]: 'mine.xml', 'ROS_DISTRO': 'jazzy'})
    assert command.startswith(f'export {USER_CHOICES[0]}={transport.profile_path()} ')
    assert f' {USER_CHOICES[1]}={transport.profile_path()}' in command
