# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags that were cut, damaged or made up. See ``fuzzing.py``; run by ``test_fuzz_bags.py``."""

from __future__ import annotations

import atexit
import copy
import os
import random
import shutil
import sqlite3
import tempfile
from itertools import islice
from pathlib import Path

import fuzzing
import numpy as np
import yaml
from fuzz_bundles import HOSTILE, VALUES, parts_of
from rosbags import rosbag2
from sample_bags import PERIOD_NS, START_NS, TOPIC, write_rosbag1

from unidrive_perception.bags.reader import BagError, BagWriter, open_bag
from unidrive_perception.errors import UserError
from unidrive_perception.image_codec import rgb_to_compressed
from unidrive_perception.message_factories import BagFactory
from unidrive_perception.message_types import default_typestore
from unidrive_perception.messages import compressed_message, image_message, make_header
from unidrive_perception.sources import open_source

MOST = 200  # messages that are read of one bag, which has fewer
DEFINITIONS = [
    '', 'int8 x\n', 'nonsense ] {\n', 'gone_msgs/Thing x\n', 'Odd again\n', 'Odd[] again\n',
    'uint8[4000000000] x\n', 'float64[<=3] x\nstring<=2 y\n', 'string s "' + 'x' * 999 + '"\n',
    'int8 class\n', 'int8 __import__\n', 'int32 A=1\nint32 a\n' * 9, '(' * 999, 'x' * 9999, '\0',
]  # fmt: skip


def write_bag(path: Path, storage: str, compress: bool = False) -> Path:
    """Write a small bag of images, compressed images, and a type that is known nowhere."""
    rgb = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    with BagWriter(path, storage, compress) as writer:
        make = BagFactory(writer.typestore)
        for i in range(3):
            stamp = START_NS + i * PERIOD_NS
            header = make_header(make, stamp, 'camera')
            writer.write(TOPIC, image_message(make, header, rgb), stamp)
            jpeg = compressed_message(make, header, rgb_to_compressed(rgb), 'jpeg')
            writer.write(f'{TOPIC}/compressed', jpeg, stamp + 1)
    return path


def write_odd(path: Path, definition: str, plugin: str, data: bytes, name: str) -> None:
    """Write images of a definition of somebody else, with bytes that need not fit it."""
    with rosbag2.Writer(path, version=8, storage_plugin=rosbag2.StoragePlugin[plugin]) as writer:
        odd = writer.add_connection(TOPIC, name, msgdef=definition, rihs01='RIHS01_' + '0' * 64)
        for i in range(3):
            writer.write(odd, START_NS + i, data)


ABOVE = Path(tempfile.mkdtemp(prefix='unidrive_fuzz_'))
atexit.register(shutil.rmtree, ABOVE, ignore_errors=True)
os.chdir(ABOVE)
WHOLE = {
    'mcap': write_bag(ABOVE / 'a', 'mcap') / 'a.mcap',
    'zstd': write_bag(ABOVE / 'b', 'mcap', compress=True) / 'b.mcap',
    'db3': write_bag(ABOVE / 'c', 'sqlite3') / 'c.db3',
    'bag': write_rosbag1(ABOVE / 'd.bag', count=2),
}
BYTES = {kind: file.read_bytes() for kind, file in WHOLE.items()}


def try_file(kind: str, rng: random.Random) -> str:
    """Read a bag file that is cut, or has damaged bytes."""
    data = bytearray(BYTES[kind])
    change = rng.random()
    if change < 0.35:
        del data[rng.randrange(len(data) + 1) :]
    elif change < 0.9:
        for _ in range(rng.choice([1, 1, 2, 8, 50])):
            _damage(data, rng)
    file = ABOVE / f'case{WHOLE[kind].suffix}'
    file.write_bytes(data)
    return read(file, is_whole=data == BYTES[kind])


def _damage(data: bytearray, rng: random.Random) -> None:
    """Change some bytes, in the index at the end as often as elsewhere."""
    begin = rng.randrange(max(len(data) - 3000, 0) if rng.random() < 0.5 else 0, len(data) + 1)
    kind = rng.randrange(5)
    if kind < 2 and begin < len(data):
        data[begin] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[begin : begin + 8] = rng.choice([b'\xff' * 8, bytes(8), rng.randbytes(8)])
    elif kind == 3:
        data[begin : begin + rng.choice([1, 16, 512])] = b''
    else:
        data[begin:begin] = data[: rng.choice([1, 9, 400])]


def try_metadata(case: int, rng: random.Random) -> str:
    """Read a bag folder whose metadata.yaml holds other values, and whose files are others."""
    source = WHOLE[rng.choice(['mcap', 'db3'])].parent
    content = yaml.load((source / 'metadata.yaml').read_text(), Loader=yaml.CSafeLoader)
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        part = rng.choice(parts_of(content))
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if rng.random() < 0.25:
            del part[key]
        else:
            part[key] = copy.deepcopy(rng.choice([*VALUES, *METADATA, *parts_of(content)]))
        if not parts_of(content):
            break
    try:
        text = yaml.dump(content, Dumper=yaml.CSafeDumper)
    except (ValueError, RecursionError):
        return 'refused'
    if rng.random() < 0.1:
        text = rng.choice(HOSTILE)
    folder = ABOVE / 'folder'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    (folder / 'metadata.yaml').write_bytes(text.encode(errors='surrogatepass'))
    if rng.random() < 0.3:
        _change_files(folder, rng)
    return read(folder, is_whole=False)


