# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What is known of how a result came about, as text for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from unidrive_training.report.run_folder import RunFolder


def fact_rows(run: RunFolder) -> list[tuple[str, str]]:
    """(label, text) of each fact: those that every run has first, then any other."""
    facts = dict(run.facts)
    facts.setdefault('config', run.config.get('name'))
    facts.setdefault('seed', run.config.get('seed'))
    rows = [('finished', _when(run))] if (run.path / 'metrics.json').is_file() else []
    for key, (label, text) in _KNOWN.items():
        if facts.get(key) is not None:
            rows.append((label, _text(facts.pop(key), text)))
    rows += [(key.replace('_', ' '), _plain(v)) for key, v in facts.items() if v is not None]
    return [(label, text) for label, text in rows if text]


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, with days where there are any."""
    return str(timedelta(seconds=round(seconds)))


def big_number(value: float) -> str:
    """Three digits and a unit, as parameters are counted."""
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if value >= size:
            return f'{value / size:.3g} {unit}'
    return f'{value:g}'


def _when(run: RunFolder) -> str:
    written = (run.path / 'metrics.json').stat().st_mtime
    return datetime.fromtimestamp(written, timezone.utc).strftime('%Y-%m-%d %H:%M UTC')


def _text(value: Any, text: Callable[[Any], str]) -> str:
    try:
        return text(value)
    except (TypeError, ValueError, AttributeError):  # another form than expected: as it is
        return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{k} {_plain(v)}' for k, v in value.items() if v not in (None, '', []))
    if isinstance(value, list | tuple):
        return ' '.join(map(_plain, value))
    return f'{value:g}' if isinstance(value, float) else str(value)


def _machine(machine: dict[str, Any]) -> str:
    gpus = machine.get('gpus') or []
    counted = [f'{gpus.count(name)} × {name}' for name in dict.fromkeys(gpus)]
    cores = machine.get('cores')
    cpu = f'{machine["cpu"]}, {cores} cores' if cores else machine['cpu']
    return ', '.join([*counted, cpu])


_KNOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    'config': ('config', str),
    'commit': ('commit', str),
    'seed': ('seed', str),
    'iterations': ('iterations', '{:,}'.format),
    'seconds': ('training time', duration),
    'images_per_second': ('images per second', '{:.1f}'.format),
    'parameters': ('parameters', big_number),
    'trained_parameters': ('trained parameters', big_number),
    'machine': ('machine', _machine),
    'versions': ('versions', _plain),
    'command': ('command', _plain),
}
