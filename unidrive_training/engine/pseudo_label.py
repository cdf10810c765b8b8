# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""``unidrive pseudo-label``: teachers label what is not labelled, in any number of processes."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unidrive_perception.errors import UserError
from unidrive_perception.labels import DETECTION
from unidrive_training import distributed
from unidrive_training.data.bdd100k import Record, read_split
from unidrive_training.data.settings import Setting, apply_setting, load_setting
from unidrive_training.engine.cli import check_device
from unidrive_training.engine.labelling import Job, Labelling
from unidrive_training.engine.pseudo_label_files import PseudoLabelFiles
from unidrive_training.engine.run_lock import only_one
from unidrive_training.engine.teachers import Teacher, Thresholds, load_teachers
from unidrive_training.models.multitask import TASKS

_NAMED = 10  # unreadable images that are named on the screen; the index names all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('data', type=Path, help='BDD100K-layout folder, labelled in part or not')
    parser.add_argument('out', type=Path, help='new folder for the labels, in the same layout')
    parser.add_argument(
        '--teacher',
        action='append',
        required=True,
        metavar='TASK=RUN',
        help='run folder or checkpoint of `unidrive train` that labels this task; repeatable',
    )
    parser.add_argument('--split', default='train')
    parser.add_argument('--setting', metavar='NAME', help='of the true labels only those it keeps')
    parser.add_argument(
        '--tasks', nargs='+', choices=TASKS, help='of the true labels only those of these tasks'
    )
    parser.add_argument('--box-score', type=float, default=0.5, help='least score of a box')
    parser.add_argument(
        '--mask-confidence', type=float, default=0.3, help='least confidence of a mask pixel'
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch-size', type=int, default=4, help='images at once, per process')
    parser.add_argument('--workers', type=int, default=2, help='loading processes, per process')


def run(args: argparse.Namespace) -> int:
    """Label every image that lacks a label of a teacher's task; of a finished folder, what is new
    and what could not be read.
    """
    thresholds = _check(args)
    paths = _teacher_paths(args.teacher)
    setting = load_setting(args.setting) if args.setting else None
    records = _records(args, setting)
    device = distributed.start(args.device)
    teachers = load_teachers(paths, device)
    settings = _settings(args, setting, teachers, thresholds)
    files = PseudoLabelFiles(args.out, args.split)
    files.open(settings)  # a folder that is refused stays as it is
    wait = distributed.patient_barrier()
    with only_one(args.out) if distributed.rank() == 0 else contextlib.nullcontext():
        wait()  # nobody begins before the folder is ours
        _label(args, records, teachers, files, settings, wait)
    return 0


def _label(
    args: argparse.Namespace,
    records: Sequence[Record],
    teachers: Sequence[Teacher],
    files: PseudoLabelFiles,
    settings: dict[str, Any],
    wait: Callable[[], None],
) -> None:
    """What is missing of the folder, by all processes."""
    leads, tasks = distributed.rank() == 0, list(_teacher_paths(args.teacher))
    labelled = files.open(settings)
    jobs = _jobs(records, tasks, labelled or {})
    if labelled is not None and not jobs:
        if leads:
            files.tidy()
            print(f'{args.out}: all pseudo-labels are there already')
        return
    files.begin(settings)
    done = files.done()
    if leads:
        print(_begun(jobs, len(records), done), flush=True)
    wait()  # or a process would list what another has made since
    thresholds = Thresholds(args.box_score, args.mask_confidence)
    Labelling(jobs, teachers, thresholds, files, done).run(args.batch_size, args.workers)
    wait()
    if leads:
        classes = next((t.classes for t in teachers if 'detection' in t.tasks), DETECTION.names)
        print(_summary(files.merge(settings, [job.record.name for job in jobs], classes), tasks))
        print(f'→ {args.out}')


def _check(args: argparse.Namespace) -> Thresholds:
    check_device(args.device)
    for name in ('box_score', 'mask_confidence'):
        value = getattr(args, name)
        if not 0 <= value <= 1:
            raise UserError(f'--{name.replace("_", "-")} {value}: give a number from 0 to 1')
    if args.batch_size < 1:
        raise UserError(f'--batch-size {args.batch_size}: give at least 1')
    if args.workers < 0:
        raise UserError(f'--workers {args.workers}: give at least 0')
    if args.out.resolve() == args.data.resolve():
        raise UserError(f'{args.out} is the data itself; give a new folder for the pseudo-labels')
    return Thresholds(args.box_score, args.mask_confidence)


def _teacher_paths(texts: list[str]) -> dict[str, Path]:
    paths = {}
    for text in texts:
        task, _, path = text.partition('=')
        if task not in TASKS or not path:
            raise UserError(f'--teacher {text}: give TASK=RUN, TASK one of {", ".join(TASKS)}')
        if task in paths:
            raise UserError(f'--teacher {text}: {task} has a teacher already')
        paths[task] = Path(path)
    return paths


def _records(args: argparse.Namespace, setting: Setting | None) -> list[Record]:
    """The images with those true labels that count."""
    records = read_split(args.data, args.split)
    if setting:
        records = apply_setting(setting, records)
    return [record.only(args.tasks) for record in records] if args.tasks else records


def determined_by(args: argparse.Namespace) -> dict[str, Any]:
    """All that the labels of these arguments depend on, as the index holds it."""
    teachers = load_teachers(_teacher_paths(args.teacher), 'cpu')
    setting = load_setting(args.setting) if args.setting else None
    return _settings(args, setting, teachers, Thresholds(args.box_score, args.mask_confidence))


def _settings(
    args: argparse.Namespace,
    setting: Setting | None,
    teachers: Sequence[Teacher],
    thresholds: Thresholds,
) -> dict[str, Any]:
    chosen = None
    if setting:
        digest = hashlib.sha256(setting.model_dump_json().encode()).hexdigest()
        chosen = f'{setting.name} (sha256 {digest[:16]})'
    return {
        'version': 1,
        'data': str(args.data.resolve()),
        'split': args.split,
        'setting': chosen,
        'tasks': sorted(args.tasks) if args.tasks else None,
        'teachers': {
            task: {
                'teacher': teacher.name,
                'weights_sha256': teacher.sha256,
                'threshold': thresholds.of(task),
            }
            for teacher in teachers
            for task in teacher.tasks
        },
    }


def _jobs(
    records: Sequence[Record], tasks: Collection[str], labelled: Mapping[str, Collection[str]]
) -> list[Job]:
    """What has neither a true label nor one in ``labelled``: image → tasks."""
    jobs = []
    for record in records:
        there = {*record.tasks(), *labelled.get(record.name, ())}
        if missing := tuple(task for task in tasks if task not in there):
            jobs.append(Job(record, missing))
    return jobs


def _begun(jobs: Sequence[Job], images: int, done: set[str]) -> str:
    counts = Counter(task for job in jobs for task in job.tasks)
    tasks = ', '.join(f'{task} {counts[task]}' for task in TASKS if counts[task]) or 'nothing'
    ready = sum(job.record.name in done for job in jobs)
    return f'{images} images, to label: {tasks}' + (f'; {ready} are done already' * bool(ready))


def _summary(index: dict[str, Any], tasks: Sequence[str]) -> str:
    lines = []
    for task in tasks:
        threshold = index['teachers'][task]['threshold']
        facts = [image[task] for image in index['images'].values() if task in image]
        line = f'{task}: {len(facts)} images'
        if facts and task == 'detection':
            boxes = sum(f['boxes'] for f in facts)
            line += f', {boxes} boxes of score ≥ {threshold}'
            if not boxes:  # or all that is there is taught as background
                line += '\nwarning: no box at all; lower --box-score, or train the teacher longer'
        elif facts:
            kept = 100 * float(np.mean([f['kept'] for f in facts]))
            line += f', {kept:.1f} % of their pixels of confidence ≥ {threshold}'
        lines.append(line)
    if unreadable := index['unreadable']:
        more = f' and {len(unreadable) - _NAMED} more' * (len(unreadable) > _NAMED)
        names = ', '.join(unreadable[:_NAMED])
        lines.append(f'{len(unreadable)} images could not be read: {names}{more}')
    return '\n'.join(lines)
