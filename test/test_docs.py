# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the documents point to is there: files, headings, programs and their options.

Commands of ``unidrive`` itself are tried by ``test_documented_commands.py``.
"""

import argparse
import re
import runpy
import shlex
import sys
import unicodedata
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    REPO / 'README.md',
    *sorted((REPO / 'docs').glob('*.md')),
    *sorted((REPO / 'config').rglob('README.md')),
]
FOLDERS = 'config|benchmarks|test|launch|docs|unidrive_perception|unidrive_training|unidrive_msgs'
REPO_PATH = re.compile(rf'(?<![\w./~$<-])(?:{FOLDERS})/[\w./*-]*\w')
TEST_FILE = re.compile(r'(?<![\w./])(?:test|fuzz)_\w+\.py')
PLACEHOLDER = re.compile(r'(?<![A-Za-z])(?:NAME|FILE)(?![A-Za-z])')
PROGRAM = re.compile(r'\bpython3? (benchmarks/\w+\.py)')
TITLE = re.compile(r'\s+"[^"]*"$')


def without_code(text):
    """The text with its code blocks and code within sentences blanked."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'`[^`\n]*`', '`code`', text)


def blocks(text):
    """Lines of the code blocks, continued ones joined."""
    for block in re.findall(r'^```[^\n]*\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
        yield from block.replace('\\\n', ' ').splitlines()


def links(path):
    """Targets of all links and pictures that lead into this repository."""
    targets = re.findall(r'\]\(([^)]+)\)', without_code(path.read_text()))
    targets += re.findall(r'\b(?:src|href)="([^"]+)"', without_code(path.read_text()))
    for target in targets:
        if not re.match(r'[a-z]+:', target):
            yield TITLE.sub('', target)


def anchors(path):
    """The names by which a page's headings can be linked to, made as GitHub makes them."""
    names = set()
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r'^#{1,6} +(.+?)(?: +#+)? *$', text, re.MULTILINE):
        shown = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).lower()
        name = ''.join('-' if c == ' ' else c for c in shown if is_kept(c))
        number = 0
        while (f'{name}-{number}' if number else name) in names:
            number += 1
        names.add(f'{name}-{number}' if number else name)
    return names


def is_kept(character):
    """Whether GitHub keeps it in an anchor: letters, marks, digits, hyphens, underscores."""
    return character in ' -_' or unicodedata.category(character)[0] in 'LMN'


def all_of(find):
    """What ``find`` finds in each document, as cases of a test."""
    for path in DOCUMENTS:
        name = path.relative_to(REPO)
        for found in dict.fromkeys(find(path)):
            yield pytest.param(path, found, id=f'{name}: {found}')


@pytest.mark.parametrize(('path', 'target'), all_of(links))
def test_a_link_leads_somewhere(path, target):
    file, _, anchor = target.partition('#')
    page = (path.parent / file).resolve() if file else path
    assert page.exists(), f'{path.name} links to {target}'
    assert page.is_relative_to(REPO)
    if anchor:
        assert anchor in anchors(page), f'{page.name} has no heading for #{anchor}'


def paths_in_code(path):
    """Everything in backticks and code blocks that looks like a path of this repository."""
    text = path.read_text()
    code = [*blocks(text), *re.findall(r'`([^`\n]+)`', re.sub(r'^```.*?^```', '', text, flags=18))]
    for piece in code:
        for found in REPO_PATH.findall(piece) + TEST_FILE.findall(piece):
            if not PLACEHOLDER.search(found):
                yield found


def is_there(name):
    """Whether a file, a folder, a message type or a test of this name (or pattern) exists."""
    if re.fullmatch(r'unidrive_msgs/[A-Z]\w+', name):
        name = f'unidrive_msgs/msg/{name.partition("/")[2]}.msg'
    if '/' not in name:
        return any((REPO / 'test').rglob(name))
    return any(REPO.glob(name)) if '*' in name else (REPO / name).exists()


@pytest.mark.parametrize(('path', 'name'), all_of(paths_in_code))
def test_a_path_in_code_exists(path, name):
    assert is_there(name), f'{path.name} names {name}'


def benchmark_commands(path):
    """Commands that start a program of ``benchmarks/``, without what the shell does with them."""
    text = path.read_text()
    within = re.findall(r'`([^`\n]+)`', re.sub(r'^```.*?^```', '', text, flags=18))
    for line in [*blocks(text), *within]:
        if start := PROGRAM.search(line):
            words = shlex.split(line[start.start(1) :], comments=True)
            end = next((i for i, w in enumerate(words) if w in ('|', '>', '&&', '&')), None)
            yield shlex.join(words[:end])


class Accepted(Exception):
    """A program has understood its command line, and would begin to work."""


def accept(words, monkeypatch):
    """Start a program with these words, up to where it has parsed them."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse(*args, **kwargs):
        parse_args(*args, **kwargs)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse)
    monkeypatch.setattr(sys, 'argv', words)
    monkeypatch.setattr(sys, 'path', [str(REPO / 'benchmarks'), str(REPO), *sys.path])
    monkeypatch.chdir(REPO)
    with pytest.raises(Accepted):
        runpy.run_path(words[0], run_name='__main__')


@pytest.mark.parametrize(('path', 'command'), all_of(benchmark_commands))
def test_a_benchmark_takes_its_command(path, command, monkeypatch):
    program, *options = shlex.split(command)
    file = REPO / program
    assert file.is_file(), f'{path.name} starts {program}'
    if 'parse_args' not in file.read_text():  # it would begin to measure
        assert not options
        return
    missing = {'motmetrics', 'supervision', 'rclpy', 'torchvision'} & set(
        re.findall(r'^(?:import|from) (\w+)', file.read_text(), re.MULTILINE)
    )
    for module in missing:
        pytest.importorskip(module)
    accept([program, *options], monkeypatch)
