# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the clock of this machine is that of the others; the time zone does not matter."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from unidrive_perception.doctor.examination import Examination
from unidrive_perception.doctor.findings import Finding, ok, skipped, warn

PATIENCE_S = 1.5
LARGE_OFFSET_S = 0.01
"""A third of a frame at 30 Hz: more, and stamps of two hosts no longer tell which came first."""
SOURCES = 'chronyc sources   # give it a server or pool in /etc/chrony/chrony.conf'


def check(examination: Examination) -> Iterator[Finding]:
    """All checks of this topic."""
    tracking, reason = _output('chronyc', '-c', 'tracking')
    if tracking:
        yield by_chrony(tracking)
        return
    answer, other = _output('timedatectl', 'show', '--property=NTPSynchronized', '--value')
    if answer in ('yes', 'no'):
        yield by_systemd(answer)
    else:
        yield skipped('synchronised', f'{reason}; {other}')


def by_chrony(tracking: str) -> Finding:
    """From the comma-separated line of ``chronyc -c tracking``."""
    fields = tracking.split(',')
    if len(fields) < 14 or fields[0] in ('00000000', '7F7F0101'):
        return warn('synchronised', 'chrony has no source of time', SOURCES)
    offset = abs(float(fields[4]))
    found = f'by chrony from {fields[1] or fields[0]}, off by {offset * 1e3:.2f} ms'
    if offset > LARGE_OFFSET_S:
        return warn('synchronised', found, 'sudo chronyc makestep', offset_s=offset)
    return ok('synchronised', found, offset_s=offset)


def by_systemd(answer: str) -> Finding:
    """From ``timedatectl``: yes or no."""
    if answer == 'yes':
        return ok('synchronised', 'timedatectl says yes')
    found = 'no: stamps of cameras on other hosts are off by what the clocks differ'
    return warn('synchronised', found, 'sudo timedatectl set-ntp true')


def _output(*command: str) -> tuple[str, str]:
    """What a command prints, or '' and the reason why not."""
    if shutil.which(command[0]) is None:
        return '', f'no {command[0]}'
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return '', f'{command[0]} gives no answer ({type(error).__name__})'
    text = done.stdout.strip()
    if done.returncode or not text:
        said = (done.stderr.strip().splitlines() or ['nothing'])[0]
        return '', f'{command[0]}: {said.split(".")[0]}'
    return text, ''
