# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a soak found: the verdict and a table in Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass

from soaking.disturbance import Disturbance
from soaking.processes import Crowd
from soaking.sampling import Sample, first_and_last

GROWTH = 0.02
"""Change of the memory, from the first to the last fifth, that is allowed."""

TREND_S = 600
"""A shorter soak has seen too little for a trend of the memory."""

END_S = 2.0
EXPECTED_ERRORS = (
    'bytes of data',
    'is not supported',
    'needs a step',
    'has no pixels',
    'larger than any',
)


@dataclass(frozen=True)
class Soak:
    """A soak that has ended."""

    seconds: float
    samples: list[Sample]
    before: Sample
    after: Sample
    exit_code: int
    ending_seconds: float
    segments_left: list[str]
    node_log: str
    disturbance: Disturbance
    crowd: Crowd


def violations(soak: Soak) -> list[str]:
    """Everything that was not as it must be, in sentences."""
    found = [*soak.disturbance.violations, *soak.crowd.violations]
    if not soak.crowd.heard['timing'] or not soak.disturbance.images['processed']:
        found.append('no results were heard')
    if soak.exit_code != 0 or soak.ending_seconds > END_S:
        found.append(f'ended with {soak.exit_code} after {soak.ending_seconds:.1f} s')
    if soak.segments_left:
        found.append(f'left in /dev/shm: {", ".join(soak.segments_left)}')
    for what in ('threads', 'files'):
        before, after = getattr(soak.before, what), getattr(soak.after, what)
        if after > before:
            found.append(f'{what} of the unconfigured node: {before} before, {after} after')
    first, last = first_and_last(soak.disturbance.comparable or soak.samples, 'own')
    if soak.seconds >= TREND_S and abs(last / first - 1) > GROWTH:
        found.append(f'memory: {first:.0f} MB in the first fifth, {last:.0f} MB in the last')
    return found + [f'log of the node: {line}' for line in _unexpected(soak.node_log)]


def _unexpected(log: str) -> list[str]:
    lines = [line for line in log.splitlines() if re.search(r'\[(ERROR|FATAL)\]|Traceback', line)]
    return [line for line in lines if not any(said in line for said in EXPECTED_ERRORS)][:20]


def report(soak: Soak) -> str:
    """Everything in tables, the violations at the end."""
    doings, images = soak.disturbance.done, soak.disturbance.images
    rows = [
        ('duration', f'{soak.seconds / 60:.1f} minutes'),
        *((f'images {what}', count) for what, count in images.items()),
        *(doings.items()),
        *((f'{kind} processes started', n) for kind, n in soak.crowd.started.items()),
        ('results heard and checked', sum(soak.crowd.heard.values())),
        ('end after SIGINT', f'exit code {soak.exit_code} after {soak.ending_seconds:.2f} s'),
        ('left in /dev/shm', len(soak.segments_left)),
        ('violations', len(violations(soak))),
    ]
    lines = ['| what | how much |', '| --- | --- |']
    lines += [f'| {name} | {value} |' for name, value in rows]
    lines += ['', '| held by the node | first fifth | last fifth | change |', '| --- ' * 4 + '|']
    for field in ('rss', 'own', 'anonymous', 'shared', 'threads', 'files', 'segments'):
        first, last = first_and_last(soak.samples, field)
        change = f'{100 * (last / first - 1):+.1f} %' if first else ''
        lines.append(f'| {field} | {first:.1f} | {last:.1f} | {change} |')
    if comparable := soak.disturbance.comparable:
        first, last = first_and_last(comparable, 'own')
        change = f'{first:.0f} to {last:.0f} MB ({100 * (last / first - 1):+.1f} %)'
        lines += ['', f'Memory but what DDS shares, in the same state each time: {change}; all:']
        lines += [', '.join(f'{s.own:.0f}' for s in comparable)]
    lines += ['', '| unconfigured | before | after |', '| --- ' * 3 + '|']
    for field in ('rss', 'anonymous', 'threads', 'files', 'segments'):
        before, after = getattr(soak.before, field), getattr(soak.after, field)
        lines.append(f'| {field} | {before:.1f} | {after:.1f} |')
    return '\n'.join([*lines, '', *(f'- {v}' for v in violations(soak))])
