# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Install the ament_python package: both Python packages, the launch files and the config tree."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'unidrive_perception'
SHARE = f'share/{NAME}'


def config_files():
    """Yield (destination, files) for each folder below config/ except config/setup."""
    for folder in sorted({path.parent for path in Path('config').rglob('*') if path.is_file()}):
        if folder.parts[:2] != ('config', 'setup'):
            files = sorted(str(path) for path in folder.iterdir() if path.is_file())
            yield f'{SHARE}/{folder}', files


setup(
    name=NAME,
    version='0.1.0',
    description='Objects, semantics and drivable area of a street from one model: a ROS 2 node',
    author='UniDrive contributors',
    maintainer='UniDrive contributors',
    maintainer_email='maintainers@unidrive.example',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['unidrive_perception*', 'unidrive_training*']),
    package_data={'unidrive_training.report': ['templates/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/launch', sorted(str(path) for path in Path('launch').glob('*.launch.py'))),
        *config_files(),
    ],
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},  # colcon test runs pytest only where this names it
    zip_safe=True,
    entry_points={
        'console_scripts': [
            'bag_player = unidrive_perception.bag_player_node:main',
            'bag_recorder = unidrive_perception.bag_recorder_node:main',
            'perception_node = unidrive_perception.perception_node:main',
            'unidrive = unidrive_training.cli:main',
        ],
    },
)
