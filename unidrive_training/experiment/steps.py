# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""From an experiment to its steps: commands in order, and what determines each.

::

    OUT/data/NAME           made data
    OUT/configs/STEP.yaml   the complete training configs
    OUT/pretrain, OUT/teachers/TASK, OUT/student    run folders
    OUT/pseudo_labels/NAME
    OUT/evaluation, OUT/bundle, OUT/report.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unidrive_perception.errors import UserError
from unidrive_training.config import FREE, TrainingConfig
from unidrive_training.evaluation.metrics_file import METRICS
from unidrive_training.experiment.config import Dataset, Experiment, Training
from unidrive_training.typed import parse


@dataclass(frozen=True)
class Step:
    """One command.

    ``arguments`` follow `unidrive`; ``output`` is the folder (or file) that they make.
    ``settings`` determine it, by the keys of the run file. ``needs``: names of the steps that it
    builds on. ``scored_on``: names of those that it only measures itself by; they are made before
    it and change nothing. ``config``: of a training, what OUT/configs/STEP.yaml has to hold.
    """

    name: str
    arguments: tuple[str, ...]
    output: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    scored_on: tuple[str, ...] = ()
    config: TrainingConfig | None = None

    @property
    def resumes(self) -> bool:
        """Whether the same command goes on where it was interrupted; others begin anew."""
        return self.arguments[0] in ('frames', 'train', 'pseudo-label')

    @property
    def parallel(self) -> bool:
        """Whether several processes can share the work, under torchrun."""
        return self.arguments[0] in ('train', 'pseudo-label', 'evaluate')


def plan(experiment: Experiment, out: Path) -> list[Step]:
    """The steps of an experiment below ``out``, in an order in which they can be done.

    Reads and writes nothing. Raises UserError for a training config that is wrong.
    """
    steps = [
        *_data(experiment, out),
        *_trainings(experiment, out, last=False),
        *_pseudo_labels(experiment, out),
        *_trainings(experiment, out, last=True),
        *_after_training(experiment, out),
    ]
    return _needed(steps)


def config_file(out: Path, step: str) -> Path:
    """Where the complete config of a training is."""
    return out / 'configs' / f'{step}.yaml'


def option_arguments(options: Mapping[str, Any]) -> list[str]:
    """``{drives: 2, keep: {semantic: 0.5}, quiet: true}`` as a command line has it.

    A list or mapping repeats the option: ``--keep semantic=0.5``.
    """
    arguments = []
    for key, value in options.items():
        flag = f'--{key.replace("_", "-")}'
        values = [f'{k}={v}' for k, v in value.items()] if isinstance(value, dict) else value
        for item in values if isinstance(values, list) else [values]:
            if item is not False:
                arguments += [flag] if item is True else [flag, str(item)]
    return arguments


def _data(experiment: Experiment, out: Path) -> Iterator[Step]:
    for name, entry in experiment.data.items():
        if entry.command:
            folder = _folder(experiment, name, out)
            sources = [entry.convert, entry.source] if entry.convert else entry.frames or []
            arguments = [entry.command, *map(str, sources), str(folder)]
            arguments += option_arguments(entry.options)
            made_from = {'source': [str(source) for source in sources], **entry.options}
            settings = {'data': {name: {entry.command: made_from}}}
            yield Step(f'data/{name}', tuple(arguments), folder, settings)


def _folder(experiment: Experiment, name: str, out: Path) -> Path:
    return experiment.data[name].root or out / 'data' / name


def _trainings(experiment: Experiment, out: Path, last: bool) -> Iterator[Step]:
    """The student is the last, the others make what it learns from."""
    for name, section in experiment.trainings().items():
        if (name == 'student') != last:
            continue
        config = _training_config(experiment, name, section, out)
        init = ('--init', str(out / section.weights_from)) if section.weights_from else ()
        pseudo = experiment.pseudo_labelled() if last else []
        yield Step(
            name,
            ('train', str(config_file(out, name)), str(out / name), *init),
            out / name,
            {name.replace('/', '.'): config.model_dump(mode='json', exclude=set(FREE))},
            (
                *(f'data/{data}' for data in _learned(experiment, section, pseudo)),
                *(f'pseudo_labels/{data}' for data in pseudo),
                *([section.starts_from] if section.starts_from else []),
            ),
            tuple(f'data/{data}' for data in section.validation),
            config,
        )


