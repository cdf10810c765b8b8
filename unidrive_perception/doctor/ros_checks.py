# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The ROS of this shell: distribution, middleware, discovery, message packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.remedies import (
    AGAIN,
    INSTALLED_ROS,
    build_messages,
    install,
    installed_distribution,
    set_up,
    source,
)
from unidrive_perception.doctor.trials import PACKAGE_ROOT

OWN = 'unidrive_msgs'
NEEDED = (
    'sensor_msgs',
    'std_msgs',
    'diagnostic_msgs',
    'lifecycle_msgs',
    'rcl_interfaces',
    'rosgraph_msgs',
    'std_srvs',
)
LAST_SAFE_DOMAIN, LAST_DOMAIN = 101, 232


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic; the live graph is watched from here on, if not yet."""
    if not examination.no_ros and not examination.args.quick:
        examination.start_graph()
    said, problem, late = examination.ros
    yield distribution(said, examination.no_ros, os.environ, late)
    if examination.no_ros:
        yield skipped('messages', examination.without_ros)
        return
    yield middleware(said)
    yield domain(os.environ)
    yield from discovery(os.environ)
    yield from messages(said)
    if problem:
        yield skipped('messages', f'not all could be tried: {problem}')


def distribution(
    said: Mapping[str, Any], no_ros: str, environment: Mapping[str, str], late: bool = False
) -> Finding:
    """Which ROS there is; without one everything but the nodes works.

    One that does not answer in the time of its trial (``late``) is a failure: nothing that needs
    it is examined then.
    """
    name = environment.get('ROS_DISTRO') or 'from wheels or a workspace, as ROS_DISTRO is not set'
    if not no_ros:
        return ok('ROS', f'{name}; rclpy in {_folder(said["rclpy"])}')
    if late:
        return fail('ROS', no_ros, AGAIN)
    if 'missing' not in said:
        return fail('ROS', no_ros, _mend(no_ros, environment))
    other = _other_python(environment)
    if other:
        found = f'the ROS of this shell is for {other}, this is {_python()}'
        return fail('ROS', found, f'{other} -m unidrive_training.cli doctor')
    found = sorted(path.parent.name for path in INSTALLED_ROS.glob('*/setup.bash'))
    if found:
        return warn('ROS', no_ros, f'source {INSTALLED_ROS}/{found[-1]}/setup.bash')
    return warn('ROS', f'{no_ros}; the nodes cannot run', set_up())


def middleware(said: Mapping[str, Any]) -> Finding:
    """The RMW implementation: measured here on Fast DDS, the default of ROS."""
    name = said['rmw']
    note = '' if 'fastrtps' in name else '; the Fast DDS profiles in config/ do not matter to it'
    return ok('middleware', name + note, rmw=name)


def domain(environment: Mapping[str, str]) -> Finding:
    """ROS_DOMAIN_ID, which both sides must share."""
    text = environment.get('ROS_DOMAIN_ID', '') or '0'
    if not text.isdecimal() or int(text) > LAST_DOMAIN:
        found = f'ROS_DOMAIN_ID={text} is no number from 0 to {LAST_DOMAIN}'
        return fail('domain', found, 'export ROS_DOMAIN_ID=0')
    if int(text) > LAST_SAFE_DOMAIN:
        return warn(
            'domain',
            f'{text}; above {LAST_SAFE_DOMAIN} its ports are those that Linux gives to others',
            'export ROS_DOMAIN_ID=42   # the same for all',
        )
    return ok('domain', f'ROS_DOMAIN_ID {text}', domain=int(text))


def discovery(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Who may be found: processes of this host, or of the network too."""
    reach = environment.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '').upper()
    local = environment.get('ROS_LOCALHOST_ONLY', '') == '1'
    humble = environment.get('ROS_DISTRO') == 'humble'
    if reach == 'OFF' and not (local or humble):
        yield warn(
            'discovery',
            'ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: no node finds another by itself',
            'export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET',
        )
    elif local and reach and reach != 'LOCALHOST' and not humble:
        yield warn(
            'discovery',
            f'ROS_LOCALHOST_ONLY=1 overrides ROS_AUTOMATIC_DISCOVERY_RANGE={reach}',
            'unset ROS_LOCALHOST_ONLY',
        )
    elif local or (reach == 'LOCALHOST' and not humble):
        yield ok('discovery', 'this host only; a camera on another host is not found')
    else:
        yield ok('discovery', 'this host and its network')


