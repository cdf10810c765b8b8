# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Seeing what a training run gave: one HTML page per run, and runs side by side."""

from __future__ import annotations

from pathlib import Path

PAGE = 'report.html'


def write_report(folder: Path) -> Path:
    """Write the page of the run in ``folder``, ``report.html``, and return its path.

    What is missing or broken is said in the page; UserError only where there is nothing of a run.
    """
    from unidrive_training.report import page  # brings matplotlib: not before

    return page.write_report(folder)
