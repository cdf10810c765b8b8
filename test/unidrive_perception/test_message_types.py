# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Definitions of messages that are installed beside the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from test_bags import read

from unidrive_perception.bags.reader import BagWriter
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore, installed_typestore
from unidrive_perception.messages import make_header


def ament_prefix(tmp_path, monkeypatch, definitions):
    for name, text in definitions.items():
        package, message = name.split('/')
        folder = tmp_path / 'share' / package / 'msg'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{message}.msg').write_text(text)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')


def test_installed_definitions(tmp_path, monkeypatch):
    ament_prefix(
        tmp_path,
        monkeypatch,
        {
            'lamp_msgs/Lamp': 'std_msgs/Header header\nColor[] colors\nint32[2] pair\n',
            'lamp_msgs/Color': 'uint8 red\n',
            'std_msgs/Header': 'builtin_interfaces/Time stamp\nstring frame_id\n',
            'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec\n',
        },
    )
    store = installed_typestore('lamp_msgs/msg/Lamp')
    color = store.types['lamp_msgs/msg/Color'](5)
    header = make_header(BagFactory(store), 7, 'front')
    lamp = store.types['lamp_msgs/msg/Lamp'](header, [color], np.int32([1, 2]))
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/lamp', 'lamp_msgs/msg/Lamp', store=store)
        data = store.serialize_cdr(lamp, 'lamp_msgs/msg/Lamp')
        writer.write_raw('/lamp', 'lamp_msgs/msg/Lamp', data, 7)
    monkeypatch.delenv('AMENT_PREFIX_PATH')
    _, (got,), _ = read(tmp_path / 'bag')  # the definition travels with the bag
    assert got.colors[0].red == 5
    assert installed_typestore('lamp_msgs/msg/Lamp') is None


def test_installed_definition_that_lacks_a_part(tmp_path, monkeypatch):
    ament_prefix(tmp_path, monkeypatch, {'lamp_msgs/Lamp': 'gone_msgs/Thing thing\n'})
    assert installed_typestore('lamp_msgs/msg/Lamp') is None


def test_own_messages_are_found_in_the_installed_package(tmp_path, monkeypatch):
    source = Path(__file__).parents[2] / 'unidrive_msgs' / 'msg'
    own = {f'unidrive_msgs/{file.stem}': file.read_text() for file in source.glob('*.msg')}
    ament_prefix(tmp_path, monkeypatch, {**own, 'unidrive_msgs/Extra': 'int8 x\n'})
    assert 'unidrive_msgs/msg/Extra' in default_typestore().types
