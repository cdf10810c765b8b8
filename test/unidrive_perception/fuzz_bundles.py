# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundle folders that somebody broke. See ``fuzzing.py``; run by ``test_fuzz_bundles.py``."""

from __future__ import annotations

import atexit
import copy
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import fuzzing
import yaml
from tiny_bundle import LABELS, write_tiny_bundle

from unidrive_perception.bundle import MANIFEST, Bundle, BundleError, labels_sha256

BOMB = '\n'.join(['a0: &a0 [x]', *(f'a{i}: &a{i} [{f"*a{i - 1}," * 9}]' for i in range(1, 12))])
HOSTILE = [
    BOMB,
    BOMB.replace('[', '{k: [').replace(']', ']}'),
    'a: &a [*a]',
    'a: &a {b: *a}',
    '<<: {format_version: 1}\nformat_version: 1',
    '[' * 20_000,
    '{a: ' * 20_000,
    '- ' * 20_000,
    '? ' * 20_000,
    '!!python/object/apply:os.system ["touch executed"]',
    '!!python/object/new:os.system [touch executed]',
    '!!python/name:os.system',
    'a: !!python/module:os',
    'name: ' + 'x' * 200_000,
    'name: ' + '9' * 9_000,
    'name: 0x' + 'f' * 9_000,
    'name: ' + ':'.join(['1'] + ['59'] * 3_000),
    'a: 2001-99-99',
    'a: !!timestamp nonsense',
    'a: !!int ""',
    'a: !!float x',
    'a: !!binary 5',
    'a: 1\na: 2',
    'a: *nothing',
    '? [1, 2]\n: 3',
    '? {a: 1}\n: 3',
    '\ufeff\ufeffa: 1',
    '%YAML 9.9\n---\na: 1',
    '--- 1\n--- 2',
    'a: "\\ud800"',
    '\0',
    '',
    'null',
    'x\n' * 100_000,
]
VALUES = [
    None, True, -1, 0, 1, 255, 256, 2**64, 10**3000, 16**9000, -0.5, 0.5, 2.0, 1e308, float('nan'),
    float('inf'), '', 'x', 'x' * 201, 'a\nb', 'a\0b', '\u202e', '🚗', '1', [], [1, 2, 3], [[[]]],
    ['a', 'b', 'c'], [float('nan')] * 3, [True] * 3, [300] * 3, {}, {'a': 1}, {1: 2}, {None: {}},
    '..', '.', '/etc/passwd', '../model.onnx', 'model.onnx/', 'x' * 5000, '~', 'manifest.yaml',
    'PIPE', 'LINK', 'FOLDER', 'OUTSIDE', '0' * 64, 'onnx', 'torch',
]  # fmt: skip


def folder_of_this_process() -> Path:
    """A bundle to break, beside things that a name in a manifest could lead to."""
    above = Path(tempfile.mkdtemp(prefix='unidrive_fuzz_'))
    atexit.register(shutil.rmtree, above, ignore_errors=True)
    folder = write_tiny_bundle(above / 'bundle', input_size=(32, 48))
    (above / 'secret').write_bytes(PROGRAM or b'')
    os.mkfifo(folder / 'PIPE')
    (folder / 'LINK').symlink_to('/dev/zero')
    (folder / 'OUTSIDE').symlink_to(above / 'secret')
    (folder / 'FOLDER').mkdir()
    os.chdir(above)
    return folder


PROGRAM = b''
FOLDER = folder_of_this_process()
PROGRAM = (FOLDER / 'model.onnx').read_bytes()
TEXT = (FOLDER / MANIFEST).read_text()
(FOLDER.parent / 'secret').write_bytes(PROGRAM)


def try_bytes(case: int, rng: random.Random) -> str:
    """Load a bundle whose manifest has damaged bytes."""
    data = bytearray(rng.choice(HOSTILE).encode(errors='surrogatepass'))
    if rng.random() < 0.9:
        data = bytearray(TEXT.encode())
    for _ in range(rng.choice([0, 1, 1, 2, 10])):
        begin = rng.randrange(len(data) + 1)
        length = rng.choice([0, 1, 1, 5, 300])
        new = rng.choice(
            [b'', b'', bytes([rng.randrange(256)]), b'\n', b'&a ', b'*a', b'!!set ', b'? ', b'<<']
        )
        data[begin : begin + length] = new
    if data and rng.random() < 0.5:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return load(bytes(data))


def try_values(case: int, rng: random.Random) -> str:
    """Load a bundle whose manifest is YAML, but holds other values, keys or classes."""
    content = yaml.load(TEXT, Loader=yaml.CSafeLoader)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        part = rng.choice(parts_of(content))
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        change = rng.random()
        if change < 0.6:
            part[key] = copy.deepcopy(rng.choice(VALUES))
        elif change < 0.75:
            del part[key]
        elif change < 0.85 and isinstance(part, dict):
            part[rng.choice(['', 'extra', 'id', 7, None, 'a\nb', 'x' * 500, True])] = part.pop(key)
        else:
            part[key] = copy.deepcopy(rng.choice(parts_of(content) or [part]))
    try:
        text = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    except (ValueError, RecursionError):  # a number that Python does not write; a part of itself
        return 'refused'
    return load(text.encode(errors='surrogatepass'))


