# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundle loading: what is written comes back, and every defect is one clear sentence."""

import os
import shutil

import pytest
import yaml
from tiny_bundle import LABELS, write_tiny_bundle

from unidrive_perception.bundle import (
    MANIFEST,
    Bundle,
    BundleError,
    default_bundle,
    labels_sha256,
    write_manifest,
)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp('bundle') / 'tiny')


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / 'tiny')
    return tmp_path / 'tiny'


def edit(folder, change):
    """Apply ``change`` to the parsed manifest and write it back."""
    path = folder / MANIFEST
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_round_trip(folder):
    bundle = Bundle.load(str(folder))
    assert bundle.labels == LABELS
    assert bundle.manifest.tasks['detection'].score_threshold == 0.5
    assert bundle.program_path == folder / 'model.onnx'
    before = (folder / MANIFEST).read_text()
    write_manifest(folder, bundle.manifest)
    assert (folder / MANIFEST).read_text() == before
    assert Bundle.load(folder) == bundle
    assert sorted(p.name for p in folder.iterdir()) == [MANIFEST, 'model.onnx']


DEFECTS = [
    (lambda m: m.update(colour=1), 'colour: unknown key; known are'),
    (lambda m: m['input'].update(depth=3), 'input.depth: unknown key; known are'),
    (lambda m: m['tasks'].update(lanes={}), 'tasks.lanes: unknown key; known are detection'),
    (
        lambda m: m['tasks']['semantic'].update(score_threshold=0.1),
        'tasks.semantic.score_threshold',
    ),
    (lambda m: m.update(format_version=2), 'format_version: is 2, this program reads 1'),
    (lambda m: m.update(format_version='1'), "format_version: must be 1, not '1'"),
    (lambda m: m.pop('format_version'), 'format_version: is missing'),
    (lambda m: m.pop('input'), 'input: is missing; it must be a mapping'),
    (lambda m: m['input'].update(height='224'), 'input.height: must be an integer'),
    (lambda m: m['input'].update(height=0), 'input.height: must be an integer from 1'),
    (lambda m: m['input'].update(mean=[1, 2]), 'input.mean: must be three numbers'),
    (lambda m: m['input'].update(letterbox_fill=300), 'letterbox_fill: must be an integer'),
    (lambda m: m.update(tasks={}), 'tasks: is empty'),
    (lambda m: m.update(tasks=[1]), 'tasks: must be a mapping'),
    (lambda m: m['tasks']['detection'].update(score_threshold=2), 'a number from 0 to 1, not 2'),
    (lambda m: m['tasks']['detection'].update(score_threshold=True), 'from 0 to 1, not True'),
    (lambda m: m['tasks']['detection']['classes'][1].update(id=5), 'ids must be 0..2 in order'),
    (lambda m: m['tasks']['detection']['classes'][1].update(id=255), 'classes[1].id: must be'),
    (lambda m: m['tasks']['drivable'].update(classes=[]), 'must have 1 to 255 entries'),
    (lambda m: m['tasks']['drivable']['classes'][0].update(color=[1, 2, 256]), 'color: must be'),
    (lambda m: m['tasks']['drivable']['classes'][0].pop('name'), 'classes[0].name: is missing'),
    (lambda m: m['program'].update(format='torch'), "program.format: must be 'onnx'"),
    (lambda m: m['program'].update(file='../model.onnx'), 'a file name without folders'),
    (lambda m: m['program'].update(file='other.onnx'), 'other.onnx: missing, though manifest'),
    (lambda m: m['program'].update(file='..'), "a file name without folders, not '..'"),
    (lambda m: m['program'].update(file='x' * 500), 'printable characters, not'),
    (
        lambda m: m['input'].update(std=[1, 2, float('nan')]),
        'std: must be three numbers, not [1',
    ),
    (lambda m: m.update(name='two\nlines'), "printable characters, not 'two\\nlines'"),
    (lambda m: m.update({'odd\nkey': 1}), "'odd\\nkey': unknown key"),
    (lambda m: m['program'].update(sha256='0' * 64), 'manifest.yaml says 000000000000…'),
]


@pytest.mark.parametrize(('change', 'sentence'), DEFECTS, ids=[s for _, s in DEFECTS])
def test_defect_is_named(folder, change, sentence):
    edit(folder, change)
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert sentence in message
    assert str(folder) in message and '\n' not in message


def swap(m):
    classes = m['tasks']['detection']['classes']
    classes[0]['name'], classes[1]['name'] = classes[1]['name'], classes[0]['name']


