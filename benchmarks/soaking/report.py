# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a soak found: the verdict and a table in Markdown.

Memory is judged by its trend over the samples taken in one state (``trend.py``): what the process
holds, except what DDS shares, and by its own account its heap in use and its blocks of Python. Of
the states, the unconfigured one has the least noise; a leak stays in both. The first tenth of the
samples is not judged: DDS keeps buffers and room for as much as was ever needed at once, and the
heap gets its holes. The growth with that tenth stands beside it. What is shown neither to grow nor
to hold is no violation, but stands at the end of the report, and the soak does not end with 0.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from soaking.disturbance import NOT_TAKEN, Disturbance
from soaking.processes import Crowd
from soaking.sampling import Sample, StateSample, first_and_last, settled
from soaking.trend import LIMIT, Trend, trend

TREND_S = 600
"""A shorter soak has seen too little for a trend of the memory."""

END_S = 2.0
MOST_DEAF = 0.03
"""Share of the listeners to everything that may hear nothing for the fault of others."""

JUDGED = {'own': 'memory [MB]', 'heap': 'heap in use [MB]', 'blocks': 'Python blocks'}
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
    if soak.crowd.deaf > MOST_DEAF * len(soak.states['full']):
        found.append(f'{soak.crowd.deaf} listeners heard nothing')
    if soak.exit_code != 0 or soak.ending_seconds > END_S:
        found.append(f'ended with {soak.exit_code} after {soak.ending_seconds:.1f} s')
    if soak.segments_left:
        found.append(f'left in /dev/shm: {", ".join(soak.segments_left)}')
    for what in ('threads', 'files'):
        before, after = getattr(soak.before, what), getattr(soak.after, what)
        if after > before:
            found.append(f'{what} of the unconfigured node: {before} before, {after} after')
    found += [
        f'{JUDGED[field]}, {state}: {grown.growth:+.1f} %, more than {LIMIT:g} %'
        for (state, field), grown in _trends(soak).items()
        if grown and grown.grows
    ]
    return found + [f'log of the node: {line}' for line in _unexpected(soak.node_log)]


def unsure(soak: Soak) -> list[str]:
    """Of what neither growth nor its absence is shown, in sentences."""
    return [
        f'{JUDGED[field]}, {state}: {grown.verdict if grown else "cannot be told"}'
        for (state, field), grown in _trends(soak).items()
        if soak.seconds >= TREND_S and not (grown and (grown.grows or grown.holds))
    ]


def _swapped(soak: Soak) -> int:
    """Models that took over from another one while the node was active."""
    return len(re.findall(r'model \S+ from .*, warm after', soak.node_log)) - len(
        re.findall(r': configured$', soak.node_log, re.MULTILINE)
    )


def _trends(soak: Soak) -> dict[tuple[str, str], Trend | None]:
    """How each of what is judged grew in each state; None where that cannot be told."""
    return {
        (state, field): _trend(settled(samples), field) if soak.seconds >= TREND_S else None
        for state, samples in soak.states.items()
        for field in JUDGED
    }


def _trend(samples: Sequence[StateSample], field: str) -> Trend | None:
    held = [getattr(sample, field) for sample in samples]
    if any(map(math.isnan, held)):  # the C library does not tell
        return None
    return trend([sample.seconds for sample in samples], held)


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
    lines = [
        '',
        'Memory is without what DDS shares; the first tenth of the samples is not judged.',
    ]
    lines += [f'It grows where the estimate is more than {LIMIT:g} % and its whole interval more']
    lines += ['than nothing:', '', '| state | what | samples | median | growth | 95 % interval |']
    lines[-1] += ' verdict | with the first tenth |'
    lines += ['| --- ' * 8 + '|']
    for (state, field), grown in _trends(soak).items():
        samples = soak.states[state]
        held = [getattr(sample, field) for sample in settled(samples)]
        median = f'{statistics.median(held):.{0 if field == "blocks" else 1}f}' if held else ''
        cells = [state, JUDGED[field], str(len(held)), median, '', '', 'cannot be told', '']
        if grown:
            cells[4:] = f'{grown.growth:+.1f} %', f'{grown.low:+.1f} to {grown.high:+.1f} %'
            cells[6:] = grown.verdict, f'{_trend(samples, field).growth:+.1f} %'
        lines.append(f'| {" | ".join(cells)} |')
    for state, samples in soak.states.items():
        told = [f'{sample.own:.1f}' for sample in samples]
        warm = len(samples) - len(settled(samples))
        lines += ['', f'Memory, {state}: ({", ".join(told[:warm])}), {", ".join(told[warm:])}']
    return lines
