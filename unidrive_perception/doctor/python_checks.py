# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Python and the packages of the run time."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, skipped, warn
from unidrive_perception.doctor.package_trial import MODULES
from unidrive_perception.doctor.remedies import AGAIN, install

SUPPORTED = ((3, 10), (3, 13))
MANAGED = Path(sysconfig.get_path('stdlib'), 'EXTERNALLY-MANAGED').exists()
PIP = f'{Path(sys.executable).name} -m pip install' + (
    ' --break-system-packages' if MANAGED and sys.prefix == sys.base_prefix else ''
)
"""How packages are installed for this Python; Debian's own says no without that option."""
PIP_NAMES = {'opencv': 'opencv-python-headless', 'yaml': 'pyyaml'}
OLDEST = {'numpy': (1, 21), 'opencv': (4, 5)}


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    yield python(sys.version_info[:3])
    said, problem, late = examination.packages
    yield from packages(said, problem, late)
    yield cv_bridge(said)


def python(version: tuple[int, ...]) -> Finding:
    """The interpreter: 3.10 to 3.13 are tested."""
    number = '.'.join(map(str, version))
    found = f'{number} ({sys.executable}), {platform.system()} {platform.machine()}'
    lowest, highest = SUPPORTED
    if version[:2] < lowest:
        return fail('Python', f'{found}; UniDrive needs 3.10', 'sudo apt install python3.10')
    if version[:2] > highest:
        return warn(
            'Python', f'{found}; newer than what is tested (3.13)', 'python3.13 -m venv .venv'
        )
    return ok('Python', found, version=number)


def packages(said: dict[str, Any], problem: str = '', late: bool = False) -> Iterator[Finding]:
    """One line for all that are well, one for all that miss, one for each that is broken.

    ``late``: the trial did not end in its time, which tells nothing against the package that it
    was at.
    """
    crashed = said.get('importing') if problem else ''
    versions, missing = {}, []
    for name in MODULES:
        told = said.get(name, {})
        if name == crashed and late:
            yield warn(name, f'not tried to the end: its trial {problem}', AGAIN)
        elif name == crashed:
            yield _broken(name, f'its trial ended badly: {problem}', said)
        elif told.get('missing'):
            missing.append(name)
        elif 'error' in told:
            yield _broken(name, told['error'], said)
        elif told:
            versions[name] = told['version']
            yield from _old_or_double(name, told)
    if missing:
        found = f'{", ".join(missing)}: not installed for {sys.executable}'
        names = ' '.join(PIP_NAMES.get(name, name) for name in missing)
        yield fail('packages', found, f'{PIP} {names}', missing=missing)
    if versions:
        shown = ', '.join(f'{name} {version}' for name, version in versions.items())
        yield ok('packages', shown, **versions)
    if unseen := [name for name in MODULES if name not in said and name != crashed]:
        yield skipped('packages', f'not reached: {", ".join(unseen)}: {problem or "not told"}')


def _broken(name: str, error: str, said: dict[str, Any]) -> Finding:
    numpy = said.get('numpy', {}).get('version', '')
    if re.search(r'numpy|multiarray|_ARRAY_API|SIG', error, re.IGNORECASE) and numpy >= '2':
        return fail(name, f'does not work with NumPy {numpy}: {error}', f"{PIP} 'numpy<2'")
    again = f'{PIP} --force-reinstall {PIP_NAMES.get(name, name)}'
    return fail(name, f'is installed and does not import: {error}', again)


def _old_or_double(name: str, told: dict[str, Any]) -> Iterator[Finding]:
    numbers = tuple(int(n) for n in re.findall(r'\d+', told['version'])[:2])
    if name in OLDEST and numbers < OLDEST[name]:
        oldest = '.'.join(map(str, OLDEST[name]))
        newer = f"{PIP} '{PIP_NAMES.get(name, name)}>={oldest}'"
        yield fail(name, f'{told["version"]} is too old; UniDrive needs {oldest}', newer)
    rivals = told.get('rivals', [])
    if len(rivals) > 1:
        keep = rivals[-1] if name == 'onnxruntime' else rivals[0]
        yield warn(
            name,
            f'{" and ".join(rivals)} are installed and overwrite each other',
            f'{PIP.replace("install", "uninstall")} -y {" ".join(rivals)} && {PIP} {keep}',
        )


def cv_bridge(said: dict[str, Any]) -> Finding:
    """What converts raw images; cv_bridge is not needed, so a broken one is no failure."""
    told = said.get('cv_bridge')
    if told is None:
        return skipped('cv_bridge', 'not reached')
    if told['works'] or 'not installed' in told['sentence']:
        return ok('cv_bridge', told['sentence'], works=told['works'])
    numpy = said.get('numpy', {}).get('version', '')
    remedy = install('cv_bridge').replace('apt install', 'apt install --reinstall')
    if numpy >= '2':
        remedy = f"{PIP} 'numpy<2'"
    return warn('cv_bridge', told['sentence'], remedy, works=False)
