# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""A model bundle: the one artefact between training and the robot.

A folder with ``manifest.yaml`` (classes, colours, input size, thresholds, where the weights come
from and what they measured) and the exported program. Loading checks all of it and executes
nothing. The program's interface is described in :mod:`unidrive_perception.predictor`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from unidrive_perception.errors import UserError
from unidrive_perception.geometry import DEFAULT_FILL
from unidrive_perception.labels import UNKNOWN, ClassInfo, LabelTable
from unidrive_perception.resources import config_path

FORMAT_VERSION = 1
MANIFEST = 'manifest.yaml'
DEFAULT_NAME = 'nano'
TASKS = ('detection', 'semantic', 'drivable')


class BundleError(UserError):
    """The folder is not a usable model bundle."""


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
    """One task of the bundle; only detection has a score threshold (0..1)."""

    labels: LabelTable
    score_threshold: float | None = None


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
    """A checked model bundle on disk."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read and check a bundle folder; raises :class:`BundleError` with one sentence."""
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise BundleError(
                f'{folder}: no such model bundle folder; export one or give another model path'
            )
        manifest = read_manifest(folder / MANIFEST)
        program = folder / manifest.program.file
        if not program.is_file():
            raise BundleError(f'{program}: missing, though {MANIFEST} names it as the program')
        found = file_sha256(program)
        if found != manifest.program.sha256:
            raise BundleError(
                f'{program}: its SHA-256 is {found[:12]}…, {MANIFEST} says '
                f'{manifest.program.sha256[:12]}…; the file is damaged or not of this bundle, '
                'copy or export the bundle again'
            )
        return cls(folder, manifest)

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
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise BundleError(f'{path}: missing, so this folder is not a model bundle') from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f'{path}: cannot be read ({error})') from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise BundleError(f'{path}: is not valid YAML ({reason})') from None
    return _manifest(_Section(path, '', content))


def _to_yaml(manifest: Manifest) -> dict[str, Any]:
    tasks = {}
    for task, spec in manifest.tasks.items():
        row: dict[str, Any] = {}
        if spec.score_threshold is not None:
            row['score_threshold'] = spec.score_threshold
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
        },
        'training': dict(manifest.training),
        'metrics': dict(manifest.metrics),
    }


class _Section:
    """A mapping of the manifest; each value is asked for once, and left-over keys are errors."""

    def __init__(self, path: Path, where: str, content: Any) -> None:
        self._path, self._where = path, where
        if not isinstance(content, dict):
            raise self.error(f'must be a mapping, not {_shown(content)}', '')
        self._rest = dict(content)

    def error(self, problem: str, key: str) -> BundleError:
        place = '.'.join(part for part in (self._where, key) if part)
        return BundleError(f'{self._path}: {place + ": " if place else ""}{problem}')

    def take(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        if key not in self._rest:
            raise self.error(f'is missing; it must be {expected}', key)
        value = self._rest.pop(key)
        # bool is an int to Python, not to the author of a manifest
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f'must be {expected}, not {_shown(value)}', key)
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        expected = f'an integer from {low} to {high}'
        value = self.take(key, int, expected)
        if not low <= value <= high:
            raise self.error(f'must be {expected}, not {value}', key)
        return value

    def number(self, key: str, low: float, high: float) -> float:
        expected = f'a number from {low:g} to {high:g}'
        value = self.take(key, (int, float), expected)
        if not low <= value <= high:
            raise self.error(f'must be {expected}, not {value}', key)
        return float(value)

    def text(self, key: str) -> str:
        value = self.take(key, str, 'a text')
        if not value:
            raise self.error('must not be empty', key)
        return value

    def triple(self, key: str, kind: type | tuple[type, ...], expected: str) -> tuple:
        value = self.take(key, list, expected)
        if len(value) != 3 or not all(isinstance(v, kind) for v in value):
            raise self.error(f'must be {expected}, not {_shown(value)}', key)
        return tuple(value)

    def section(self, key: str) -> _Section:
        where = '.'.join(part for part in (self._where, key) if part)
        return _Section(self._path, where, self.take(key, dict, 'a mapping'))

    def sections(self, key: str) -> list[_Section]:
        where = '.'.join(part for part in (self._where, key) if part)
        rows = self.take(key, list, 'a list')
        return [_Section(self._path, f'{where}[{i}]', row) for i, row in enumerate(rows)]

    def has(self, key: str) -> bool:
        return key in self._rest

    def finish(self, *known: str) -> None:
        if self._rest:
            raise self.error(
                f'unknown key; known are {", ".join(known)}', str(next(iter(self._rest)))
            )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '…'


def _manifest(root: _Section) -> Manifest:
    version = root.take('format_version', int, str(FORMAT_VERSION))
    if version != FORMAT_VERSION:
        raise root.error(
            f'is {version}, this program reads {FORMAT_VERSION}; '
            'export the bundle again or use the matching UniDrive',
            'format_version',
        )
    manifest = Manifest(
        name=root.text('name'),
        input=_input(root.section('input')),
        tasks=_tasks(root.section('tasks')),
        program=_program(root.section('program')),
        training=root.take('training', dict, 'a mapping') if root.has('training') else {},
        metrics=root.take('metrics', dict, 'a mapping') if root.has('metrics') else {},
    )
    root.finish('format_version', 'name', 'input', 'tasks', 'program', 'training', 'metrics')
    return manifest


def _input(section: _Section) -> InputSpec:
    spec = InputSpec(
        height=section.integer('height', 1, 16384),
        width=section.integer('width', 1, 16384),
        mean=section.triple('mean', (int, float), 'three numbers'),
        std=section.triple('std', (int, float), 'three numbers'),
        letterbox_fill=section.integer('letterbox_fill', 0, 255),
    )
    section.finish('height', 'width', 'mean', 'std', 'letterbox_fill')
    return spec


def _tasks(section: _Section) -> dict[str, TaskSpec]:
    tasks = {task: _task(task, section.section(task)) for task in TASKS if section.has(task)}
    section.finish(*TASKS)
    if not tasks:
        raise section.error(f'is empty; it must have at least one of {", ".join(TASKS)}', '')
    return tasks


def _task(task: str, section: _Section) -> TaskSpec:
    known = ['classes']
    threshold = None
    if task == 'detection':
        known.append('score_threshold')
        threshold = section.number('score_threshold', 0, 1)
    classes = [_class(row) for row in section.sections('classes')]
    if not 1 <= len(classes) <= UNKNOWN:
        raise section.error(f'must have 1 to {UNKNOWN} entries, not {len(classes)}', 'classes')
    section.finish(*known)
    try:
        return TaskSpec(LabelTable(task, tuple(classes)), threshold)
    except ValueError as error:
        raise section.error(str(error), 'classes') from None


def _class(section: _Section) -> ClassInfo:
    color = section.triple('color', int, 'three integers from 0 to 255')
    if not all(0 <= c <= 255 for c in color):
        raise section.error(f'must be three integers from 0 to 255, not {list(color)}', 'color')
    info = ClassInfo(section.integer('id', 0, UNKNOWN - 1), section.text('name'), color)
    section.finish('id', 'name', 'color')
    return info


def _program(section: _Section) -> ProgramSpec:
    spec = ProgramSpec(section.text('format'), section.text('file'), section.text('sha256'))
    section.finish('format', 'file', 'sha256')
    if spec.format != 'onnx':
        raise section.error(f"must be 'onnx', not {spec.format!r}", 'format')
    if Path(spec.file).name != spec.file:
        raise section.error(f'must be a file name without folders, not {spec.file!r}', 'file')
    return spec
