# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The rules that keep the house in order: who imports whom, and what ROS tools need to find."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPO = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    *(
        '.ci',
        '.gitignore',
        'LICENSE',
        'Makefile',
        'README.md',
        'benchmarks',
        'colcon_defaults.yaml',
    ),
    *(
        'config',
        'docs',
        'launch',
        'package.xml',
        'pyproject.toml',
        'resource',
        'setup.cfg',
        'setup.py',
    ),
    *('test', 'unidrive_msgs', 'unidrive_perception', 'unidrive_training'),
}
ROS = {
    *('ament_index_python', 'cv_bridge', 'launch', 'launch_ros', 'rclpy', 'unidrive_msgs'),
    *('builtin_interfaces', 'diagnostic_msgs', 'lifecycle_msgs', 'rcl_interfaces'),
    *('rosgraph_msgs', 'sensor_msgs', 'std_msgs', 'std_srvs', 'vision_msgs'),
}
TORCH = {'torch', 'torchvision', 'open_clip'}


def modules(package):
    return sorted((REPO / package).rglob('*.py'))


def imports(path):
    """Top-level names of everything that a module imports, at any depth in its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split('.')[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith('import_module'):
            names |= {
                arg.value.split('.')[0] for arg in node.args if isinstance(arg, ast.Constant)
            }
    return names


def offenders(package, forbidden, allowed=lambda path: False):
    """What modules of a package import although they must not."""
    return {
        str(path.relative_to(REPO)): sorted(imports(path) & forbidden)
        for path in modules(package)
        if imports(path) & forbidden and not allowed(path)
    }


def test_the_top_level_is_the_plan():
    if not (REPO / '.git').exists() or shutil.which('git') is None:
        pytest.skip('not a git checkout')
    listed = subprocess.run(
        ['git', 'ls-files'], cwd=REPO, capture_output=True, text=True, check=True
    )
    tops = {name.split('/')[0] for name in listed.stdout.splitlines()}
    assert tops == TOP_LEVEL


def test_the_run_time_never_imports_the_training():
    assert not offenders('unidrive_perception', {'unidrive_training'} | TORCH)


def test_the_training_never_imports_ros():
    assert not offenders('unidrive_training', ROS)


def test_only_nodes_import_rclpy():
    assert not offenders(
        'unidrive_perception', {'rclpy'}, allowed=lambda path: path.stem.endswith('_node')
    )


def test_launch_and_test_are_not_packages():
    """launch/__init__.py would shadow ROS's own `launch`; test/__init__.py would be installed."""
    assert not list((REPO / 'launch').rglob('__init__.py'))
    assert not list((REPO / 'test').rglob('__init__.py'))


def test_every_launch_file_name_is_unique():
    """`ros2 launch` looks for the bare name anywhere below share/."""
    names = Counter(
        path.name for top in ('launch', 'config') for path in (REPO / top).rglob('*launch*')
    )
    assert not [name for name, count in names.items() if count > 1]
    assert all(path.name.endswith('.launch.py') for path in (REPO / 'launch').glob('*.py'))


def test_every_test_file_name_is_unique():
    """Without packages, pytest tells test modules apart by their bare names."""
    files = [path for path in (REPO / 'test').rglob('*.py') if path.name != 'conftest.py']
    names = Counter(path.name for path in files)
    assert not [name for name, count in names.items() if count > 1]


def test_every_source_file_says_its_licence():
    sources = [path for top in sorted(TOP_LEVEL) for path in (REPO / top).rglob('*.py')]
    sources += REPO.glob('*.py')
    lines = {path: path.read_text().splitlines()[:2] for path in sources}
    assert not [
        str(path)
        for path, head in lines.items()
        if head
        != ['# Copyright 2026 UniDrive contributors', '# SPDX-License-Identifier: Apache-2.0']
    ]


