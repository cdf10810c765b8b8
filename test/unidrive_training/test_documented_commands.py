# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command in README.md and docs/ is one that can be given."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch

from unidrive_training.classification.config import ClassificationConfig
from unidrive_training.cli import COMMANDS, main
from unidrive_training.config import TrainingConfig, load_config
from unidrive_training.experiment.config import load_experiment
from unidrive_training.experiment.steps import plan
from unidrive_training.models.multitask import MultiTaskModel

REPO = Path(__file__).parents[2]
DOCUMENTS = [REPO / 'README.md', *sorted((REPO / 'docs').glob('*.md'))]
FOLDER = REPO / 'config' / 'training'
PLACES = {'CONFIG', 'FILE', 'RUN'}
NAME = {'run': 'street_mini', 'train': 'lv_adapter'}  # for example
START = re.compile(r'(?:\bunidrive|-m unidrive_training\.cli) (?=[a-z])')
CONFIGS = {'train': TrainingConfig, 'describe': TrainingConfig, 'classify': ClassificationConfig}


def code_of(path):
    """Lines of code blocks, continued ones joined, and code within sentences."""
    text = path.read_text().replace('\\\n', ' ')
    for i, block in enumerate(text.split('```')):
        yield from block.splitlines() if i % 2 else re.findall(r'`(unidrive [^`]+)`', block)


def commands():
    """Words of all that are given in full."""
    for path in DOCUMENTS:
        for line in code_of(path):
            for part in line.split(' && '):
                start = START.search(part)
                words = shlex.split(part[start.end() :], comments=True) if start else []
                if len(words) > 1 and words[0] in COMMANDS and not PLACES & {*words}:
                    yield [word.replace('NAME', NAME.get(words[0], '')) for word in words]


def table_rows():
    """Config and settings of rows of tables that end in `CONFIG` `--set KEY=VALUE`."""
    for path in DOCUMENTS:
        for line in path.read_text().splitlines():
            cell = line.rstrip(' |').rpartition('|')[2] if line.startswith('|') else ''
            config, *others = re.findall(r'`([^`]+)`', cell) or ['']
            settings = [w for other in others for w in shlex.split(other) if '=' in w]
            if settings and re.fullmatch(r'\w+', config):
                yield FOLDER / f'{config}.yaml', settings


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """Where the commands are given, and what they need there."""
    monkeypatch.chdir(REPO)
    for name in ('UNIDRIVE_DATA', 'NUIMAGES'):
        monkeypatch.setenv(name, 'data')


@pytest.mark.parametrize('words', [*commands()], ids=' '.join)
def test_a_command_can_be_given(words, monkeypatch):
    given = []
    command = importlib.import_module(COMMANDS[words[0]][0])
    monkeypatch.setattr(command, 'run', lambda args: given.append(args) or 0)
    assert main(words) == 0
    args = given[0]
    if words[0] == 'run':
        plan(load_experiment(args.file, args.overrides), Path('out'))
    if words[0] in CONFIGS and 'configs' not in args.config.parts:  # made by `unidrive run`
        config = load_config(args.config, args.set, CONFIGS[words[0]])
        if words[0] == 'train':
            check_model(config)


@pytest.mark.parametrize(('config', 'settings'), [*table_rows()], ids=str)
def test_what_a_table_sets_can_be_set(config, settings):
    if 'student' in settings[0]:
        plan(load_experiment(config, settings), Path('out'))
    else:
        check_model(load_config(config, settings))


def check_model(config):
    """Options of its parts are looked at when it is built, names of parts thereafter."""
    with torch.device('meta'):
        MultiTaskModel(config.model)


def test_commands_are_found():
    """Or the tests above would test nothing."""
    found = list(commands())
    assert {words[0] for words in found} >= {*CONFIGS, 'run', 'frames', 'pseudo-label', 'compare'}
    assert any('model.heads.semantic=null' in words for words in found)
    assert len(list(table_rows())) > 5
