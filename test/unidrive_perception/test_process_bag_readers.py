# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Readers that know no message type but what stands in the bag can read every topic."""

from __future__ import annotations

import sqlite3

import pytest
from bag_processing import process_bag, read, streets
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sample_bags import write_image_bag, write_rosbag1
from tiny_bundle import write_tiny_bundle

ALSO = ('drivable_area', 'drivable_grid', 'semantic_image', 'semantic_color')


def write_results(folder, storage):
    """Write all topics that there are."""
    model = write_tiny_bundle(folder / 'tiny')
    source = write_image_bag(folder / 'drive', pictures=streets(2), storage=storage)
    args = ('--model', model, '--storage', storage, '--overlay', '--copy-images')
    process_bag(source, folder / 'out', *args, '--also', *ALSO)
    return folder / 'out'


def check_decodes(msgtype, definition, payloads, expected):
    """Decode with ``definition`` alone."""
    store = get_typestore(Stores.EMPTY)
    types = get_types_from_msg(definition, msgtype)
    store.register({n: fields for n, fields in types.items() if n not in store.fielddefs})
    decoded = [str(store.deserialize_cdr(payload, msgtype)) for payload in payloads]
    assert decoded == [str(message) for _, message in expected]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_definitions_are_complete(tmp_path, storage):
    bag = write_results(tmp_path, storage)
    expected = read(bag)
    assert len(expected) == 1 + 4 + 1 + 1 + len(ALSO)
    with Reader(bag) as reader:
        for conn in reader.connections:
            assert conn.msgdef.format == MessageDefinitionFormat.MSG
            payloads = [data for _, _, data in reader.messages([conn])]
            check_decodes(conn.msgtype, conn.msgdef.data, payloads, expected[conn.topic])


def test_definitions_are_complete_in_the_table_of_sqlite3(tmp_path):
    """That is where rosbag2 from Iron on looks for them."""
    bag = write_results(tmp_path, 'sqlite3')
    expected = read(bag)
    with sqlite3.connect(bag / 'out.db3') as database:
        rows = database.execute(
            'SELECT topic_type, encoding, encoded_message_definition FROM message_definitions'
        )
        definitions = {name: text for name, encoding, text in rows if encoding == 'ros2msg'}
        for topic_id, name, msgtype in database.execute('SELECT id, name, type FROM topics'):
            found = database.execute(
                'SELECT data FROM messages WHERE topic_id = ? ORDER BY timestamp', (topic_id,)
            )
            payloads = [data for (data,) in found]
            check_decodes(msgtype, definitions[msgtype], payloads, expected[name])


def test_rosbag1(tmp_path):
    model = write_tiny_bundle(tmp_path / 'tiny')
    old = write_rosbag1(tmp_path / 'old.bag')
    process_bag(old, tmp_path / 'out', '--model', model, '--copy-images', '--storage', 'sqlite3')
    found = read(tmp_path / 'out')
    assert len(found['/perception/result']) == len(found['/camera/image_raw']) == 5
