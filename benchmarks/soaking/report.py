# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a soak found: the verdict and a table in Markdown.

Memory is judged by its trend over the samples taken in one state (``trend.py``): what the process
holds, but what DDS shares, and what of that is in use by its own account. Of the states, the
unconfigured one has the least noise; a leak stays in both. The first tenth of the samples is not
judged: only after some minutes of everything at once has the heap all the holes that it needs.
What is shown neither to grow nor to hold is no violation, but stands at the end of the report,
and the soak does not end with 0.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

from soaking.disturbance import NOT_TAKEN, Disturbance
from soaking.processes import Crowd
from soaking.sampling import Sample, StateSample, first_and_last, settled
from soaking.trend import LIMIT, Trend, trend

TREND_S = 600
"""A shorter soak has seen too little for a trend of the memory."""

END_S = 2.0
JUDGED = {'own': 'memory [MB]', 'heap': 'heap in use [MB]', 'objects': 'Python objects'}
"""Fields of a sample, and their names."""

EXPECTED_ERRORS = (
    'bytes of data',
    'is not supported',
    'needs a step',
    'has no pixels',
    'larger than any',
    'is no JPEG',
    'is empty',
    'the file is damaged or not of this bundle',
)


@dataclass(frozen=True)
class Soak:
    """A soak that has ended."""

    seconds: float
    samples: list[Sample]
    states: dict[str, list[StateSample]]
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
    if soak.seconds >= TREND_S:
        done = {'models swapped': _swapped(soak), NOT_TAKEN: soak.disturbance.done[NOT_TAKEN]}
        found += [f'no {what}' for what, count in done.items() if not count]
    if soak.exit_code != 0 or soak.ending_seconds > END_S:
        found.append(f'ended with {soak.exit_code} after {soak.ending_seconds:.1f} s')
    if soak.segments_left:
        found.append(f'left in /dev/shm: {", ".join(soak.segments_left)}')
    for what in ('threads', 'files'):
        before, after = getattr(soak.before, what), getattr(soak.after, what)
        if after > before:
            found.append(f'{what} of the unconfigured node: {before} before, {after} after')
    found += [
        f'{what}, {state}: {grown.growth:+.1f} % over the run, more than {LIMIT:g} %'
        for (state, what), grown in _trends(soak).items()
        if grown and grown.grows
    ]
    return found + [f'log of the node: {line}' for line in _unexpected(soak.node_log)]


def unsure(soak: Soak) -> list[str]:
    """Of what neither growth nor its absence is shown, in sentences."""
    return [
        f'{what}, {state}: {grown.verdict if grown else "too few samples"}'
        for (state, what), grown in _trends(soak).items()
        if soak.seconds >= TREND_S and not (grown and (grown.grows or grown.holds))
    ]


def _swapped(soak: Soak) -> int:
    """Models that took over from another one while the node was active."""
    return len(re.findall(r'model \S+ from .*, warm after', soak.node_log)) - len(
        re.findall(r': configured$', soak.node_log, re.MULTILINE)
    )


def _trends(soak: Soak) -> dict[tuple[str, str], Trend | None]:
    """How each of what is judged grew in each state; None where that cannot be told."""
    long_enough = soak.seconds >= TREND_S
    trends = {}
    for state, samples in soak.states.items():
        judged = settled(samples)
        seconds = [sample.seconds for sample in judged]
        for field, what in JUDGED.items():
            held = [getattr(sample, field) for sample in judged]
            trends[state, what] = trend(seconds, held) if long_enough else None
    return trends


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
        ('models swapped', _swapped(soak)),
        *((f'{kind} processes started', n) for kind, n in soak.crowd.started.items()),
        ('listeners that heard nothing and were replaced', soak.crowd.deaf),
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
    lines += _memory(soak)
    lines += ['', '| unconfigured | before | after |', '| --- ' * 3 + '|']
    for field in ('rss', 'anonymous', 'threads', 'files', 'segments'):
        before, after = getattr(soak.before, field), getattr(soak.after, field)
        lines.append(f'| {field} | {before:.1f} | {after:.1f} |')
    return '\n'.join([*lines, '', *(f'- {v}' for v in [*violations(soak), *unsure(soak)])])


def _memory(soak: Soak) -> list[str]:
    """The trend of each measure in each state in a table, and all samples of the memory."""
    lines = ['', 'Memory but what DDS shares, after the first tenth. It is said to grow where the']
    lines += [f'estimate is more than {LIMIT:g} % and the whole interval more than nothing:', '']
    lines += [
        '| state | what | samples | median | growth over the run | 95 % interval | verdict |'
    ]
    lines += ['| --- ' * 7 + '|']
    fields = {what: field for field, what in JUDGED.items()}
    for (state, what), grown in _trends(soak).items():
        held = [getattr(s, fields[what]) for s in settled(soak.states[state])]
        told = (state, what, str(len(held)), f'{statistics.median(held):.0f}' if held else '')
        if grown:
            interval = f'{grown.low:+.1f} to {grown.high:+.1f} %'
            told += (f'{grown.growth:+.1f} %', interval, grown.verdict)
        else:
            told += ('', '', 'too short to tell')
        lines.append(f'| {" | ".join(told)} |')
    for state, samples in soak.states.items():
        lines += ['', f'All {state}: {", ".join(f"{s.own:.0f}" for s in samples)}']
    return lines