def replace(m):
    m['tasks']['semantic']['classes'] = m['tasks']['drivable']['classes']


def rename(m):
    m['tasks']['drivable']['classes'][0]['name'] = 'shadow'


@pytest.mark.parametrize('change', [swap, replace, rename, lambda m: m['tasks'].pop('semantic')])
def test_class_tables_that_are_not_those_of_the_program(folder, change):
    edit(folder, change)
    with pytest.raises(BundleError, match='labels_sha256: is not that of the classes in tasks'):
        Bundle.load(folder)
    edit(folder, lambda m: m['program'].pop('labels_sha256'))
    assert Bundle.load(folder)  # written before there were such checksums


def test_colours_are_a_matter_of_taste(folder):
    edit(folder, lambda m: m['tasks']['semantic']['classes'][0].update(color=[1, 2, 3]))
    assert Bundle.load(folder).labels['semantic'].classes[0].color == (1, 2, 3)


def test_two_classes_of_one_name(folder):
    edit(folder, lambda m: m['tasks']['semantic']['classes'][1].update(name='red'))
    with pytest.raises(BundleError, match='two classes have the same name'):
        Bundle.load(folder)


def test_default_bundle_knows_its_classes():
    bundle = Bundle.load(default_bundle())
    text = (bundle.folder / MANIFEST).read_text()
    assert f'labels_sha256: {labels_sha256(bundle.labels.values())}' in text


def test_aliases_are_followed(folder):
    path = folder / MANIFEST
    text = path.read_text().replace('mean:', 'mean: &mean', 1).replace('training: {}', '')
    path.write_text(text + 'training: {mean: *mean}\n')
    assert Bundle.load(folder).manifest.training == {'mean': [0, 0, 0]}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: 1\nb: 2\na: 3', r"the key 'a' stands twice .* line 3"),
        ('a: &a [*a]', "the alias 'a' means nothing, or itself"),
        ('[' * 100, 'it nests deeper than 50'),
        (f'a: &a [{"x" * 5000}]\nb: [{"*a," * 2000}]', 'too large when its aliases are followed'),
        ('a: ' + 'x' * 10**5, 'a value has more than 10000 characters'),
        ('# ' + 'x' * 5 * 10**6, 'larger than the 4194304 bytes that are read'),
        ('a: 2001-99-99', 'holds a value that cannot be read'),
    ],
)
def test_yaml_that_is_not_taken(folder, text, words):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=words):
        Bundle.load(folder)


def test_number_of_more_digits_than_python_writes(folder):
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('height: 96', 'height: 0x' + 'f' * 9000))
    with pytest.raises(BundleError, match=r'height: must be an integer from 1 to 16384, not'):
        Bundle.load(folder)


def test_named_pipe_is_no_manifest(folder):
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    with pytest.raises(BundleError, match='no regular file'):
        Bundle.load(folder)


@pytest.mark.parametrize('path', ['~nobody_of_that_name/x', 'x' * 300, 'a\0b', 'two\nlines'])
def test_folder_names_that_cannot_be(path):
    with pytest.raises(BundleError) as caught:
        Bundle.load(path)
    assert str(caught.value).isprintable()


def test_program_larger_than_any_is_not_read(folder):
    with (folder / 'model.onnx').open('r+b') as file:
        file.truncate(2**31 + 1)  # takes no room on the disk
    with pytest.raises(BundleError, match='more than the 2 GiB'):
        Bundle.load(folder)


def test_program_that_is_empty(folder):
    (folder / 'model.onnx').write_bytes(b'')
    with pytest.raises(BundleError, match=r'model\.onnx: is empty; copy or export'):
        Bundle.read(folder)


def test_no_folder(tmp_path):
    with pytest.raises(BundleError, match='no such model bundle folder'):
        Bundle.load(tmp_path / 'nothing')


def test_no_manifest(tmp_path):
    with pytest.raises(BundleError, match='missing, so this folder is not a model bundle'):
        Bundle.load(tmp_path)


@pytest.mark.parametrize('text', ['a: [1', '- 1\n- 2', '', '!!python/object/apply:os.getcwd []'])
def test_broken_yaml(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    assert '\n' not in str(caught.value)


def test_manifest_that_is_not_text(folder):
    (folder / MANIFEST).write_bytes(b'\xff\xfe\x00')
    with pytest.raises(BundleError, match='cannot be read'):
        Bundle.load(folder)


def test_damaged_program(folder):
    program = folder / 'model.onnx'
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 1
    program.write_bytes(content)
    with pytest.raises(BundleError, match='the file is damaged or not of this bundle'):
        Bundle.load(folder)