def _change_files(folder: Path, rng: random.Random) -> None:
    file = rng.choice(sorted(folder.iterdir()))
    kind = rng.randrange(6)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.rename(folder / rng.choice(['other.mcap', 'other.db3', 'other']))
    elif kind == 2:
        shutil.copy(file, folder / rng.choice(['more.mcap', 'more.db3', 'a_1.mcap']))
    else:
        if rng.random() < 0.5:
            file.unlink()
        else:
            file = folder / rng.choice(['PIPE', 'FOLDER', 'x.mcap', 'x.db3'])
        {3: os.mkfifo, 4: os.mkdir, 5: lambda path: path.symlink_to('/dev/zero')}[kind](file)


METADATA = [
    ['PIPE'], ['FOLDER'], ['metadata.yaml'], ['..'], ['a.mcap', 'a.mcap'], 'zstd', 'file', 'FILE',
    'message', 'mcap', 'sqlite3', 'cdr', 'sensor_msgs/msg/Image', 'std_msgs/msg/String', 'a/b',
    '/', 99, 10**18, -(10**18), '- history: 3', '[{history: [1]}]', {'nanoseconds': 5},
    {'nanoseconds': 'x'},
]  # fmt: skip


def try_database(case: int, rng: random.Random) -> str:
    """Read a database that is sound, but holds other values than a recorder writes."""
    file = ABOVE / 'case.db3'
    file.write_bytes(BYTES['db3'])
    database = sqlite3.connect(file)
    tables = {
        'messages': ['id', 'topic_id', 'timestamp', 'data'],
        'topics': ['id', 'name', 'type', 'serialization_format', 'offered_qos_profiles'],
        'message_definitions': ['topic_type', 'encoding', 'encoded_message_definition'],
        'schema': ['schema_version'],
        'metadata': ['metadata'],
    }
    for _ in range(rng.choice([1, 1, 2])):
        table = rng.choice(list(tables))
        column, row = rng.choice(tables[table]), rng.choice(['', ' WHERE rowid = 1'])
        value = rng.choice(
            [None, -1, 0, 5, 2**62, -(2**63), 1.5, 1e300, 'x', b'\xff', b'', 'a/b/c']
        )
        value = rng.choice([value, rng.choice(DEFINITIONS)])
        try:
            if rng.random() < 0.15:
                database.execute(f'DROP TABLE {table}')
            elif rng.random() < 0.1:
                database.execute(f'DELETE FROM {table}')
            else:
                database.execute(f'UPDATE {table} SET {column} = ?{row}', [value])
        except sqlite3.Error:
            continue
    database.commit()
    database.close()
    return read(file, is_whole=False)


def try_types(case: int, rng: random.Random) -> str:
    """Read a bag whose image topic has messages of another type, or a type of another meaning."""
    shutil.rmtree(ABOVE / 'odd', ignore_errors=True)
    name = rng.choice(['sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'odd/msg/Odd'])
    text = rng.choice([*DEFINITIONS, 'std_msgs/Header header\nuint32 height\n'])
    begin = rng.choice([b'\0\1\0\0', b'\0\0\0\0', b''])
    data = begin + rng.choice([rng.randbytes(rng.randrange(200)), bytes(100), b'\xff' * 60])
    if rng.random() < 0.3:
        store = default_typestore()
        other = store.types['std_msgs/msg/String']('x' * rng.randrange(100))
        data = bytes(store.serialize_cdr(other, 'std_msgs/msg/String'))
    try:
        write_odd(ABOVE / 'odd', text, rng.choice(['MCAP', 'SQLITE3']), data, name)
    except Exception:  # the writer does not write it
        return 'refused'
    return read(ABOVE / 'odd', is_whole=False)


def read(path: Path, is_whole: bool) -> str:
    """Read all there is, as bag and as source of frames."""
    outcome = _read_bag(path)
    try:
        with open_source(path, TOPIC) as source:
            for frame in islice(source, MOST):
                assert 0 <= frame.stamp_ns < 2**31 * 10**9
                _read_frame(frame)
            _check_line(source.damage or '.')
    except UserError as error:
        _check_line(str(error))
        assert not is_whole
    assert outcome == 'data' if is_whole else outcome
    return outcome


def _read_bag(path: Path) -> str:
    try:
        bag = open_bag(path)
    except BagError as error:
        _check_line(str(error))
        return 'refused'
    with bag:
        assert bag.message_count >= 0
        assert 0 <= bag.start_ns <= bag.end_ns < 2**31 * 10**9
        assert all(isinstance(t.count, int) and t.name.isprintable() for t in bag.topics.values())
        count = 0
        for message in islice(bag.messages(), MOST):
            assert message.topic in bag.topics
            try:
                bag.deserialize(message)
            except BagError as error:
                _check_line(str(error))
            count += 1
        assert count < MOST, 'more messages than the bag has'
        if not bag.damage:  # nothing is lost without a word
            assert count == sum(t.count for t in bag.topics.values() if bag.is_readable(t.name))
        _check_line(bag.damage or '.')
        return 'damage' if bag.damage else 'data'


def _read_frame(frame) -> None:
    try:
        rgb = frame.rgb()
        assert rgb.ndim == 3 and rgb.dtype == np.uint8 and isinstance(frame.frame_id, str)
    except UserError as error:
        _check_line(str(error))
    bytes(frame.cdr(default_store))


def _check_line(sentence: str) -> None:
    assert sentence.isprintable() and 0 < len(sentence) < 4000, sentence[:500]


default_store = default_typestore()
KINDS = {
    **{kind: lambda case, rng, kind=kind: try_file(kind, rng) for kind in WHOLE},
    'metadata': try_metadata,
    'database': try_database,
    'types': try_types,
}

if __name__ == '__main__':
    fuzzing.main(KINDS)
