# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Merges ROS parameter files: what a node gets of several in a row.

As ``rclpy`` does it, which a test compares, but for one thing: where two files give a parameter
different types, rclpy may keep the value of the first (``lazy: true`` in spite of a later
``lazy: "off"``), here the last one counts, so that the node can refuse it.

Launch files ask this, in an interpreter that has PyYAML (launch needs it) but perhaps not NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from unidrive_perception.errors import UserError

PARAMETERS_KEY = 'ros__parameters'
TRUE = {'y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'}
FALSE = {'n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'}


def plain_value(text: str) -> bool | int | float | str:
    """What rcl makes of a value without quotes; it takes 1e-3 for a number, as YAML does not."""
    if text in TRUE | FALSE:
        return text in TRUE
    if '_' not in text:
        for kind in (lambda t: int(t, 0), float):
            try:
                return kind(text)
            except ValueError:
                pass
    return text


class _Loader(yaml.SafeLoader):
    """Gives all values without quotes to :func:`plain_value`."""

    yaml_implicit_resolvers: ClassVar[dict] = {}


_Loader.add_implicit_resolver('!plain', re.compile(''), None)
_Loader.add_constructor('!plain', lambda _, node: plain_value(node.value))


def node_parameters(files: Iterable[str | Path], node: str) -> dict[str, Any]:
    """The parameters that ``files`` give the node of this full name, by their dotted names.

    A later file beats an earlier one within a section of the same name. Between sections that fit
    the node, the one that was first mentioned last wins, wherever its values stand.
    """
    sections: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, values in read_sections(file):
            sections.setdefault(name, {}).update(values)
    fitting = [values for name, values in sections.items() if fits(name, node)]
    return {name: value for values in fitting for name, value in values.items()}


def read_sections(file: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """The sections of a parameter file, ``/front/perception`` or ``/**``, with their values.

    Raises :class:`UserError` where it is no parameter file.
    """
    try:
        tree = yaml.load(Path(file).read_text(), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'not UTF-8 text'
        raise UserError(f'parameter file {file} cannot be read: {reason}') from error
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise UserError(f'parameter file {file} is not YAML: {reason}') from error
    sections = list(_sections(tree, ''))
    if not sections or not all(isinstance(values, dict) for _, values in sections):
        raise UserError(
            f'parameter file {file} has no parameters: they belong below a name of the node, '
            f'"/**: {{{PARAMETERS_KEY}: {{score_threshold: 0.5}}}}"'
        )
    return [(name, dict(_flat(values, ''))) for name, values in sections]


def fits(section: str, node: str) -> bool:
    """Whether the values of a section are for the node of this full name.

    As rclpy has it: ``*`` stands for one part of a name, ``**`` for any number of them.
    """
    pattern = '/' + section.lstrip('/')
    return bool(re.fullmatch(pattern.replace('/*', r'(/\w+)'), node))


def _sections(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        return
    for key, below in tree.items():
        if key == PARAMETERS_KEY:
            yield prefix, below
        else:
            yield from _sections(below, f'{prefix}/{key}' if prefix else str(key))


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value
