# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A model bundle: the one artefact between training and the robot.

A folder with ``manifest.yaml`` (classes, colours, input size, thresholds, where the weights come
from and what they measured) and the exported program. Loading checks all of it, executes nothing.
The program's interface is described in :mod:`unidrive_perception.predictor`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unidrive_perception.bounded_yaml import YamlError, read_bounded_yaml
from unidrive_perception.errors import UserError, one_line, quoted
from unidrive_perception.geometry import DEFAULT_FILL
from unidrive_perception.labels import UNKNOWN, ClassInfo, LabelTable
from unidrive_perception.resources import config_path
from unidrive_perception.sections import Section

FORMAT_VERSION = 1
MANIFEST = 'manifest.yaml'
DEFAULT_NAME = 'nano'
MAX_PROGRAM_BYTES = 2**31
TASKS = ('detection', 'semantic', 'drivable')


class BundleError(UserError):
    """The folder is not a usable model bundle; one line says why."""

    def __str__(self) -> str:
        """Give the line, whatever names a manifest has."""
        return one_line(super().__str__())


@dataclass(frozen=True)
class InputSpec:
    """The network's input: size in pixels, normalisation (inside the program), letterbox grey."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    letterbox_fill: int = DEFAULT_FILL


@dataclass(frozen=True)
class TaskSpec:
    """One task of the bundle; only detection has a score threshold (0..1).

    ``duplicate_iou`` (0..1), where there is one, is the overlap with a better box of the same
    class above which a box is left out.
    """

    labels: LabelTable
    score_threshold: float | None = None
    duplicate_iou: float | None = None


@dataclass(frozen=True)
class ProgramSpec:
    """The exported program: its format, its file name in the bundle, and the file's SHA-256."""

    format: str
    file: str
    sha256: str

    @classmethod
    def of_file(cls, path: Path | str) -> ProgramSpec:
        """Describe an ONNX file that lies in the bundle folder."""
        return cls('onnx', Path(path).name, file_sha256(path))


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.yaml`` says; ``training`` and ``metrics`` are free-form."""

    name: str
    input: InputSpec
    tasks: Mapping[str, TaskSpec]
    program: ProgramSpec
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A model bundle on disk."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read and check a bundle folder; raises :class:`BundleError` with one sentence."""
        bundle = cls.read(folder)
        bundle.check_program()
        return bundle

    @classmethod
    def read(cls, folder: Path | str) -> Bundle:
        """As :meth:`load`, but quick: :meth:`check_program` is left to the caller."""
        folder = Path(os.path.expanduser(folder))
        try:
            if not folder.is_dir():
                raise BundleError(
                    f'{folder}: no such model bundle folder; export one or give another model path'
                )
            manifest = read_manifest(folder / MANIFEST)
            _check_size(folder / manifest.program.file)
        except OSError as error:  # a name that is too long, a file that may not be read
            raise _unreadable(folder, error) from None
        return cls(folder, manifest)

    def check_program(self) -> None:
        """Read the whole program, up to 2 GiB; raises BundleError if it is another one."""
        sha256 = self.manifest.program.sha256
        try:
            found = file_sha256(self.program_path)
        except OSError as error:
            raise _unreadable(self.folder, error) from None
        if found != sha256:
            raise BundleError(
                f'{self.program_path}: its SHA-256 is {found[:12]}…, {MANIFEST} says '
                f'{sha256[:12]}…; the file is damaged or not of this bundle, copy or export the '
                'bundle again'
            )

    @property
    def program_path(self) -> Path:
        """The program's file."""
        return self.folder / self.manifest.program.file

    @property
    def labels(self) -> dict[str, LabelTable]:
        """The label table of each task the bundle has."""
        return {task: spec.labels for task, spec in self.manifest.tasks.items()}


def default_bundle() -> Path:
    """Where the bundle lies that comes with UniDrive."""
    return config_path('bundles', DEFAULT_NAME)


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(folder: Path | str, manifest: Manifest) -> Path:
    """Write ``manifest.yaml`` so that it is either whole or absent; returns its path."""
    path = Path(folder) / MANIFEST
    partial = path.with_suffix('.partial')
    text = yaml.safe_dump(_to_yaml(manifest), sort_keys=False, allow_unicode=True, width=99)
    partial.write_text(text, encoding='utf-8')
    os.replace(partial, path)
    return path


def read_manifest(path: Path) -> Manifest:
    """Parse and check ``manifest.yaml``; raises :class:`BundleError`."""
    if not path.exists():
        raise BundleError(f'{path}: missing, so this folder is not a model bundle')
    try:
        content = read_bounded_yaml(path)
    except YamlError as error:
        raise BundleError(str(error)) from None
    return _manifest(Section(path, '', content, BundleError))


def labels_sha256(labels: Iterable[LabelTable]) -> str:
    """SHA-256 of the tasks and the names of their classes in the order of their ids.

    It is written beside the program that gives those ids, so that a table which was permuted or
    taken from elsewhere is found out.
    """
    rows = [[table.task, *table.names] for table in labels]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise BundleError(f'{path}: missing, though {MANIFEST} names it as the program')
    size = path.stat().st_size
    if size == 0:
        raise BundleError(f'{path}: is empty; copy or export the bundle again')
    if size > MAX_PROGRAM_BYTES:
        raise BundleError(f'{path}: has more than the 2 GiB that an ONNX program can have')


