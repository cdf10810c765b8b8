# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Which Fast DDS configuration a process should start with, so that large images arrive.

With the defaults of Fast DDS a raw 1280×720 image does not fit into the shared memory of its
publisher, and best-effort images are lost entirely (``benchmarks/dds_transport.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from unidrive_perception.resources import config_path

SHARED_MEMORY = Path('/dev/shm')

ROOM_FOR_LARGE = 512 << 20
"""Free bytes in /dev/shm from which processes may take 64 MB each; Docker gives 64 MB to all."""

USER_CHOICES = (
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)
"""Variables by which a user configures Fast DDS; with any of them set we stay out of it."""

OLDER_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')
"""They read the profile from FASTRTPS_DEFAULT_PROFILES_FILE; newer ones warn of that name."""


def dds_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables to add to ``environment`` before ROS starts; empty where the user chose."""
    if any(environment.get(name) for name in USER_CHOICES):
        return {}
    profile = profile_path()
    if profile is None:
        return {}
    variables = {'FASTDDS_DEFAULT_PROFILES_FILE': str(profile)}
    if environment.get('ROS_DISTRO') in OLDER_DISTRIBUTIONS:
        variables['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    return variables


def profile_command(environment: Mapping[str, str] = os.environ) -> str:
    """The command that makes a shell use our profile, for programs that are not ours."""
    names = {name: environment[name] for name in ('ROS_DISTRO',) if name in environment}
    chosen = dds_environment(names)
    return f'export {" ".join(f"{name}={value}" for name, value in chosen.items())}'


def private_graph(domain: int) -> dict[str, str]:
    """Variables of a ROS graph that only this host and this domain (0..101) see."""
    local = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    if os.environ.get('ROS_DISTRO') == 'humble':  # knows only the older name of the same
        local = {'ROS_LOCALHOST_ONLY': '1'}
    return local | {'ROS_DOMAIN_ID': str(domain)}


def profile_path() -> Path | None:
    """Our profile for the shared memory that this machine has; ``None`` where none is found."""
    roomy = free_shared_memory() >= ROOM_FOR_LARGE
    path = config_path('fastdds.xml' if roomy else 'fastdds_small.xml')
    return path if path.is_file() else None


def free_shared_memory() -> int:
    """Free bytes in /dev/shm; 0 where there is none."""
    try:
        space = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize
