# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Models that the node is given to swap."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml


def renamed_copy(model: Path, folder: Path) -> Path:
    """The same model by another name."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    manifest = folder / 'manifest.yaml'
    values = yaml.safe_load(manifest.read_text())
    manifest.write_text(yaml.safe_dump({**values, 'name': f'{values["name"]}_copy'}))
    return folder


def damaged_copy(model: Path, folder: Path) -> Path:
    """The same model with another program than its manifest says."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    program = folder / yaml.safe_load((folder / 'manifest.yaml').read_text())['program']['file']
    program.write_bytes(program.read_bytes()[:-1] + b'?')
    return folder
