# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Bundle loading: what is written comes back, and every defect is one clear sentence."""

import shutil

import pytest
import yaml
from tiny_bundle import LABELS, write_tiny_bundle

from unidrive_perception.bundle import MANIFEST, Bundle, BundleError, write_manifest


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