def try_tables(case: int, rng: random.Random) -> str:
    """Load a bundle whose class tables were permuted, cut, or given to other tasks."""
    content = yaml.load(TEXT, Loader=yaml.CSafeLoader)
    tasks = content['tasks']
    task, other = rng.sample(list(tasks), 2)
    classes = tasks[task]['classes']
    kind = rng.randrange(5)
    if kind == 0:
        names = [info['name'] for info in classes]
        rng.shuffle(names)
        for info, name in zip(classes, names, strict=True):
            info['name'] = name
    elif kind == 1:
        tasks[task]['classes'] = tasks[other]['classes']
    elif kind == 2:
        del classes[rng.randrange(len(classes)) :]
    elif kind == 3:
        tasks.pop(other)
    else:
        rng.choice(classes)['color'] = [1, 2, 3]  # that is a matter of taste
    (FOLDER / 'model.onnx').write_bytes(PROGRAM)
    return load(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False).encode())


def try_program(case: int, rng: random.Random) -> str:
    """Load a bundle whose program is damaged, missing, or something else than a file."""
    program, kind = FOLDER / 'model.onnx', rng.randrange(8)
    data = bytearray(PROGRAM)
    if kind < 3:
        for _ in range(rng.choice([0, 1, 5])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del data[rng.randrange(len(data) + 1) :]
    program.unlink(missing_ok=True)
    if kind < 4:
        program.write_bytes(data)
    elif kind == 4:
        os.mkfifo(program)
    elif kind == 5:
        program.symlink_to(rng.choice(['/dev/zero', '/dev/stdin', 'model.onnx', 'x/y', '..']))
    elif kind == 6:
        program.symlink_to('../secret')  # as `colcon build --symlink-install` makes it: right
    outcome = load(TEXT.encode())
    assert (outcome == 'bundle') == (kind == 6 or (kind < 4 and data == PROGRAM)), kind
    program.unlink(missing_ok=True)
    program.write_bytes(PROGRAM)
    return outcome


def parts_of(content: Any) -> list[Any]:
    """All mappings and lists of the content that are not empty."""
    if not isinstance(content, (dict, list)) or not content:
        return []
    inner = content.values() if isinstance(content, dict) else content
    return [content, *(part for value in inner for part in parts_of(value))]


def load(manifest: bytes) -> str:
    """Load the bundle with this manifest: it is right, or refused in one line."""
    global watched
    (FOLDER / MANIFEST).write_bytes(manifest)
    watched = True
    try:
        bundle = Bundle.load(FOLDER)
    except BundleError as error:
        sentence = str(error)
        assert sentence.isprintable() and len(sentence) < 800, sentence
        return 'refused'
    finally:
        watched = False
    check(bundle, manifest)
    return 'bundle'


def check(bundle: Bundle, manifest: bytes) -> None:
    """A bundle that was loaded has the classes that its program was exported with."""
    assert bundle.program_path.read_bytes() == PROGRAM
    if b'labels_sha256' in manifest:
        assert {t: table.names for t, table in bundle.labels.items()} == NAMES
    spec = bundle.manifest.input
    assert 1 <= spec.height <= 16384 and 1 <= spec.width <= 16384
    assert all(abs(value) < 1e7 for value in (*spec.mean, *spec.std))
    for task, table in bundle.manifest.tasks.items():
        assert table.score_threshold is None or 0 <= table.score_threshold <= 1
        table.labels.palette()
        assert all(name.isprintable() for name in table.labels.names) and task == table.labels.task


def watch(event: str, arguments: tuple) -> None:
    """Nothing is executed or written while a bundle is loaded."""
    if watched and (event in FORBIDDEN or (event == 'open' and arguments[2] & os.O_ACCMODE)):
        raise AssertionError(f'{event} {arguments}')


FORBIDDEN = {'exec', 'compile', 'import', 'os.system', 'subprocess.Popen', 'os.fork', 'os.exec'}
FORBIDDEN |= {'os.posix_spawn', 'os.remove', 'os.rename', 'os.mkdir', 'socket.connect'}
NAMES = {task: table.names for task, table in LABELS.items()}
assert labels_sha256(LABELS.values()) in TEXT
watched = False
Bundle.load(FOLDER)  # imports what it needs
sys.addaudithook(watch)

KINDS = {'bytes': try_bytes, 'values': try_values, 'tables': try_tables, 'program': try_program}

if __name__ == '__main__':
    fuzzing.main(KINDS)
