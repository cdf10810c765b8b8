# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameter file of the node, before anything starts with it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, fail, ok, warn
from unidrive_perception.errors import UserError
from unidrive_perception.launching.parameter_files import fits, read_sections
from unidrive_perception.node.parameters import (
    TABLE,
    ParameterError,
    ParameterSpec,
    misspelt,
    of_camera,
)
from unidrive_perception.resources import config_path

NODE = 'perception'
OF_EVERY_NODE = ('use_sim_time', 'start_type_description_service', 'qos_overrides')


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic; what is right in the file is used from here on."""
    path = examination.args.params_file
    example = config_path('perception.param.yaml')
    try:
        sections = read_sections(path)
    except UserError as error:
        yield fail('file', str(error), f'cp {example} {shlex.quote(path)}')
        return
    ours = [(name, values) for name, values in sections if is_ours(name)]
    if not ours:
        found = f'{path}: none of its nodes ({", ".join(name for name, _ in sections)}) is {NODE}'
        yield warn('file', found, f"sed -i 's|^{sections[0][0]}:|/**:|' {shlex.quote(path)}")
        return
    merged = {name: value for _, values in ours for name, value in values.items()}
    specs = known_specs(merged)
    findings = [f for name, values in ours for f in judge(path, name, values, specs)]
    yield from findings
    examination.settings = usable(merged, specs)
    if not findings:
        yield ok('file', f'{path}: {len(merged)} parameters, all known and in their ranges')


def is_ours(section: str) -> bool:
    """Whether a section's name or wildcard means our node, in whatever namespace."""
    return section.rsplit('/', 1)[-1] == NODE or fits(section, f'/{NODE}')


def known_specs(values: Mapping[str, Any]) -> dict[str, ParameterSpec]:
    """Our parameters, with those of the cameras that ``values`` name."""
    settings = {name: spec.default for name, spec in TABLE.items()} | usable(values, TABLE)
    cameras = settings.get('cameras', [])
    return TABLE | {spec.name: spec for name in cameras for spec in of_camera(name, settings)}


def usable(values: Mapping[str, Any], specs: Mapping[str, ParameterSpec]) -> dict[str, Any]:
    """The parameters of our node whose values are right."""
    right = {}
    for name, value in values.items():
        if name in specs and not _error(specs[name], value):
            right[name] = specs[name].check(value)
    return right


def judge(
    path: str, section: str, values: Mapping[str, Any], specs: Mapping[str, ParameterSpec]
) -> Iterator[Finding]:
    """A line for each parameter that is wrong; under a wildcard, others may know a strange one."""
    slips = misspelt(values, tuple(specs))
    edit = f'${{EDITOR:-vi}} {shlex.quote(path)}'
    for name, value in values.items():
        last = name.split('.')[-1]
        if name in specs:
            if error := _error(specs[name], value):
                default = f'; its default is {specs[name].default!r}'
                yield fail('parameters', error + default, edit)
        elif name.split('.')[0] in OF_EVERY_NODE:
            pass
        elif name in slips:
            right = slips[name].split('.')[-1]
            remedy = f"sed -i 's/\\b{last}:/{right}:/' {shlex.quote(path)}"
            yield fail('parameters', f'{name}: unknown; did you mean {slips[name]}?', remedy)
        elif '*' not in section:
            yield warn('parameters', f'{name}: {NODE} has no such parameter', edit)


def _error(spec: ParameterSpec, value: Any) -> str:
    """Why a value is wrong, '' where it is right."""
    try:
        spec.check(value)
    except ParameterError as error:
        return str(error)
    return ''