@pytest.fixture(params=['.', 'unidrive_msgs'])
def manifest(request):
    return ElementTree.parse(REPO / request.param / 'package.xml').getroot()


def test_package_manifests_are_valid(manifest):
    """An invalid address makes colcon treat a package as a plain one, and lose its ROS part."""
    assert manifest.get('format') == '3'
    assert manifest.findtext('license') == 'Apache-2.0'
    assert manifest.findtext('version') == '0.1.0'
    address = manifest.find('maintainer').get('email')
    assert re.fullmatch(r'[\w.+-]+@[\w-]+(\.[\w-]+)+', address)


def test_ros_itself_accepts_the_manifests():
    catkin_pkg = pytest.importorskip('catkin_pkg.package')
    for folder in (REPO, REPO / 'unidrive_msgs'):
        warnings = []
        catkin_pkg.parse_package(str(folder), warnings=warnings).validate(warnings=warnings)
        assert not warnings


def test_the_manifest_names_what_the_nodes_import():
    """A ROS package that a module imports and package.xml lacks is missing on the robot."""
    manifest = ElementTree.parse(REPO / 'package.xml').getroot()
    declared = {element.text for element in manifest.iter('exec_depend')}
    used = set().union(*(imports(path) for path in modules('unidrive_perception')))
    used = used.union(*(imports(path) for path in (REPO / 'launch').glob('*.py')))
    ours = {'unidrive_perception', '__future__', *sys.stdlib_module_names}
    rosdep = {'cv2': 'python3-opencv', 'numpy': 'python3-numpy', 'yaml': 'python3-yaml'}
    rosdep |= {'onnxruntime': 'python3-onnxruntime-pip', 'rosbags': 'python3-rosbags-pip'}
    rosdep |= {'scipy': 'python3-scipy', 'tqdm': 'python3-tqdm'}
    used -= {'openvino'}  # by choice, and told where it is missing; no rosdep key
    assert {rosdep.get(name, name) for name in used - ours} <= declared


def console_scripts():
    return re.findall(r"'(\w+) = ([\w.]+):(\w+)'", (REPO / 'setup.py').read_text())


@pytest.mark.parametrize('script', console_scripts(), ids=lambda script: script[0])
def test_entry_points_import(script):
    _, module, function = script
    if module.endswith('_node'):
        pytest.importorskip('rclpy')
    assert callable(getattr(importlib.import_module(module), function))


def test_everything_to_install_is_installed():
    """setup.py lists by itself what is in launch/ and config/; this reads what it came to."""
    pytest.importorskip('setuptools')
    code = (
        'import setuptools, distutils.core as core; '
        'print(core.run_setup("setup.py", stop_after="config").data_files)'
    )
    output = subprocess.run(
        [sys.executable, '-c', code],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    files = {file for _, files in ast.literal_eval(output) for file in files}
    wanted = {'package.xml', 'resource/unidrive_perception'}
    for top in ('launch', 'config'):
        wanted |= {
            str(path.relative_to(REPO)) for path in (REPO / top).rglob('*') if path.is_file()
        }
    wanted = {name for name in wanted if '__pycache__' not in name and 'config/setup' not in name}
    assert files == wanted


def test_lock_files_name_no_index_and_no_path():
    """They must mean the same on every machine."""
    for path in (REPO / 'config' / 'setup').glob('*.lock'):
        lines = [line for line in path.read_text().splitlines() if not line.startswith('#')]
        assert all(re.match(r'[\w.-]+(\[[\w,]+\])?==[\w.+]+( ; |$)', line) for line in lines)


def test_the_packages_pinned_twice_are_pinned_alike():
    pins = {}
    for path in (REPO / 'config' / 'setup').glob('*.lock'):
        for line in path.read_text().splitlines():
            if not line.startswith('#'):
                name, version, marker = re.match(r'([\w.-]+)\S*?==(\S+)(.*)', line).groups()
                assert pins.setdefault((name, marker), version) == version