def messages(said: Mapping[str, Any]) -> Iterator[Finding]:
    """Ours, built from the definitions that are here; the common ones; vision_msgs by choice."""
    yield own_messages(said.get(OWN) or {})
    there = [name for name in NEEDED if said.get(name, {}).get('file')]
    for name in NEEDED:
        told = said.get(name, {})
        if 'missing' in told or 'error' in told:
            yield fail(name, told.get('error', 'not found'), install(name))
    if there:
        yield ok('messages', ', '.join(there))
    if said.get('vision_msgs', {}).get('file'):
        yield ok('vision_msgs', 'here; the node offers ~/detections_2d and ~/*_label_info')
    elif 'vision_msgs' in said:
        how = f' ({install("vision_msgs")})' if installed_distribution() else ''
        found = f'not installed and not needed; with it{how} the node offers ~/detections_2d too'
        yield ok('vision_msgs', found)


def own_messages(told: Mapping[str, Any]) -> Finding:
    """``unidrive_msgs``: built, for this Python, and from the definitions of this source tree."""
    build = build_messages()
    if not told.get('file'):
        found = told.get('error') or 'not built, or its workspace is not sourced'
        return fail(OWN, found, build)
    where = _folder(told['file'])
    if 'error' in told:
        again = build if build == set_up() else f'rm -r build/{OWN} install/{OWN}; {build}'
        return fail(OWN, f'{where}: {told["error"]}', again)
    try:
        stale = stale_messages(told)
    except ImportError as error:
        return skipped(OWN, f'{where}; its definitions cannot be compared: {error}')
    if stale:
        found = f'{where} is built from other definitions than ours: {"; ".join(stale[:4])}'
        return fail(OWN, found, build, differences=stale)
    return ok(OWN, f'{len(told["messages"])} messages, as defined here; in {where}')


def stale_messages(told: Mapping[str, Any]) -> list[str]:
    """How the built messages differ from the definitions in the source tree or share folder."""
    from unidrive_perception.doctor.definitions import (
        differences,
        installed_folder,
        read_definitions,
    )

    source, share = PACKAGE_ROOT / OWN / 'msg', installed_folder(OWN)
    installed = read_definitions(share, OWN) if share else {}
    wanted = read_definitions(source, OWN) if source.is_dir() else installed
    found = differences(wanted, told['messages'])
    known = {sentence.split()[0] for sentence in found}
    for name, definition in wanted.items():
        if name not in known and installed and installed.get(name) != definition:
            found.append(f'{name} has other constants or types')
    return found


def _folder(file: str) -> str:
    """The folder that a package was installed to, less what is always so."""
    parts = Path(file).parts
    end = parts.index('lib') if 'lib' in parts else len(parts) - 1
    return str(Path(*parts[:end]))


def _python() -> str:
    return f'python{sys.version_info[0]}.{sys.version_info[1]}'


def _other_python(environment: Mapping[str, str]) -> str:
    """``python3.12`` where rclpy is installed for that and not for this one, else ''."""
    for prefix in filter(None, environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep)):
        for folder in ('lib', 'local/lib'):
            for path in Path(prefix, folder).glob('python3*/*-packages/rclpy'):
                if path.parent.parent.name not in (_python(), 'python3'):
                    return path.parent.parent.name
    return ''


def _mend(broken: str, environment: Mapping[str, str]) -> str:
    if 'rmw' in broken.lower() and environment.get('RMW_IMPLEMENTATION'):
        return 'unset RMW_IMPLEMENTATION'
    return source()
