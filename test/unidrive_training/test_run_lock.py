# Copyright 2026 UniDrive contributors
# SPDX-License-Identifier: Apache-2.0
"""One training at a time in a folder, and the next one as soon as a killed one is gone."""

import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from unidrive_perception.errors import UserError
from unidrive_training.engine.run_lock import only_one

_HOLDER = """
import os, sys, time
from pathlib import Path
from unidrive_training.engine.run_lock import only_one
with only_one(Path(sys.argv[1])):
    if os.fork() == 0:  # as a worker of a loader
        print('held', flush=True)
        time.sleep(1.5)
        os._exit(0)
    time.sleep(60)
"""


def test_what_a_killed_training_leaves_behind_is_waited_for(tmp_path):
    folder = tmp_path / 'run'
    command = [sys.executable, '-c', _HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == 'held\n'
        holder.kill()
        holder.wait()
        with pytest.raises(UserError), only_one(folder, patience=0):
            pass
        with only_one(folder):
            assert folder.is_dir()


def test_another_training_that_goes_on_is_not_disturbed(tmp_path):
    folder = tmp_path / 'run'
    with only_one(folder):
        sentence = f'{folder}: another command is at work here; wait'
        with pytest.raises(UserError, match=sentence), only_one(folder, patience=0.3):
            pass
        assert folder.is_dir()
    assert not folder.exists()


def test_whoever_waited_holds_the_folder_as_it_is_then(tmp_path):
    """The one before removes the folder, as nothing came of it."""
    folder = tmp_path / 'run'
    before = ExitStack()
    before.enter_context(only_one(folder))
    threading.Timer(0.5, before.close).start()
    with only_one(folder):
        assert folder.is_dir()
        with pytest.raises(UserError), only_one(folder, patience=0):
            pass
