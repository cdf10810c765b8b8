# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of ``process-bag`` share: the command, here or in a process, and readers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny_bundle import street

from unidrive_perception.bags.reader import open_bag
from unidrive_perception.process_bag import add_arguments, run

REPO = Path(__file__).resolve().parents[2]


def process_bag(*args):
    """Run the command here; returns its exit status."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(arg) for arg in args]))


def start_process_bag(*args):
    """Start the command as a user does, in a process group of its own."""
    paths = [str(REPO), *filter(None, [os.environ.get('PYTHONPATH')])]
    return subprocess.Popen(
        [sys.executable, '-m', 'unidrive_training.cli', 'process-bag', *map(str, args)],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def streets(count=4, height=90, width=160):
    """Make pictures that differ: the street moves sideways."""
    return [np.roll(street(height, width), 7 * i, axis=1) for i in range(count)]


def read(path):
    """Return {topic: [(stamp, object)]} of a bag."""
    found = {}
    with open_bag(path) as bag:
        for message in bag.messages():
            found.setdefault(message.topic, []).append(
                (message.stamp_ns, bag.deserialize(message))
            )
        assert bag.damage is None
    return found


def messages(path):
    """Return all messages of a bag in order, with their bytes."""
    with open_bag(path) as bag:
        return [(m.topic, m.msgtype, m.stamp_ns, bytes(m.data)) for m in bag.messages()]