def _unreadable(folder: Path, error: OSError) -> BundleError:
    return BundleError(f'{folder}: cannot be read ({error.strerror})')


def _to_yaml(manifest: Manifest) -> dict[str, Any]:
    tasks = {}
    for task, spec in manifest.tasks.items():
        row: dict[str, Any] = {}
        if spec.score_threshold is not None:
            row['score_threshold'] = spec.score_threshold
        if spec.duplicate_iou is not None:
            row['duplicate_iou'] = spec.duplicate_iou
        row['classes'] = [
            {'id': c.id, 'name': c.name, 'color': list(c.color)} for c in spec.labels.classes
        ]
        tasks[task] = row
    spec = manifest.input
    return {
        'format_version': FORMAT_VERSION,
        'name': manifest.name,
        'input': {
            'height': spec.height,
            'width': spec.width,
            'mean': list(spec.mean),
            'std': list(spec.std),
            'letterbox_fill': spec.letterbox_fill,
        },
        'tasks': tasks,
        'program': {
            'format': manifest.program.format,
            'file': manifest.program.file,
            'sha256': manifest.program.sha256,
            'labels_sha256': labels_sha256(spec.labels for spec in manifest.tasks.values()),
        },
        'training': dict(manifest.training),
        'metrics': dict(manifest.metrics),
    }


def _manifest(root: Section) -> Manifest:
    version = root.take('format_version', int, str(FORMAT_VERSION))
    if version != FORMAT_VERSION:
        raise root.error(
            f'is {quoted(version)}, this program reads {FORMAT_VERSION}; '
            'export the bundle again or use the matching UniDrive',
            'format_version',
        )
    tasks = _tasks(root.section('tasks'))
    manifest = Manifest(
        name=root.text('name'),
        input=_input(root.section('input')),
        tasks=tasks,
        program=_program(root.section('program'), tasks),
        training=root.take('training', dict, 'a mapping') if root.has('training') else {},
        metrics=root.take('metrics', dict, 'a mapping') if root.has('metrics') else {},
    )
    root.finish('format_version', 'name', 'input', 'tasks', 'program', 'training', 'metrics')
    return manifest


def _input(section: Section) -> InputSpec:
    spec = InputSpec(
        height=section.integer('height', 1, 16384),
        width=section.integer('width', 1, 16384),
        mean=section.triple('mean', (int, float), 'three numbers'),
        std=section.triple('std', (int, float), 'three numbers'),
        letterbox_fill=section.integer('letterbox_fill', 0, 255),
    )
    section.finish('height', 'width', 'mean', 'std', 'letterbox_fill')
    return spec


def _tasks(section: Section) -> dict[str, TaskSpec]:
    tasks = {task: _task(task, section.section(task)) for task in TASKS if section.has(task)}
    section.finish(*TASKS)
    if not tasks:
        raise section.error(f'is empty; it must have at least one of {", ".join(TASKS)}', '')
    return tasks


def _task(task: str, section: Section) -> TaskSpec:
    known = ['classes']
    threshold = duplicate_iou = None
    if task == 'detection':
        known += ['score_threshold', 'duplicate_iou']
        threshold = section.number('score_threshold', 0, 1)
        if section.has('duplicate_iou'):
            duplicate_iou = section.number('duplicate_iou', 0, 1)
    classes = [_class(row) for row in section.sections('classes')]
    if not 1 <= len(classes) <= UNKNOWN:
        raise section.error(f'must have 1 to {UNKNOWN} entries, not {len(classes)}', 'classes')
    section.finish(*known)
    names = [info.name for info in classes]
    if len(set(names)) < len(names):
        raise section.error('two classes have the same name', 'classes')
    try:
        return TaskSpec(LabelTable(task, tuple(classes)), threshold, duplicate_iou)
    except ValueError as error:
        raise section.error(str(error), 'classes') from None


def _class(section: Section) -> ClassInfo:
    color = section.triple('color', int, 'three integers from 0 to 255')
    if not all(0 <= c <= 255 for c in color):
        raise section.error(f'must be three integers from 0 to 255, not {list(color)}', 'color')
    info = ClassInfo(section.integer('id', 0, UNKNOWN - 1), section.text('name'), color)
    section.finish('id', 'name', 'color')
    return info


def _program(section: Section, tasks: Mapping[str, TaskSpec]) -> ProgramSpec:
    spec = ProgramSpec(section.text('format'), section.text('file'), section.text('sha256'))
    if spec.format != 'onnx':
        raise section.error(f"must be 'onnx', not {quoted(spec.format)}", 'format')
    if Path(spec.file).name != spec.file or spec.file == '..':
        raise section.error(
            f'must be a file name without folders, not {quoted(spec.file)}', 'file'
        )
    if section.has('labels_sha256'):  # it has not in bundles of the first UniDrive
        expected = section.text('labels_sha256')
        found = labels_sha256(task.labels for task in tasks.values())
        if found != expected:
            raise section.error(
                'is not that of the classes in tasks, so the program gives the ids of other '
                'classes; copy or export the bundle again',
                'labels_sha256',
            )
    section.finish('format', 'file', 'sha256', 'labels_sha256')
    return spec