def _training_config(
    experiment: Experiment, step: str, section: Training, out: Path
) -> TrainingConfig:
    values = {'name': f'{experiment.name}_{step.replace("/", "_")}', 'seed': experiment.seed}
    values |= section.settings
    values['data'] = _sources(experiment, step, section, out)
    if section.validation:
        folders = [_folder(experiment, name, out) for name in section.validation]
        values['validation'] = [str(folder) for folder in folders]
    if section.backbone_from:
        backbone = {'format': 'unidrive', 'file': str(out / section.backbone_from)}
        values['pretrained'] = {**values.get('pretrained', {}), 'backbone': backbone}
    where = step.replace('/', '.')
    task = step.partition('/')[2]
    if task:  # a teacher knows nothing else
        heads = parse(TrainingConfig, values, where).model.heads
        if task not in heads:
            raise UserError(f'{where}.model.heads: no head for {task}; has {", ".join(heads)}')
        values['model'] = {**values['model'], 'heads': {task: heads[task]}}
    return parse(TrainingConfig, values, where)


def _learned(experiment: Experiment, section: Training, pseudo: list[str]) -> list[str]:
    """Names of the data that have labels to learn from, their own or those of ``pseudo``."""
    return [name for name in section.data if experiment.data[name].labelled or name in pseudo]


def _sources(
    experiment: Experiment, step: str, section: Training, out: Path
) -> list[dict[str, Any]]:
    """The ``data`` of a training config."""
    task = step.partition('/')[2]
    pseudo = experiment.pseudo_labelled() if step == 'student' else []
    sources = []
    for name in _learned(experiment, section, pseudo):
        entry = experiment.data[name]
        source = {
            'root': str(_folder(experiment, name, out)),
            'weight': section.data[name] or entry.weight,
            'tasks': (task,) if task else entry.tasks,
            'setting': entry.setting,
            'pseudo': str(out / 'pseudo_labels' / name) if name in pseudo else None,
        }
        sources.append({key: value for key, value in source.items() if value is not None})
    return sources


def _pseudo_labels(experiment: Experiment, out: Path) -> Iterator[Step]:
    section = experiment.pseudo_labels
    for name in experiment.pseudo_labelled():
        output = out / 'pseudo_labels' / name
        arguments = ['pseudo-label', str(_folder(experiment, name, out)), str(output)]
        for task in experiment.teachers:
            arguments += ['--teacher', f'{task}={out / "teachers" / task}']
        arguments += _true_labels(experiment.data[name])
        thresholds = {'box_score': section.box_score, 'mask_confidence': section.mask_confidence}
        yield Step(
            f'pseudo_labels/{name}',
            (*arguments, *option_arguments(thresholds)),
            output,
            {'pseudo_labels': thresholds},
            (f'data/{name}', *(f'teachers/{task}' for task in experiment.teachers)),
        )


def _true_labels(entry: Dataset) -> list[str]:
    """Which of its labels count; the teachers fill in the others."""
    arguments = ['--setting', entry.setting] if entry.setting else []
    return arguments + (['--tasks', *entry.tasks] if entry.tasks else [])


def _after_training(experiment: Experiment, out: Path) -> Iterator[Step]:
    student, scores = str(out / 'student'), out / 'evaluation'
    if section := experiment.evaluation:
        folders = [str(_folder(experiment, name, out)) for name in section.data]
        options = ['--split', section.split, '--out', str(scores)]
        yield Step(
            'evaluation',
            ('evaluate', student, *folders, *options),
            scores,
            {'evaluation': section.model_dump()},
            ('student', *(f'data/{name}' for name in section.data)),
        )
    if experiment.export:
        arguments = ['export', student, str(out / 'bundle')]
        if experiment.evaluation:
            arguments += ['--scores', str(scores / METRICS)]
        yield Step('bundle', tuple(arguments), out / 'bundle', needs=('student', 'evaluation'))
    needs = ('student', 'evaluation')
    yield Step('report', ('report', str(out)), out / 'report.html', needs=needs)


def _needed(steps: list[Step]) -> list[Step]:
    """Without data that nothing uses; needs without what is there already or left out."""
    names = {step.name for step in steps}
    steps = [replace(s, needs=tuple(n for n in s.needs if n in names)) for s in steps]
    used = {name for step in steps for name in (*step.needs, *step.scored_on)}
    return [step for step in steps if step.name in used or not step.name.startswith('data/')]
