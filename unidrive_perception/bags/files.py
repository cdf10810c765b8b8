# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells bags from other files by their names, without the libraries that read them.

Launch files ask this too, in an interpreter that need not have those.
"""

from __future__ import annotations

from pathlib import Path

BAG_SUFFIXES = ('.mcap', '.db3', '.bag')


def is_bag(path: str | Path) -> bool:
    """Say whether ``path`` looks like a bag: a bag file, or a folder with a bag's files in it."""
    path = Path(path)
    if path.is_dir():
        return (path / 'metadata.yaml').exists() or bool(storage_files(path))
    return path.suffix in BAG_SUFFIXES


def storage_files(folder: Path) -> list[Path]:
    """Return the files of a rosbag2 folder that hold its messages, in order."""
    return [file for file in sorted(folder.iterdir()) if file.suffix in ('.mcap', '.db3')]
