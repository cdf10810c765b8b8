# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What a check found, and how it is shown to people and to machines."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

OK, SKIPPED, WARN, FAIL = 'OK', 'skipped', 'WARN', 'FAIL'
COLOURS = {OK: '32', SKIPPED: '2', WARN: '33', FAIL: '1;31'}
LEVEL_WIDTH, CHECK_WIDTH = 8, 18
NARROWEST, WIDEST = 60, 120


@dataclass(frozen=True)
class Finding:
    """One line: what was examined, how it is, and where not OK the command that mends it."""

    check: str
    level: str
    found: str
    remedy: str = ''
    figures: Mapping[str, Any] = field(default_factory=dict)


def ok(check: str, found: str, **figures: Any) -> Finding:
    """All is well."""
    return Finding(check, OK, found, figures=figures)


def warn(check: str, found: str, remedy: str, **figures: Any) -> Finding:
    """It will run, but not as well as it could."""
    return Finding(check, WARN, found, remedy, figures)


def fail(check: str, found: str, remedy: str, **figures: Any) -> Finding:
    """It will not run, or images will not arrive."""
    return Finding(check, FAIL, found, remedy, figures)


def skipped(check: str, reason: str) -> Finding:
    """It could not be examined."""
    return Finding(check, SKIPPED, reason)


def as_text(
    finding: Finding,
    colour: bool = False,
    known: Mapping[str, str] = MappingProxyType({}),
    width: int | None = None,
) -> str:
    """The aligned lines of a finding, its remedy unbroken, so that it can be copied.

    ``known`` are remedies that were shown before, each with the check it was shown for; they are
    not shown again.
    """
    width = min(max(width or shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)
    indent = ' ' * (2 + LEVEL_WIDTH + CHECK_WIDTH)
    label = finding.level.ljust(LEVEL_WIDTH)
    if colour:
        label = f'\033[{COLOURS[finding.level]}m{label}\033[0m'
    lines = []
    for part in finding.found.splitlines() or ['']:
        lines += textwrap.wrap(part, width - len(indent), break_on_hyphens=False) or ['']
    head = f'  {label}{finding.check}'
    if len(finding.check) < CHECK_WIDTH:
        head += ' ' * (CHECK_WIDTH - len(finding.check))
    else:  # a long topic: what was found begins below
        lines.insert(0, '')
    text = head + f'\n{indent}'.join(lines)
    if finding.remedy and finding.remedy in known:
        text += f'\n{indent}→ (as above, at {known[finding.remedy]})'
    elif finding.remedy:
        text += f'\n{indent}→ {finding.remedy}'
    return text


def summary(findings: Iterable[Finding], seconds: float) -> str:
    """``12 OK, 1 WARN, 2 FAIL, 1 skipped in 9.3 s``."""
    counts = Counter(finding.level for finding in findings)
    shown = [f'{counts[level]} {level}' for level in (OK, WARN, FAIL, SKIPPED) if counts[level]]
    return f'{", ".join(shown)} in {seconds:.1f} s'


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when nothing fails, else 1."""
    return int(any(finding.level == FAIL for finding in findings))


def as_json(findings: Mapping[str, list[Finding]], seconds: float) -> str:
    """All findings by topic, for machines."""
    rows = [
        {'topic': topic, **vars(finding), 'figures': dict(finding.figures)}
        for topic, group in findings.items()
        for finding in group
    ]
    passed = not any(row['level'] == FAIL for row in rows)
    content = {'ok': passed, 'seconds': round(seconds, 2), 'findings': rows}
    return json.dumps(content, indent=1, ensure_ascii=False)
